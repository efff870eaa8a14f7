"""Why a job is where it is: situations made on purpose, each with the one true reason."""

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from inboxd.daemon.config import Config
from inboxd.daemon.spool import Spool
from inboxd.daemon.why import clock, look, reason, sentence, span
from inboxd.jobs.ids import uuid7

SHOP = {"base_url": "https://shop.example", "rate": "50/s", "concurrency": 8}
LANE = {"waiting": 3, "running": 0, "rests_for": 0.0, "faults": 0, "trips": 0, "paused": False}
JOB: dict[str, Any] = {"url": "https://shop.example/1"}
# The first second of 2099, instead of an age.
FAR = 4_070_908_800.0
TRACE = {
    "id": "x",
    "received": "2026-11-22T08:00:00.000Z",
    "tried": 2,
    "attempts": [{"at": "2026-11-22T08:00:00.000Z", "ms": 1.0, "status": 503, "fault": "server"}],
}


@dataclass
class Situation:
    """Where the job lies, what is in its file, and what the daemon says of itself (None: it does not run)."""

    folder: str
    daemon: dict[str, Any] | None = field(default_factory=dict)
    job: dict[str, Any] | None = field(default_factory=lambda: JOB)
    age: float = 60.0
    called: bool = False
    paused: bool = False
    unwanted: bool = False
    ahead: int = 0
    suffix: str = ".json"


def shop(**lane: Any) -> dict[str, Any]:
    return {"lanes": {"shop": LANE | lane}, "window": {"held": 3, "running": 0, "of": 1000}}


SITUATIONS = {
    "no daemon": (Situation("inbox", None), "waiting 1 m 0 s: no daemon is running"),
    "no room yet": (Situation("inbox", shop()), "3 of 1000 jobs are in memory, and 1 files in the inbox"),
    "full disk": (
        Situation("inbox", {"trouble": ["only 3 bytes are free"]}),
        "nothing is claimed: only 3 bytes are free",
    ),
    "just written": (Situation("inbox", age=0.1), "it was written to just now"),
    "a name that is not finished": (Situation("inbox", suffix=".json.tmp"), "says that it is not finished; rename it"),
    "a daemon that hangs": (
        Situation("active", shop() | {"at": "2026-01-01T00:00:00.000Z"}),
        "it may stand still: look at its log",
    ),
    "being called": (Situation("active", shop(running=1), called=True), "it is being called just now"),
    "its rate": (Situation("active", shop(), ahead=3), "shop is at 50/s, 3 jobs ahead, some 0 s"),
    "its concurrency": (Situation("active", shop(running=8)), "shop has its 8 calls at a time under way; 0 jobs ahead"),
    "a breaker": (
        Situation("active", shop(rests_for=90.0, trips=1, faults=10), ahead=2),
        "after 10 faults in a row; 2 jobs ahead",
    ),
    "a probe": (
        Situation("active", shop(trips=1, faults=11)),
        "shop failed 11 times in a row, and one job is on its way",
    ),
    "Retry-After": (Situation("active", shop(rests_for=90.0)), "because its server said so"),
    "a pause": (Situation("active", shop(paused=True), paused=True), "shop is paused; `inboxd resume shop`"),
    "another API's threads": (
        Situation("active", {"lanes": {}}, {"url": "https://other.example"}),
        "the threads are busy with other calls",
    ),
    "an attachment": (
        Situation("active", shop(), JOB | {"file": "a.png"}),
        'its attachment "a.png" is not in the inbox',
    ),
    "not a job yet": (Situation("active", shop(), None), "it is not readable as a job yet"),
    "a batch": (
        Situation("active", {"batches": [{"name": "mine", "answered": 7}]}, suffix=".jsonl"),
        "the batch is under way, 7 lines are answered",
    ),
    "a retry": (
        Situation("deferred", shop(), JOB | {"trace": TRACE}, age=-300),
        "attempt 2 of 5 failed (server); the next",
    ),
    "a retry in a later round": (
        Situation("deferred", shop(), JOB | {"trace": TRACE | {"tried": 7}}, age=-300),
        "attempt 2 of 5 in round 2 failed (server); the next",
    ),
    "its own wish": (
        Situation("deferred", shop(), JOB | {"not_before": "2099-01-01T00:00:00Z"}, age=FAR),
        "it asked for not_before",
    ),
    "those before": (
        Situation("deferred", shop(), JOB | {"after": ["a", "b"]}, age=-300),
        "it comes after a and b, which must be done before; nobody has dropped a or b yet",
    ),
    "a delay": (Situation("deferred", shop(), JOB | {"delay": "10m"}, age=-300), "it asked for a delay of 10 m 0 s"),
    "its share": (Situation("deferred", shop(), age=-300), "shop has its share of the jobs in memory"),
    "its time": (
        Situation("deferred", shop(running=2, waiting=5)),
        "as there is room for shop, which has 7 of the 1000 jobs that memory may hold",
    ),
    "its time, and nothing said of its API": (Situation("deferred", {}), "as there is room for shop"),
    "one job ahead": (Situation("active", shop(), ahead=1), "shop is at 50/s, 1 job ahead"),
    "taken back": (Situation("deferred", shop(), age=-300, unwanted=True), "it is being taken back"),
    "held": (Situation("hold"), "put aside in hold/; `inboxd release mine`"),
    "failed": (Situation("failed"), "`inboxd retry mine` tries again"),
}


