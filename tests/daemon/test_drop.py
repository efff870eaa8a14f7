"""Dropping a job and waiting for its answer: what comes into the inbox, under which name, and whose answer is whose."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inboxd.daemon.drop import LATE, DropError, Dropped, drop_file, wait_for
from inboxd.daemon.names import Claim
from inboxd.daemon.spool import Spool
from inboxd.jobs.ids import uuid7
from tests.daemonkit import environment

JOB = b'{"url": "http://127.0.0.1/"}'
# A token of the year 2020, and so of an answer from before any drop of these tests.
OLD = "016f5e66-e800-7000-8000-000000000000"
# What takes long to load: a drop needs none of it.
HEAVY = {"requests", "urllib3", "pydantic", "orjson", "pycurl", "watchdog", "rich", "backoff", "ratelimit", "jmespath"}


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(str(tmp_path / "spool"))
    spool.make()
    return spool


def write(folder: Path, name: str, data: bytes = JOB) -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


def answer(spool: Spool, filename: str, **content: Any) -> None:
    Path(spool.outbox, filename).write_text(json.dumps(content))


def drop(spool: Spool, folder: Path, filename: str = "one.json") -> Dropped:
    return drop_file(spool.root, write(folder, filename), None)


@pytest.mark.parametrize(
    ("filename", "name", "dropped"),
    [
        ("one.json", None, "one.json"),
        ("one.jsonl", None, "one.jsonl"),
        ("ONE.JSON", None, "ONE.json"),
        ("call.txt", None, "call.json"),
        ("call", None, "call.json"),
        ("one.json", "two", "two.json"),
        ("one.jsonl", "two", "two.jsonl"),
        ("one.json", "version 1.2 ü", "version 1.2 ü.json"),
    ],
)
def test_a_drop_is_called_as_its_file_or_as_asked(
    spool: Spool, tmp_path: Path, filename: str, name: str | None, dropped: str
) -> None:
    drop_file(spool.root, write(tmp_path, filename), name)
    assert {entry: Path(spool.inbox, entry).read_bytes() for entry in os.listdir(spool.inbox)} == {dropped: JOB}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("one~r2", 'holds a "~", which is kept'),
        ("n" * 201, "longer than 200 bytes"),
        ("é" * 101, "longer than 200 bytes"),
        ("one\ntwo", "not printable"),
        (".hidden", "begins with a dot"),
        ("../one", 'holds a "/"'),
        ("/etc/one", 'holds a "/"'),
    ],
)
def test_a_name_that_would_not_be_looked_at_is_refused_with_the_reason(
    spool: Spool, tmp_path: Path, name: str, why: str
) -> None:
    with pytest.raises(DropError, match=why):
        drop_file(spool.root, write(tmp_path, "one.json"), name)
    assert os.listdir(spool.inbox) == []


def test_a_second_drop_of_a_waiting_name_is_refused_and_harms_nothing(spool: Spool, tmp_path: Path) -> None:
    drop(spool, tmp_path)
    second = write(tmp_path, "one.json", b"other")
    with pytest.raises(DropError, match="a job called one is still in the inbox"):
        drop_file(spool.root, second, None)
    assert os.listdir(spool.inbox) == ["one.json"]
    assert Path(spool.inbox, "one.json").read_bytes() == JOB


def test_a_drop_into_no_spool_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(DropError, match=r"nowhere: no spool here; start `inboxd run` once"):
        drop_file(str(tmp_path / "nowhere"), write(tmp_path, "one.json"), None)


def test_a_file_that_cannot_be_read_is_named(spool: Spool, tmp_path: Path) -> None:
    with pytest.raises(DropError, match=r"gone\.json: cannot be read: No such file"):
        drop_file(spool.root, str(tmp_path / "gone.json"), None)


@pytest.mark.parametrize(
    ("status", "code"), [("done", 0), ("failed", 1), ("rejected", 2), ("expired", 1), ("cancelled", 1), ("skipped", 1)]
)
def test_the_exit_status_tells_how_a_job_ended(spool: Spool, tmp_path: Path, status: str, code: int) -> None:
    dropped = drop(spool, tmp_path)
    answer(spool, "one.json", claim=uuid7(), status=status)
    assert wait_for(dropped, 0) == (Path(spool.outbox, "one.json").read_bytes(), code)


def test_an_answer_from_before_the_drop_is_not_ours(spool: Spool, tmp_path: Path) -> None:
    answer(spool, "one.json", claim=OLD, status="done")
    dropped = drop(spool, tmp_path)
    assert wait_for(dropped, 0) == (None, LATE)
    answer(spool, "one~r2.json", claim=uuid7(), status="failed")
    found, code = wait_for(dropped, 0)
    assert (found, code) == (Path(spool.outbox, "one~r2.json").read_bytes(), 1)


@pytest.mark.parametrize("content", [b"", b"not JSON", b"[]", b"{}", b'{"claim": 3}', b'{"claim": "mine"}', b"\xff"])
def test_what_is_no_answer_is_passed_over(spool: Spool, tmp_path: Path, content: bytes) -> None:
    Path(spool.outbox, "one.json").write_bytes(content)
    dropped = drop(spool, tmp_path)
    answer(spool, "one~r2.json", claim=uuid7(), status="done")
    assert wait_for(dropped, 0)[1] == 0


def test_a_wait_is_late_after_its_time(spool: Spool, tmp_path: Path) -> None:
    assert wait_for(drop(spool, tmp_path), 0.01) == (None, LATE)


@pytest.mark.parametrize("filename", ["one.jsonl", "one.json"])
@pytest.mark.parametrize(("statuses", "code"), [({"done": 2}, 0), ({"done": 1, "failed": 1}, 1), ({}, 0)])
def test_of_a_batch_the_summary_is_given(
    spool: Spool, tmp_path: Path, filename: str, statuses: dict[str, int], code: int
) -> None:
    dropped = drop(spool, tmp_path, filename)
    answer(spool, "one.summary.json", id=uuid7(), statuses=statuses)
    assert wait_for(dropped, 0) == (Path(spool.outbox, "one.summary.json").read_bytes(), code)


def test_a_batch_has_ended_when_its_answers_are_there_too(spool: Spool, tmp_path: Path) -> None:
    dropped = drop(spool, tmp_path, "one.jsonl")
    token = uuid7()
    part = Path(spool.part(Claim("one", token, ".jsonl"), ".jsonl.part"))
    part.write_bytes(b"")
    answer(spool, "one.summary.json", id=token, statuses={"done": 1})
    assert wait_for(dropped, 0) == (None, LATE)
    part.rename(Path(spool.outbox, "one.jsonl"))
    assert wait_for(dropped, 0)[1] == 0


def test_a_summary_from_before_the_drop_is_not_ours(spool: Spool, tmp_path: Path) -> None:
    answer(spool, "one.summary.json", id=OLD, statuses={"done": 1})
    assert wait_for(drop(spool, tmp_path, "one.jsonl"), 0) == (None, LATE)


@pytest.mark.parametrize("config", [None, 'spool = "spool"\n'])
def test_a_drop_loads_nothing_that_takes_time(spool: Spool, tmp_path: Path, config: str | None) -> None:
    if config is not None:
        write(tmp_path, "inboxd.toml", config.encode())
    script = (
        "import sys; from inboxd.daemon.cli import main\n"
        "try: main(['drop', 'one.json', '--wait', '--timeout', '0'])\n"
        "except SystemExit as end: print(end.code, *{name.partition('.')[0] for name in sys.modules})"
    )
    write(tmp_path, "one.json")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    code, *loaded = done.stdout.split()
    assert code == str(LATE), done.stderr
    assert "click" in loaded
    assert HEAVY.isdisjoint(loaded)
