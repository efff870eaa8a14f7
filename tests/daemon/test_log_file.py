"""Where lines go: files that are moved, disks that fill up, pipes that others have made awkward."""

import logging
import os
import threading
from pathlib import Path

import pytest

from inboxd.daemon.log import Logs, Sink, start
from inboxd.daemon.logline import logfmt
from tests.logkit import PATIENCE, lines, logging_to, read, record, until

log = logging.getLogger("inboxd.test")


def test_a_moved_file_is_followed_by_a_new_one(tmp_path: Path) -> None:
    file, old = tmp_path / "log", tmp_path / "log.1"
    with logging_to(file, format="json"):
        log.info("before")
        until(lambda: len(lines(file)) == 1, "the first line")
        file.rename(old)
        log.info("after")
        until(lambda: len(lines(file)) == 1, "the line in the new file")
    assert [line["event"] for line in [*read(old), *read(file)]] == ["before", "after"]


def test_a_file_that_stands_in_for_the_moved_one_is_taken_up(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with logging_to(file, format="json"):
        file.rename(tmp_path / "log.1")
        file.touch()
        log.info("event")
    assert [line["event"] for line in read(file)] == ["event"]


def test_while_the_new_file_cannot_be_opened_the_old_one_is_written(tmp_path: Path) -> None:
    folder, moved = tmp_path / "logs", tmp_path / "moved"
    folder.mkdir()
    with logging_to(folder / "log", format="json"):
        folder.rename(moved)
        log.info("event")
    assert [line["event"] for line in read(moved / "log")] == ["event"]


def test_an_existing_file_is_appended_to(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("kept\n")
    with logging_to(file):
        log.info("event")
    assert lines(file)[0] == "kept"
    assert len(lines(file)) == 2


def test_a_file_that_cannot_be_opened_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        start(file=str(tmp_path / "none" / "log"))


def test_a_pipe_made_non_blocking_by_others_loses_nothing() -> None:
    reader, writing = os.pipe()
    os.set_blocking(writing, False)
    sink = Sink(None)
    sink._fd = writing
    text = ["x" * 1000] * 1000
    writer = threading.Thread(target=sink.write, args=(text,))
    writer.start()
    got = b""
    while len(got) < 1001 * 1000:
        got += os.read(reader, 1 << 20)
    writer.join(PATIENCE)
    os.close(reader)
    os.close(writing)
    assert got.decode().splitlines() == text


def test_a_line_torn_by_a_full_disk_does_not_run_into_the_next(tmp_path: Path) -> None:
    sink = Sink(str(tmp_path / "log"))
    sink._some(memoryview(b"half a li"))
    sink.write(["next"])
    sink.close()
    assert lines(tmp_path / "log") == ["half a li", "next"]


def test_many_lines_take_one_write() -> None:
    # In packet mode (pipe(2), O_DIRECT) each read gives what one write gave.
    reader, writer = os.pipe2(os.O_DIRECT)
    sink = Sink(None)
    sink._fd = writer
    logs = Logs(sink, logfmt)
    for _ in range(10):
        logs.handle(record())
    logs.turn()
    assert os.read(reader, 1 << 20).count(b"\n") == 10
    os.close(reader)
    os.close(writer)
