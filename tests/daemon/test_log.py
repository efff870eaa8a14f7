"""The running log: what comes out for what was logged, and that nobody ever waits for it or hears of its troubles."""

import json
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from inboxd.daemon.log import ROOM, Logs, Sink, start
from inboxd.daemon.logline import logfmt
from tests.logkit import PATIENCE, Flaky, lines, logging_to, read, record, until

log = logging.getLogger("inboxd.test")
stranger = logging.getLogger("stranger")


@pytest.fixture
def pipe() -> Iterator[tuple[int, str]]:
    """A pipe that nobody reads yet: its reading end, and its writing end as a path."""
    reader, writer = os.pipe()
    yield reader, f"/proc/self/fd/{writer}"
    os.close(writer)
    os.close(reader)


def test_a_record_becomes_a_line_before_the_log_is_stopped(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log"):
        log.info("attempt", extra={"fields": {"status": 503, "id": "a"}})
        until(lambda: bool(lines(tmp_path / "log")), "the line")
    (line,) = lines(tmp_path / "log")
    assert line.endswith("level=info event=attempt id=a status=503")


def test_json_lines_hold_the_same(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log", format="json"):
        log.warning("attempt", extra={"fields": {"status": 503, "id": None}})
    (line,) = read(tmp_path / "log")
    assert {**line, "ts": ""} == {"ts": "", "level": "warning", "event": "attempt", "status": 503}


def test_stopping_writes_everything_that_waits(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log", format="json"):
        for number in range(5000):
            log.info("event", extra={"fields": {"number": number}})
    assert [line["number"] for line in read(tmp_path / "log")] == list(range(5000))


def test_lines_of_many_threads_stay_whole_and_in_each_threads_order(tmp_path: Path) -> None:
    def speak(speaker: int) -> None:
        for number in range(500):
            log.info("event", extra={"fields": {"speaker": speaker, "number": number}})

    with logging_to(tmp_path / "log", format="json"):
        threads = [threading.Thread(target=speak, args=(speaker,)) for speaker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    told = read(tmp_path / "log")
    for speaker in range(8):
        assert [line["number"] for line in told if line["speaker"] == speaker] == list(range(500))


def test_the_level_counts_and_can_be_changed(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log", format="json", level="warning") as logs:
        log.info("quiet")
        log.warning("loud")
        logs.set_level("debug")
        log.debug("whisper")
    assert [line["event"] for line in read(tmp_path / "log")] == ["loud", "whisper"]


def test_fields_are_those_of_the_moment(tmp_path: Path) -> None:
    fields = {"status": 200}
    with logging_to(tmp_path / "log", format="json"):
        log.info("event", extra={"fields": fields})
        fields["status"] = 500
    assert [line["status"] for line in read(tmp_path / "log")] == [200]


def test_a_traceback_is_one_field_of_one_line(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log"):
        try:
            raise ValueError("Authorization: Bearer abc")
        except ValueError:
            log.exception("internal error")
    (line,) = lines(tmp_path / "log")
    assert 'traceback="Traceback (most recent call last):\\n' in line
    assert "abc" not in line


def test_warnings_of_other_libraries_come_with_their_name(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log", format="json"):
        stranger.warning("could not reach %s", "https://me:pw@host/")
        stranger.info("chatter")
    (line,) = read(tmp_path / "log")
    assert (line["logger"], line["event"]) == ("stranger", "could not reach https://***@host/")


class Awkward:
    def __str__(self) -> str:
        raise ValueError("no text")


def test_what_cannot_be_shown_harms_neither_caller_nor_log() -> None:
    sink = Flaky(full=False)
    logs = Logs(sink, logfmt)
    logs.handle(record("one", value=Awkward()))
    logs.handle(record("two %d", "x"))
    logs.handle(record(Awkward()))
    logs.turn()
    assert [line.partition("event=")[2] for line in sink.got] == [
        'one fault="fields cannot be shown: ValueError"',
        '"two %d (TypeError)"',
        '"a message that cannot be shown (ValueError)"',
    ]


def test_a_library_users_handler_sees_the_fields(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with logging_to(tmp_path / "log"):
        log.info("event", extra={"fields": {"status": 200}})
    assert [vars(seen)["fields"] for seen in caplog.records] == [{"status": 200}]


def test_the_log_leaves_logging_as_it_found_it(tmp_path: Path) -> None:
    handlers, level = list(logging.getLogger().handlers), logging.getLogger("inboxd").level
    with logging_to(tmp_path / "log", level="error"):
        assert not logging.logThreads
    assert (logging.getLogger().handlers, logging.getLogger("inboxd").level) == (handlers, level)
    assert logging.logThreads
    assert logging.logProcesses
    assert logging.logMultiprocessing
    assert vars(logging)["_srcfile"]


def test_a_stuck_pipe_holds_up_nobody_and_what_was_dropped_is_told(pipe: tuple[int, str]) -> None:
    reader, path = pipe
    many = 3 * ROOM
    with logging_to(path, format="json") as logs:
        for _ in range(many):
            log.info("event", extra={"fields": {"text": "x" * 100}})
        until(lambda: logs.dropped > 0, "dropping")
        dropped, text = logs.dropped, ""
        while "lines_dropped" not in text:
            text += os.read(reader, 1 << 20).decode()
    told = [json.loads(line) for line in text.splitlines()]
    assert told[-1]["lines_dropped"] == dropped
    assert sum(line["event"] == "event" for line in told) + dropped == many


def test_a_stuck_pipe_does_not_hold_up_the_stop(pipe: tuple[int, str]) -> None:
    reader, path = pipe
    logs = start(file=path)
    for _ in range(ROOM):
        log.info("event", extra={"fields": {"text": "x" * 100}})
    logs.stop()
    assert logs._thread.is_alive(), "the pipe was not stuck"
    while logs._thread.is_alive():
        os.read(reader, 1 << 20)
        logs._thread.join(0.001)


def test_a_full_disk_raises_nothing_and_what_was_lost_is_counted() -> None:
    logs = Logs(Sink("/dev/full"), logfmt)
    for _ in range(3):
        logs.handle(record())
        logs.turn()
    assert logs.dropped == 3


def test_when_there_is_room_again_the_loss_is_told_once() -> None:
    sink = Flaky(full=True)
    logs = Logs(sink, logfmt)
    logs.handle(record())
    logs.turn()
    sink.full = False
    for _ in range(2):
        logs.handle(record())
        logs.turn()
    told = [line.partition("event=")[2] for line in sink.got]
    assert told == ["event", '"lines dropped" lines_dropped=1', "event"]
