"""What a hostile server, a careless user or a foreign file may try, and that nothing comes of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from inboxd.daemon.disk import Disk
from inboxd.daemon.drop import Dropped, wait_for
from inboxd.daemon.owners import uids
from inboxd.daemon.recovery import recover
from inboxd.daemon.spool import Spool, SpoolError
from inboxd.jobs.result import DEEPEST, Response
from tests.crashkit import Crash
from tests.spoolkit import Bench, CrashingDisk

URL = "http://api.test/x"
JOB = json.dumps({"url": URL})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def answered(bench: Bench, filename: str, body: bytes, status: str = "done") -> None:
    bench.drop(filename, JOB)
    bench.take_all()
    bench.client.answer(bench.client.asked[0], status, body)
    bench.outbox.commit()


@pytest.mark.parametrize("depth", [DEEPEST - 10, DEEPEST + 10, 1000, 1023, 1024, 5000])
def test_json_however_deep_is_answered_and_can_be_read_by_anybody(bench: Bench, depth: int) -> None:
    """An answer that the daemon itself cannot read would stop its next start."""
    answered(bench, "deep.json", b"[" * depth + b"]" * depth)
    response = bench.read("outbox", "deep.json")["response"]
    assert ("json" in response) is (depth < DEEPEST)


def test_an_answer_that_speaks_of_another_claim_does_not_end_that_job(bench: Bench) -> None:
    bench.drop("a.json", JOB)
    bench.take_all()
    [first] = bench.client.asked
    bench.drop("a.json", JOB)
    bench.take_all()
    second = bench.client.asked[1]
    bench.client.answer(first, body=json.dumps({"claim": second.errand.token}).encode())
    bench.outbox.commit()
    assert [claim.token for claim in recover(bench.spool)] == [second.errand.token]


def test_a_job_cannot_take_another_job_as_its_attachment(bench: Bench) -> None:
    Path(bench.spool.inbox, "victim.jsonl").write_text(JOB)
    bench.worker.take(bench.claim("thief.json", json.dumps({"url": URL, "file": "victim.jsonl"})), bench.clock.wall())
    bench.outbox.commit()
    assert bench.read("outbox", "thief.json")["status"] == "rejected"
    assert bench.names("inbox") == ["victim.jsonl"]


def test_a_file_that_somebody_wrote_on_goes_to_failed_as_it_is(bench: Bench) -> None:
    bench.drop("a.json", JOB)
    bench.take_all()
    with open(bench.spool.path(recover(bench.spool)[0]), "a") as file:
        file.write("and more")
    bench.client.answer(bench.client.asked[0], "failed")
    bench.outbox.commit()
    assert Path(bench.spool.failed, "a.json").read_text() == JOB + "and more"
    assert bench.names("active") == []


def test_a_batch_put_aside_by_hand_is_not_taken_for_finished(bench: Bench) -> None:
    token = "01a20000-0000-7000-8000-000000000000"
    part = Path(bench.spool.outbox, f".b~{token}.jsonl.part")
    part.write_text(f'{{"id":"{token}:1","name":"b","line":1,"status":"done"}}\n')
    recover(bench.spool)
    assert part.exists()
    assert "b.jsonl" not in bench.names("outbox")


def test_a_body_torn_by_a_power_cut_is_fetched_again(bench: Bench) -> None:
    disk = bench.disk
    assert isinstance(disk, CrashingDisk)
    bench.drop("a.json", JOB)
    bench.take_all()
    bench.client.answer(bench.client.asked[0], body=b"\xff\xfe\x00")
    disk.fuse = 4
    with pytest.raises(Crash):
        bench.outbox.commit()
    disk.fuse = None
    [body] = Path(bench.spool.staged).glob("*.body")
    body.write_bytes(b"")
    assert [claim.name for claim in recover(bench.spool)] == ["a"]
    assert bench.names("outbox") == []


def test_files_of_other_users_are_refused_when_owners_are_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path, disk=Disk(fsync=False, owners=frozenset({os.getuid() + 1})))
    bench.drop("a.json", JOB)
    bench.take_all()
    bench.outbox.commit()
    assert "from whom no jobs are accepted" in bench.read("outbox", "a.json")["error"]["message"]


def test_an_owner_who_is_no_user_stops_the_start() -> None:
    assert uids(["root"]) == {0}
    with pytest.raises(SpoolError, match='no user "nobody-of-that-name"'):
        uids(["nobody-of-that-name"])


def test_many_answers_of_one_name_are_counted_on_and_begin_anew_when_they_are_taken(bench: Bench) -> None:
    for _ in range(4):
        answered(bench, "a.json", b"{}")
    assert bench.names("outbox") == ["a.json", "a~r2.json", "a~r3.json", "a~r4.json"]
    for name in bench.names("outbox"):
        Path(bench.spool.outbox, name).unlink()
    answered(bench, "a.json", b"{}")
    answered(bench, "a.json", b"{}")
    assert bench.names("outbox") == ["a.json", "a~r5.json"]


def test_a_job_called_like_a_summary_is_no_summary(bench: Bench) -> None:
    answered(bench, "x.summary.json", b"{}")
    spool = Spool(str(bench.root))
    assert wait_for(Dropped(spool, "x", ".json", 0.0), 0.05) == (None, 3)


@pytest.mark.parametrize("charset", ["x" * 60_000, "x" * 41])
def test_a_charset_that_is_no_name_of_one_is_not_looked_up(charset: str) -> None:
    assert Response(200, {"Content-Type": f"text/plain; charset={charset}"}, b"abc").text is None


def test_credentials_in_a_location_are_not_shown() -> None:
    shown = Response(302, {"Location": "http://u:PW@h/?token=T&a=1", "Set-Cookie": "s=1"}, b"").to_dict(None)
    assert "PW" not in str(shown)
    assert "token=T" not in str(shown)
    assert shown["headers"]["Set-Cookie"] == "***"
