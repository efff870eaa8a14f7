"""One file on its way: what is rejected, looked at again, or called."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from inboxd.daemon.inflight import CRASHES
from inboxd.daemon.worker import ATTACHMENT_WAIT, IsArray, NotYet, Worker
from inboxd.jobs.clock import FakeClock
from inboxd.jobs.faults import Invalid
from tests.spoolkit import Bench

JOB = '{"url": "http://api.test/x"}'
ATTACHED = '{"url": "http://api.test/x", "multipart": {"f": [{"file": "a.csv"}, {"file": "b.csv"}]}}'


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, clock=FakeClock(wall=time.time()))


def rejected(bench: Bench, name: str = "a") -> str:
    """Work off the inbox; returns why the one file there was rejected."""
    bench.take_all()
    assert bench.client.asked == []
    bench.outbox.commit()
    assert bench.names("active") == bench.names("state/staged") == []
    answer = bench.read("outbox", f"{name}.json")
    assert (answer["status"], answer["error"]["kind"]) == ("rejected", "invalid")
    return str(answer["error"]["message"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"{", "line 1, column 2"),
        (b"\xff\xfe{\0}\0", "UTF-16"),
        (b'{"url": "\xff"}', "not UTF-8"),
        (b"17", "expected a JSON object"),
        (b'{"url": 5}', "url"),
        (b'{"urls": "http://a/"}', "urls"),
        (b'{"url": "http://a/", "url": "http://b/"}', "twice"),
        (b'{"x": "' + b"x" * 1024 * 1024 + b'"}', "has 1048585 bytes and a job at most 1048576"),
    ],
)
def test_what_is_no_job_is_told_what_is_wrong(bench: Bench, content: bytes, words: str) -> None:
    bench.drop("a.json", content)
    assert words in rejected(bench)
    assert Path(bench.spool.failed, "a.json").read_bytes() == content


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (os.mkfifo, "not a regular file"),
        (lambda path: os.symlink("/etc/passwd", path), "symbolic link"),
        (lambda path: os.symlink("nowhere", path), "symbolic link"),
        (lambda path: socket.socket(socket.AF_UNIX).bind(path), "not a regular file"),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_is_no_file_is_put_aside_unread(bench: Bench, make: Callable[[str], None], words: str) -> None:
    make(f"{bench.spool.inbox}/a.json")
    assert words in rejected(bench)
    assert os.path.lexists(f"{bench.spool.failed}/a.json")


@pytest.mark.parametrize(
    ("filename", "shown", "words"),
    [
        ("a~b.json", "a~b", "~"),
        ("a\nb.json", "a\ufffdb", "not printable"),
        ("caf\udce9.json", "caf\ufffd", "not printable"),
        ("x" * 250 + ".json", "x" * 200, "longer than 200 bytes"),
    ],
)
def test_a_name_that_cannot_be_kept_is_answered_and_not_read(
    bench: Bench, filename: str, shown: str, words: str
) -> None:
    bench.drop(filename, JOB)
    assert words in rejected(bench, shown)


def test_a_byte_order_mark_is_forgiven(bench: Bench) -> None:
    bench.drop("a.JSON", "\ufeff" + JOB)
    bench.take_all()
    assert [asked.job.url for asked in bench.client.asked] == ["http://api.test/x"]


@pytest.mark.parametrize("content", ["", "{", '{"url": "http://a', '[{"url"', "[" + '"x",' * 300_000])
def test_a_young_file_may_still_be_being_written(bench: Bench, content: str) -> None:
    claim = bench.claim("a.json", content)
    now = bench.clock.wall()
    os.utime(bench.spool.path(claim), (now, now))
    with pytest.raises(NotYet) as not_yet:
        bench.worker.take(claim, now)
    assert not_yet.value.at == pytest.approx(now + 0.5, abs=0.001)
    Path(bench.spool.path(claim)).write_text(JOB)
    bench.worker.take(claim, now + 0.1)
    assert len(bench.client.asked) == 1


@pytest.mark.parametrize("age", [0.6, 3600])
def test_a_quiet_file_does_not_wait(bench: Bench, age: float) -> None:
    claim = bench.claim("a.json", "{")
    moment = bench.clock.wall() - age
    os.utime(bench.spool.path(claim), (moment, moment))
    bench.worker.take(claim, bench.clock.wall())
    bench.outbox.commit()
    assert bench.read("outbox", "a.json")["status"] == "rejected"


@pytest.mark.parametrize(
    "content",
    ["[]", f"[{JOB}, {JOB}]", '[{"a": 1, "a": 2}]', "[1, NaN]", "[" + '"x",' * 300_000 + "1]", "\ufeff [", "[1,"],
)
def test_whatever_begins_as_an_array_is_one(bench: Bench, content: str) -> None:
    claim = bench.claim("a.json", content)
    with pytest.raises(IsArray):
        bench.worker.take(claim, bench.clock.wall())


def test_a_file_that_is_gone_is_nobodys_job(bench: Bench) -> None:
    claim = bench.claim("a.json", JOB)
    Path(bench.spool.path(claim)).unlink()
    bench.worker.take(claim, bench.clock.wall())
    assert not bench.outbox.waiting
    assert not bench.client.asked


def test_a_late_attachment_is_waited_for(bench: Bench) -> None:
    Path(bench.spool.inbox, "a.csv").touch()
    claim = bench.claim("a.json", ATTACHED)
    with pytest.raises(NotYet) as not_yet:
        bench.worker.take(claim, bench.clock.wall())
    assert not_yet.value.at > bench.clock.wall()
    Path(bench.spool.inbox, "b.csv").touch()
    bench.worker.take(claim, bench.clock.wall())
    assert len(bench.client.asked) == 1
    assert bench.names("inbox") == []


def test_a_missing_attachment_is_told_and_those_that_came_go_along(bench: Bench) -> None:
    Path(bench.spool.inbox, "a.csv").write_text("1")
    claim = bench.claim("a.json", ATTACHED)
    bench.worker.take(claim, bench.clock.wall() + ATTACHMENT_WAIT + 1)
    bench.outbox.commit()
    assert 'attachment "b.csv" is not in the inbox' in bench.read("outbox", "a.json")["error"]["message"]
    assert bench.names("failed") == ["a.csv", "a.json"]
    assert bench.names("active") == []


def test_an_attachment_whose_name_leaves_no_room_for_ours_is_told(bench: Bench) -> None:
    name = "ä" * 120
    Path(bench.spool.inbox, name).touch()
    bench.drop("a.json", f'{{"url": "http://api.test/x", "file": "{name}"}}')
    claim = bench.spool.claim("a.json")
    assert claim is not None
    bench.worker.take(claim, bench.clock.wall())
    bench.outbox.commit()
    assert "File name too long" in bench.read("outbox", "a.json")["error"]["message"]


def test_an_attachment_belongs_to_whoever_came_first(bench: Bench) -> None:
    Path(bench.spool.inbox, "x.csv").touch()
    claims = [bench.claim(f"{name}.json", '{"url": "http://api.test/x", "file": "x.csv"}') for name in "ab"]
    bench.worker.take(claims[0], bench.clock.wall())
    with pytest.raises(NotYet):
        bench.worker.take(claims[1], bench.clock.wall())


def test_after_too_many_crashes_a_job_is_poisoned(bench: Bench) -> None:
    claim = bench.claim("a.json", JOB)
    bench.crashes[claim.token] = [1.0] * (CRASHES - 1)
    bench.worker.take(claim, bench.clock.wall())
    assert [attempt["fault"] for attempt in bench.client.asked[0].errand.attempts] == ["interrupted"] * (CRASHES - 1)
    bench.crashes[claim.token].append(2.0)
    bench.worker.take(claim, bench.clock.wall())
    bench.outbox.commit()
    answer = bench.read("outbox", "a.json")
    assert (answer["status"], answer["error"]["kind"], answer["error"]["uncertain"]) == ("failed", "poisoned", True)
    assert len(answer["attempts"]) == CRASHES


def test_a_job_not_begun_goes_back_untouched(bench: Bench) -> None:
    Path(bench.spool.inbox, "a.csv").touch()
    claim = bench.claim("a.json", '{"url": "http://api.test/x", "file": "a.csv"}')
    bench.worker.take(claim, bench.clock.wall())
    bench.client.postpone(bench.client.asked[0], 0.0, stopped=True, attempts=[])
    assert bench.names("inbox") == ["a.csv", "a.json"]
    assert bench.names("active") == bench.names("deferred") == []


def test_a_job_cut_off_keeps_its_attempt(bench: Bench) -> None:
    bench.drop("a.json", JOB)
    bench.take_all()
    bench.client.postpone(bench.client.asked[0], 0.0, stopped=True, attempts=[{"at": "x", "ms": 0.0}])
    bench.outbox.commit()
    assert len(bench.read("deferred", bench.names("deferred")[0])["trace"]["attempts"]) == 1


def test_the_id_of_a_job_is_its_own_or_its_token_or_that_of_its_trace(bench: Bench) -> None:
    trace = '"trace": {"id": "traced", "received": "2026-01-01T00:00:00Z"}'
    for name, more in {"a": "", "b": ', "id": "given"', "c": f', "id": "given", {trace}'}.items():
        bench.drop(f"{name}.json", f'{{"url": "http://api.test/x"{more}}}')
    bench.take_all()
    errands = [asked.errand for asked in bench.client.asked]
    assert [errand.id for errand in errands] == [errands[0].token, "given", "traced"]
    assert errands[2].received == 1767225600.0


def test_no_answer_is_finished_before_its_job_was_received() -> None:
    answer = Worker.ended("id", "rejected", Invalid("no job"), received=2.0, now=1.9)
    assert answer.finished == answer.received
