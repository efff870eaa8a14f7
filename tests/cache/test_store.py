"""Whatever lies in the folder, the store serves what it was given or nothing."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inboxd.cache.entry import Entry, Side
from inboxd.cache.store import Store

KEY = "ab" + "c" * 62
OTHER = "ab" + "d" * 62
NOW = 1_000.0


def entry(body: bytes = b"hello", *, ttl: float = 60) -> Entry:
    return Entry(NOW, NOW + ttl, {"method": "GET", "url": "http://h/"}, 200, {"ETag": "1"}, body)


def path(folder: Path, key: str = KEY) -> Path:
    return folder / key[:2] / f"{key[2:]}.json"


def start(program: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start another process that may call `put(body)` on the same folder and key."""
    prelude = (
        "import resource, signal\n"
        "from inboxd.cache.entry import Entry\n"
        "from inboxd.cache.store import Store\n"
        f"def put(body): return Store({str(folder)!r}).put({KEY!r}, Entry({NOW}, {NOW + 60}, {{}}, 200, {{}}, body))\n"
    )
    return subprocess.Popen([sys.executable, "-B", "-c", prelude + program], cwd=Path(__file__).parents[2])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache"


@pytest.fixture
def store(folder: Path) -> Store:
    return Store(folder)


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"\xff" * 100, b"x" * 3_000_000], ids=["empty", "text", "binary", "big"]
)
def test_what_was_put_is_got(store: Store, body: bytes) -> None:
    assert store.put(KEY, entry(body))
    assert store.get(KEY, NOW) == entry(body)


def test_another_store_on_the_same_folder_finds_it(store: Store, folder: Path) -> None:
    store.put(KEY, entry())
    assert Store(str(folder)).get(KEY, NOW) == entry()


def test_a_key_never_put_is_a_miss(store: Store) -> None:
    assert store.get(KEY, NOW) is None
    store.put(OTHER, entry())
    assert store.get(KEY, NOW) is None


@pytest.mark.parametrize("now", [NOW - 1, NOW + 60])
def test_a_stale_entry_is_a_miss(store: Store, now: float) -> None:
    store.put(KEY, entry())
    assert store.get(KEY, now) is None


def test_a_later_put_takes_the_place_of_an_older(store: Store) -> None:
    store.put(KEY, entry(b"old"))
    store.put(KEY, entry(b"new"))
    assert store.get(KEY, NOW) == entry(b"new")


def test_files_and_folders_are_private_and_nothing_else_is_left(store: Store, folder: Path) -> None:
    store.put(KEY, entry(b"\xff"))
    files = [f"ab/{KEY[2:]}.body", f"ab/{KEY[2:]}.json"]
    assert [os.path.relpath(found, folder) for found in sorted(folder.rglob("*"))] == ["ab", *files]
    assert {(folder / file).stat().st_mode & 0o777 for file in files} == {0o600}
    assert path(folder).parent.stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("size", [0, 1, 100, -1])
@pytest.mark.parametrize("ending", [".json", ".body"])
def test_a_torn_file_is_a_miss_is_swept_and_the_next_put_heals_it(
    store: Store, folder: Path, size: int, ending: str
) -> None:
    whole_entry = entry(b"\xff" * 200)
    store.put(KEY, whole_entry)
    torn = path(folder).with_suffix(ending)
    torn.write_bytes(torn.read_bytes()[:size])
    assert store.get(KEY, NOW) is None
    assert (ending == ".json") is not path(folder).exists()
    assert store.put(KEY, whole_entry)
    assert store.get(KEY, NOW) == whole_entry