def make(spool: Spool, one: Situation) -> None:
    token = uuid7()
    claimed = one.folder in {"active", "deferred"}
    filename = f"mine~{token}{one.suffix}" if claimed else f"mine{one.suffix}"
    path = Path(spool.folder(one.folder), filename)
    path.write_text("{" if one.job is None else json.dumps(one.job))
    moment = FAR if one.age == FAR else time.time() - one.age
    os.utime(path, (moment, moment))
    if one.daemon is not None:
        spool.lock()
        Path(spool.state("status.json")).write_text(json.dumps(one.daemon))
    if one.called:
        Path(spool.state("inflight")).write_bytes(token.encode().ljust(64))
    if one.paused:
        spool.wish_for("paused", "shop")
    if one.unwanted:
        spool.wish_for("cancel", filename)
    for number in range(one.ahead):
        # Claimed long before.
        Path(spool.active, f"o{number}~01900000-0000-7000-8000-{number:012}.json").write_text(json.dumps(JOB))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(str(tmp_path))
    spool.make()
    return spool


def told(spool: Spool, want: str = "mine") -> str:
    config = Config.model_validate({"spool": spool.root, "api": {"shop": SHOP}})
    (seen,) = look(spool, want, config)
    return reason(seen, time.time())


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_true_reason_is_given(spool: Spool, name: str) -> None:
    situation, expected = SITUATIONS[name]
    make(spool, situation)
    try:
        assert expected in told(spool, f"mine{situation.suffix}" if situation.suffix == ".json.tmp" else "mine")
    finally:
        spool.unlock()


@pytest.mark.parametrize(
    ("filename", "answer", "expected"),
    [
        (
            "mine.json",
            {"status": "done", "finished": "T", "attempts": [{}]},
            "answered done at T after 1 attempt",
        ),
        (
            "mine.json",
            {
                "status": "failed",
                "finished": "T",
                "attempts": [{}, {}],
                "error": {"kind": "dns", "message": "no such host"},
            },
            "answered failed at T after 2 attempts: dns: no such host",
        ),
        ("mine.summary.json", {"statuses": {"done": 3, "failed": 1}}, "the batch is answered: 3 done, 1 failed"),
    ],
)
def test_of_an_answered_job_it_says_how_it_ended(
    spool: Spool, filename: str, answer: dict[str, Any], expected: str
) -> None:
    Path(spool.outbox, filename).write_text(json.dumps(answer))
    assert told(spool) == expected


def test_of_a_file_that_a_job_may_take_along_it_says_so(spool: Spool) -> None:
    Path(spool.inbox, "photo.png").touch()
    spool.lock()
    assert "a job may name it as its attachment" in told(spool, "photo.png")
    spool.unlock()


def test_of_those_before_only_what_nobody_dropped_is_missed(spool: Spool) -> None:
    make(spool, Situation("deferred", shop(), JOB | {"after": ["here", "done", "gone"]}, age=-300))
    Path(spool.inbox, "here.json").touch()
    Path(spool.outbox, "done.json").write_text("{}")
    assert told(spool).endswith("; nobody has dropped gone yet")
    spool.unlock()


def test_a_job_is_known_by_its_id_as_well(spool: Spool) -> None:
    token = uuid7()
    Path(spool.deferred, f"mine~{token}.json").write_text(json.dumps(JOB))
    assert "no daemon is running" in told(spool, token)


def test_one_that_is_not_there_is_told_with_the_nearest_name(spool: Spool) -> None:
    Path(spool.inbox, "order-17.json").touch()
    with pytest.raises(LookupError, match='did you mean "order-17"'):
        sentence(spool, "ordr-17", [], 0.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0.4, "0 s"),
        (59.9, "59 s"),
        (60, "1 m 0 s"),
        (250, "4 m 10 s"),
        (11100, "3 h 5 m"),
        (187200, "2 d 4 h"),
    ],
)
def test_a_span_is_said_in_two_units_at_most(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_another_day_is_told_with_its_date() -> None:
    now = 1_800_000_000.0
    assert len(clock(now + 1, now)) == len("12:00:00")
    assert len(clock(now + 200_000, now)) == len("2027-01-01 12:00:00")
