"""What only looks like a file, and what the disk refuses."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from inboxd.daemon.disk import MANY, Disk, NotRegular


@pytest.fixture
def disk() -> Disk:
    return Disk()


def test_a_file_is_read_up_to_the_limit(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert disk.read_regular(str(path), 100)[1] == b"12345"
    status, data = disk.read_regular(str(path), 3)
    assert (status.st_size, data) == (5, b"123")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.with_name("target").write_text("{}")
    path.symlink_to("target")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "words"),
    [(_fifo, "not a regular file"), (_link, "symbolic link"), (_socket, "not a regular"), (_folder, "not a regular")],
)
def test_what_only_looks_like_a_file_is_refused_at_once(tmp_path: Path, disk: Disk, make: object, words: str) -> None:
    path = tmp_path / "a.json"
    assert callable(make)
    make(path)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NotRegular, match=words):
        disk.read_regular(str(path), 10)
    with pytest.raises(NotRegular, match=words):
        disk.open_regular(str(path))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_device_is_not_read(disk: Disk) -> None:
    with pytest.raises(NotRegular, match="not a regular file"):
        disk.read_regular("/dev/zero", 10)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_we_may_not_read_says_what_to_do(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "a.json"
    path.write_text("{}")
    path.chmod(0)
    with pytest.raises(NotRegular, match="set its permissions"):
        disk.read_regular(str(path), 10)


def test_a_missing_file_is_a_missing_file(tmp_path: Path, disk: Disk) -> None:
    with pytest.raises(FileNotFoundError):
        disk.read_regular(str(tmp_path / "none"), 10)


def test_a_rename_to_a_new_name_never_replaces(tmp_path: Path, disk: Disk) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with pytest.raises(FileExistsError):
        disk.rename_new(str(tmp_path / "a"), str(tmp_path / "b"))
    with pytest.raises(FileNotFoundError):
        disk.rename_new(str(tmp_path / "none"), str(tmp_path / "c"))
    disk.rename_new(str(tmp_path / "a"), str(tmp_path / "c"))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"b": "b", "c": "a"}


def test_writing_replaces_and_appending_goes_on(tmp_path: Path, disk: Disk) -> None:
    path = str(tmp_path / "a")
    disk.write(path, b"longer than the next")
    disk.write(path, b"one")
    disk.append(path, b" two")
    disk.append(str(tmp_path / "b"), b"made")
    assert (tmp_path / "a").read_bytes() == b"one two"
    assert (tmp_path / "b").read_bytes() == b"made"
    disk.write_lines(path, [b"a\n", b"b\n"])
    assert (tmp_path / "a").read_bytes() == b"a\nb\n"


def test_a_full_disk_is_told_and_no_handle_is_left(disk: Disk) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="No space"):
        disk.write("/dev/full", b"x")
    with pytest.raises(OSError, match="No space"):
        disk.append("/dev/full", b"x")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("count", [1, MANY])
def test_few_files_and_many_are_synced(tmp_path: Path, disk: Disk, count: int) -> None:
    paths = [str(tmp_path / str(number)) for number in range(count)]
    for path in paths:
        disk.write(path, b"x")
    disk.sync(paths, str(tmp_path))
    disk.sync_folders([str(tmp_path)])
    with pytest.raises(FileNotFoundError):
        disk.sync(paths, str(tmp_path / "none"))


@pytest.mark.parametrize(
    "sync",
    [
        lambda disk, path: disk.sync([path], path),
        lambda disk, path: disk.sync_folders([path]),
        lambda disk, path: disk.sync_around(path),
    ],
)
def test_without_fsync_nothing_is_even_opened(tmp_path: Path, sync: Callable[[Disk, str], None]) -> None:
    none = str(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        sync(Disk(), none)
    assert sync(Disk(fsync=False), none) is None


def test_the_time_of_a_link_is_set_and_not_that_of_its_target(tmp_path: Path, disk: Disk) -> None:
    _link(tmp_path / "a")
    disk.set_mtime(str(tmp_path / "a"), 5.0)
    assert os.lstat(tmp_path / "a").st_mtime == 5.0
    assert os.stat(tmp_path / "a").st_mtime != 5.0