def test_a_file_copied_under_another_key_is_a_miss(store: Store, folder: Path) -> None:
    store.put(KEY, entry())
    shutil.copy(path(folder), path(folder, OTHER))
    assert store.get(OTHER, NOW) is None


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=300), st.integers(0, 10**9), st.sampled_from([".json", ".body"]))
def test_a_flipped_bit_on_the_disk_is_a_miss_or_the_very_answer(body: bytes, bit: int, ending: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        store, folder = Store(name), Path(name)
        store.put(KEY, entry(body))
        file = path(folder).with_suffix(ending)
        if not file.exists() or not file.stat().st_size:
            return
        data = bytearray(file.read_bytes())
        data[bit // 8 % len(data)] ^= 1 << bit % 8
        file.write_bytes(data)
        assert store.get(KEY, NOW) is None
        out = BytesIO()
        store.put(KEY, entry(body))
        found = store.find(KEY, NOW)
        assert found is not None
        if found.side is not None:
            assert store.copy_body(KEY, found.side, out)
            assert out.getvalue() == body


def test_a_body_that_is_another_ones_is_a_miss(store: Store, folder: Path) -> None:
    """Two writers may each have put one of the two files."""
    store.put(KEY, entry(b"\xff" * 100))
    store.put(OTHER, entry(b"\xfe" * 100))
    shutil.copy(path(folder, OTHER).with_suffix(".body"), path(folder).with_suffix(".body"))
    assert store.get(KEY, NOW) is None
    assert store.get(OTHER, NOW) == entry(b"\xfe" * 100)


def test_a_body_comes_out_of_a_file_and_goes_into_one(store: Store, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"x" * 3_000_000)
    side = Side(3_000_000, sha256(b"x" * 3_000_000).hexdigest())
    with (tmp_path / "body").open("rb") as body:
        assert store.put(KEY, entry(b"")._replace(side=side), body)
    found, out = store.find(KEY, NOW), BytesIO()
    assert found == entry(b"")._replace(side=side)
    assert store.copy_body(KEY, side, out)
    assert out.getvalue() == b"x" * 3_000_000


def test_an_entry_renewed_keeps_the_body_that_lies_there(store: Store) -> None:
    store.put(KEY, entry(b"\xff" * 100))
    found = store.find(KEY, NOW)
    assert found is not None
    assert store.put(KEY, found.renewed(NOW + 100, NOW + 200, {"ETag": "2"}))
    renewed = store.get(KEY, NOW + 150)
    assert renewed is not None
    assert (renewed.body, renewed.headers) == (b"\xff" * 100, {"ETag": "2"})
    assert store.sweep(NOW + 150, 1000) == 0


def test_an_entry_whose_body_is_gone_cannot_be_renewed(store: Store, folder: Path) -> None:
    store.put(KEY, entry(b"\xff" * 100))
    found = store.find(KEY, NOW)
    assert found is not None
    path(folder).with_suffix(".body").unlink()
    assert not store.put(KEY, found)
    assert store.get(KEY, NOW) is None


def test_a_stale_entry_is_found_by_who_asks_for_any(store: Store) -> None:
    store.put(KEY, entry())
    assert store.find(KEY, NOW + 1000) == entry()


def test_an_entry_from_the_future_is_a_miss_and_soon_removed(store: Store, folder: Path) -> None:
    store.put(KEY, entry())
    assert store.find(KEY, NOW - 1) is None
    assert path(folder).exists(), "a clock that is set by a second or two need not cost an entry"
    assert store.find(KEY, NOW - 100) is None
    assert not path(folder).exists()


def test_use_is_noted_once_a_minute_and_never_changes_when_an_entry_goes(store: Store, folder: Path) -> None:
    store.put(KEY, entry(ttl=1e6))
    times = []
    for later in (30, 100, 130, 200):
        store.get(KEY, NOW + later)
        status = path(folder).stat()
        times.append((status.st_atime, status.st_mtime))
    assert times == [(used, NOW + 1e6) for used in (NOW, NOW + 100, NOW + 100, NOW + 200)]


def test_a_link_is_a_miss(store: Store, folder: Path) -> None:
    """Even to a good entry of the same key: what a link points to may be anybody's."""
    store.put(KEY, entry())
    path(folder).rename(folder / "elsewhere")
    path(folder).symlink_to(folder / "elsewhere")
    assert store.get(KEY, NOW) is None


def test_a_fifo_is_a_miss_and_does_not_block(store: Store, folder: Path) -> None:
    path(folder).parent.mkdir(parents=True)
    os.mkfifo(path(folder))
    assert store.get(KEY, NOW) is None


def test_a_folder_in_the_place_of_a_file_is_a_miss_and_cannot_be_put(store: Store, folder: Path) -> None:
    path(folder).mkdir(parents=True)
    assert store.get(KEY, NOW) is None
    assert not store.put(KEY, entry())
    assert os.listdir(folder / "ab") == [path(folder).name]
    assert store.sweep(NOW, 1000) == 0


def test_a_file_in_the_place_of_the_cache_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    store = Store(tmp_path / "cache")
    assert not store.put(KEY, entry())
    assert store.get(KEY, NOW) is None
    assert store.purge() == 0
    assert list(store.entries()) == []


@pytest.mark.parametrize("body", ["b'x' * 1000", "bytes(1000) + b'x' * 100_000"], ids=["line", "body"])
def test_a_full_disk_is_told_and_leaves_nothing(folder: Path, body: str) -> None:
    """A limit on file size cuts the write short, as a full disk does; in a process of its own, as it is for good."""
    writer = start(f"resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\nassert not put({body})\n", folder)
    assert writer.wait(60) == 0
    assert os.listdir(folder / "ab") == []


def test_what_a_writer_left_when_it_died_is_no_entry_and_is_swept(store: Store, folder: Path) -> None:
    """The signal kills the writer at its first byte, when the file has its name but not its place."""
    dies = (
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\nput(b'x')\n"
    )
    assert start(dies, folder).wait(60) == -signal.SIGXFSZ
    assert len(os.listdir(folder / "ab")) == 1
    assert list(store.entries()) == []
    assert store.purge() == 0
    assert os.listdir(folder / "ab") == []


@pytest.mark.parametrize("key", ["", "ab", "../../etc/passwd", "AB" + "c" * 62, KEY + "\n", KEY + "\0", "\ud800" * 64])
def test_what_is_no_key_is_a_miss_everywhere(store: Store, tmp_path: Path, key: str) -> None:
    assert not store.put(key, entry())
    assert store.get(key, NOW) is None
    assert store.purge(key) == 0
    assert list(tmp_path.iterdir()) == []


def test_an_entry_that_cannot_be_written_is_not_put(store: Store) -> None:
    assert not store.put(KEY, entry(ttl=float("inf")))
    assert store.get(KEY, NOW) is None


def test_purging_a_key_removes_that_one(store: Store) -> None:
    store.put(KEY, entry())
    store.put(OTHER, entry())
    assert store.purge(KEY) == 1
    assert store.purge(KEY) == 0
    assert [found for found, _ in store.entries()] == [OTHER]


def test_purging_all_removes_what_is_ours_and_nothing_else(store: Store, folder: Path) -> None:
    store.put(KEY, entry())
    store.put(OTHER, entry(ttl=-1))
    leftover = path(folder).with_name(f".{KEY[2:]}.{'0' * 16}.tmp")
    foreign = [folder / "README", folder / "ab" / "notes.json", folder / "ab" / ".notes.tmp"]
    for file in (leftover, *foreign):
        file.write_bytes(b"x")
    assert store.purge() == 2
    assert sorted(found for found in folder.rglob("*") if found.is_file()) == sorted(foreign)


def test_entries_yields_stale_ones_and_skips_broken_ones(store: Store, folder: Path) -> None:
    store.put(KEY, entry(ttl=-1))
    store.put(OTHER, entry())
    path(folder, OTHER).write_bytes(b"{}")
    assert list(store.entries()) == [(KEY, entry(ttl=-1))]


def test_a_writer_killed_at_any_moment_leaves_right_answers_or_none(store: Store, folder: Path) -> None:
    """Bodies in the line and in a file in turn, so that each kill may come between the two files of one entry."""
    program = (
        "import itertools\nfor n in itertools.count():\n    put((b'a' if n % 2 else b'\\xff') * (n % 7 * 1000 + 1))\n"
    )
    for delay in range(8):
        writer = start(program, folder)
        while not path(folder).exists() and writer.poll() is None:
            pass
        for _ in range(delay * 3):
            got = store.get(KEY, NOW)
            assert got is None or (len(got.body) % 1000 == 1 and len(set(got.body)) == 1)
        writer.kill()
        writer.wait()
        got = store.get(KEY, NOW)
        assert got is None or (len(got.body) % 1000 == 1 and len(set(got.body)) == 1)
        store.purge()
    assert [name for name in os.listdir(folder / "ab") if not name.startswith(".")] == []


def test_two_processes_that_write_one_key_never_show_a_torn_entry(store: Store, folder: Path) -> None:
    repeat = "for _ in range(300):\n    assert put(b'{letter}' * 9999)\n"
    writers = [start(repeat.format(letter=letter), folder) for letter in "ab"]
    seen: list[Entry | None] = []
    while any(writer.poll() is None for writer in writers):
        got = store.get(KEY, NOW)
        if got is not None or seen:
            seen.append(got)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen
    assert {None if got is None else got.body for got in seen} <= {b"a" * 9999, b"b" * 9999}
