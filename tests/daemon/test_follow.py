"""One job's lines among all, and a log that is read while it is written, cut and rotated."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from inboxd.daemon.follow import Thread, lines
from inboxd.daemon.logline import json_line, logfmt

LOG = [
    ("claimed", {"id": "1", "name": "a"}),
    ("claimed", {"id": "2", "name": "b"}),
    ("attempt", {"id": "1", "fault": "timeout", "message": "no answer; name=b id=2"}),
    ("attempt", {"id": "2", "status": 200}),
    ("answered", {"id": "1", "name": "a", "status": "done"}),
    ("answered", {"id": "2", "name": "b", "status": "done"}),
]


@pytest.mark.parametrize("form", [logfmt, json_line])
@pytest.mark.parametrize(("want", "events"), [("a", 3), ("1", 3), ("b", 3), ("c", 0)])
def test_a_job_is_followed_by_its_name_or_its_id(form: object, want: str, events: int) -> None:
    assert callable(form)
    thread = Thread(want)
    taken = [line for line in (form((1.0, "info", event, fields)) for event, fields in LOG) if thread.takes(line)]
    assert len(taken) == events
    assert thread.over is bool(events)


def test_a_name_with_blanks_is_found() -> None:
    assert Thread("a job").takes(logfmt((1.0, "info", "claimed", {"id": "1", "name": "a job"})))
    assert Thread("a job").takes(json_line((1.0, "info", "claimed", {"id": "1", "name": "a job"})))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "inboxd.log"


def append(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def test_lines_come_whole_and_through_rotations(log: Path) -> None:
    append(log, "one\ntw")
    steps: Iterator[None] = script(log)
    found = lines(str(log), lambda: next(steps))
    assert [next(found) for _ in range(5)] == ["one", "two", "three", "four", "five"]
    found.close()


def script(log: Path) -> Iterator[None]:
    """Do at each pause what a busy machine may do meanwhile."""
    append(log, "o\n")
    yield
    log.rename(log.with_suffix(".1"))
    yield
    append(log.with_suffix(".1"), "three\n")
    yield
    append(log, "four\n")
    yield
    log.write_text("")
    yield
    append(log, "five\n")
    yield


def test_json_is_read_as_it_is_written() -> None:
    line = json_line((1.0, "info", "answered", {"id": 'a"b', "name": "x"}))
    assert Thread("x").takes(line)
    assert json.loads(line)["id"] == 'a"b'
