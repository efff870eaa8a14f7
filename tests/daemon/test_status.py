"""What `inboxd status` says, with the folders as the truth and a daemon's own words only while it runs."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from inboxd.daemon.spool import SHOWN, Spool
from inboxd.daemon.status import gather, in_words
from inboxd.daemon.top import picture

LANE = {"running": 0, "waiting": 0, "rests_for": 0.0, "trips": 0, "faults": 0}
SAID = {
    "pid": 17,
    "since": "2026-01-01T00:00:00.000Z",
    "processes": [{"number": 1, "pid": 18, "jobs": 96}],
    "trouble": ["only 3 bytes are free"],
    "batches": [{"name": "many", "answered": 7, "done": 5, "failed": 2}, {"name": "new", "answered": 0}],
    "paused": ["pay", "ship"],
    "errors": [{"at": "2026-01-01T00:00:00.000Z", "name": "a", "kind": "dns", "message": "no such host"}],
    "lanes": {
        "shop": {"running": 2, "waiting": 5, "rests_for": 0.0, "trips": 0, "faults": 0},
        "bank": {"running": 0, "waiting": 1, "rests_for": 2.25, "trips": 1, "faults": 10},
        "pay": LANE | {"waiting": 4, "running": 1, "limit": 50.0, "per_second": 12.5, "paused": True},
        "mail": {"running": 0, "waiting": 1, "rests_for": 1.0, "trips": 0, "faults": 0},
    },
}


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(str(tmp_path / "spool"))
    spool.make()
    return spool


def found(spool: Spool) -> dict[str, Any]:
    status = gather(spool.root)
    assert status is not None
    return status


def test_where_no_spool_is_there_is_no_status(tmp_path: Path) -> None:
    assert gather(str(tmp_path)) is None


def test_files_are_counted_by_folder_and_hidden_ones_are_not(spool: Spool) -> None:
    for path in ("inbox/a.json", "inbox/.b.tmp", "outbox/a.json", "outbox/b.json", "outbox/.c.jsonl.part"):
        Path(spool.root, path).touch()
    assert found(spool)["folders"] == dict.fromkeys(SHOWN, 0) | {"inbox": 1, "outbox": 2}


def test_a_folder_that_somebody_removed_is_empty(spool: Spool) -> None:
    Path(spool.folder("hold")).rmdir()
    assert found(spool)["folders"]["hold"] == 0


def test_the_lock_tells_whether_a_daemon_runs(spool: Spool) -> None:
    assert found(spool)["running"] is False
    spool.lock()
    assert found(spool)["running"] is True
    spool.unlock()
    assert found(spool)["running"] is False


@pytest.mark.parametrize("text", ["", "{", "\xff"])
def test_a_torn_word_of_the_daemon_is_none(spool: Spool, text: str) -> None:
    Path(spool.state("status.json")).write_text(text, encoding="latin-1")
    assert found(spool)["daemon"] is None


def test_a_running_daemon_is_described(spool: Spool) -> None:
    Path(spool.state("status.json")).write_text(json.dumps(SAID))
    spool.lock()
    head, *lines = in_words(found(spool)).splitlines()
    spool.unlock()
    assert head == f"{spool.root}: process 17 serves it since 2026-01-01T00:00:00.000Z"
    assert lines[len(SHOWN)].endswith(" MiB free on the disk")
    assert lines[len(SHOWN) + 1 :] == [
        "  trouble: only 3 bytes are free",
        "  process 1 (pid 18) helps with 96 jobs",
        "  batch many: 7 lines answered (5 done, 2 failed)",
        "  batch new: 0 lines answered",
        "  bank: 0 running, 1 waiting, rests for 2.2 s after 10 faults in a row",
        "  mail: 0 running, 1 waiting, rests for 1.0 s because the server said so",
        "  pay: 1 running, 4 waiting, 12.5 of 50 calls a second, paused",
        "  shop: 2 running, 5 waiting",
        "  ship: paused",
        "  2026-01-01T00:00:00.000Z a: dns: no such host",
    ]


def test_a_daemon_that_says_nothing_any_more_is_told_of(spool: Spool) -> None:
    Path(spool.state("status.json")).write_text(json.dumps(SAID | {"at": "2026-01-01T00:00:00.000Z"}))
    spool.lock()
    assert "  trouble: the daemon has said nothing for " in in_words(found(spool))
    spool.unlock()


@pytest.mark.parametrize(
    ("limit", "text"),
    [(50.0, "12.5 of 50 calls a second"), (0.5, "at most 30 calls a minute"), (10 / 3600, "at most 10 calls an hour")],
)
def test_a_limit_is_told_in_a_measure_that_one_can_read(spool: Spool, limit: float, text: str) -> None:
    lanes = {"shop": LANE | {"limit": limit, "per_second": 12.5}}
    Path(spool.state("status.json")).write_text(json.dumps(SAID | {"lanes": lanes}))
    spool.lock()
    assert f"  shop: 0 running, 0 waiting, {text}" in in_words(found(spool))
    spool.unlock()


def test_of_a_daemon_that_is_gone_nothing_but_that_is_said(spool: Spool) -> None:
    Path(spool.state("status.json")).write_text(json.dumps(SAID))
    head, *lines = in_words(found(spool)).splitlines()
    assert head == f"{spool.root}: no daemon is running"
    assert len(lines) == len(SHOWN) + 1


def test_a_daemon_that_just_started_has_said_nothing_yet(spool: Spool) -> None:
    spool.lock()
    head = in_words(found(spool)).splitlines()[0]
    spool.unlock()
    assert head == f"{spool.root}: process ? serves it since ?"


def test_top_draws_the_same_with_rates(spool: Spool) -> None:
    Path(spool.state("status.json")).write_text(json.dumps(SAID | {"answered": 30}))
    spool.lock()
    now = found(spool)
    spool.unlock()
    before = now | {"daemon": SAID | {"answered": 10}}
    console = Console(width=120, record=True, file=StringIO())
    console.print(picture(now, before, 2.0))
    drawn = console.export_text()
    for told in ("process 17", "10.0 answers/s", "12.5 of 50", "paused", "rests 2 s", "only 3 bytes are free"):
        assert told in drawn


def test_top_draws_a_spool_without_a_daemon(spool: Spool) -> None:
    console = Console(width=120, record=True, file=StringIO())
    console.print(picture(found(spool), None, 0.0))
    assert "no daemon is running" in console.export_text()
