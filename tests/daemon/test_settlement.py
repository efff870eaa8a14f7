"""How a job's file ends: its answer, failed/, deferred/."""

import json
import os
from pathlib import Path

import pytest

from inboxd.daemon.settlement import failed_name
from tests.spoolkit import Bench

JOB = '{"url": "http://api.test/x"}'


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def end(bench: Bench, status: str = "done", body: bytes = b"{}", content: str = JOB, name: str = "a") -> None:
    bench.drop(f"{name}.json", content)
    bench.take_all()
    bench.client.answer(bench.client.asked[0], status, body)
    bench.outbox.commit()


def test_a_job_done_leaves_nothing_but_its_answer(bench: Bench) -> None:
    end(bench)
    assert bench.read("outbox", "a.json")["status"] == "done"
    for folder in ("inbox", "active", "deferred", "failed", "state/staged"):
        assert bench.names(folder) == []


def test_a_failed_job_lies_in_failed_with_its_trace(bench: Bench) -> None:
    end(bench, "failed")
    answer, copy = bench.read("outbox", "a.json"), bench.read("failed", "a.json")
    assert copy["url"] == "http://api.test/x"
    assert copy["trace"] == {"id": answer["id"], "received": answer["received"], "tried": 0, "attempts": []}


def test_a_rejected_file_lies_in_failed_as_it_was(bench: Bench) -> None:
    bench.drop("a.json", "\ufeff{ not json")
    bench.take_all()
    bench.outbox.commit()
    assert bench.read("outbox", "a.json")["status"] == "rejected"
    assert Path(bench.spool.failed, "a.json").read_text() == "\ufeff{ not json"


def test_a_second_answer_never_replaces_the_first(bench: Bench) -> None:
    end(bench, "failed")
    end(bench, "failed")
    end(bench)
    assert bench.names("outbox") == ["a.json", "a~r2.json", "a~r3.json"]
    assert bench.names("failed") == ["a.json", "a~r2.json"]


def test_a_job_that_failed_twice_is_dropped_again_under_its_name(bench: Bench) -> None:
    end(bench, "failed")
    end(bench, "failed")
    bench.spool.drop_again("a~r2.json")
    bench.take_all()
    bench.client.answer(bench.client.asked[0])
    bench.outbox.commit()
    assert bench.read("outbox", "a~r3.json")["name"] == "a"


def test_a_binary_body_is_a_file_that_the_answer_names(bench: Bench) -> None:
    end(bench, body=b"\xff\x00")
    answer = bench.read("outbox", "a.json")
    assert answer["response"]["file"] == "a.body"
    assert Path(bench.spool.outbox, "a.body").read_bytes() == b"\xff\x00"


def test_each_answer_names_its_own_body(bench: Bench) -> None:
    """Whatever of the name is taken or given away meanwhile: an answer without a body, others of the same group."""
    end(bench)
    for number in range(3):
        bench.drop("a.json", JOB)
        bench.take_all()
        bench.client.answer(bench.client.asked[0], body=bytes([255, number]))
    bench.outbox.commit()
    named = [bench.read("outbox", f"a~r{number}.json")["response"]["file"] for number in (2, 3, 4)]
    found = [Path(bench.spool.outbox, filename).read_bytes() for filename in named]
    assert sorted(found) == [b"\xff\x00", b"\xff\x01", b"\xff\x02"]


def test_the_rest_of_an_earlier_attempts_body_is_no_answer(bench: Bench) -> None:
    bench.drop("a.json", JOB)
    bench.take_all()
    asked = bench.client.asked[0]
    assert asked.errand.spill is not None
    with asked.errand.spill() as side:
        side.write(b"half")
    bench.client.answer(asked, attempts=2)
    bench.outbox.commit()
    assert bench.names("outbox") == ["a.json"]
    assert bench.names("state/staged") == []


def test_a_deferred_job_carries_its_trace_and_its_time(bench: Bench) -> None:
    bench.drop("a.json", JOB)
    bench.take_all()
    with bench.client.asked[0].errand.spill() as side:  # type: ignore[misc]  # every errand of a file has one
        side.write(b"half")
    bench.client.postpone(bench.client.asked[0], 60.0)
    bench.outbox.commit()
    (filename,) = bench.names("deferred")
    assert bench.names("active") == bench.names("state/staged") == []
    assert os.stat(Path(bench.spool.deferred, filename)).st_mtime == pytest.approx(bench.clock.wall() + 60, abs=0.01)
    assert bench.noted == [(filename, bench.clock.wall() + 60)]
    trace = bench.read("deferred", filename)["trace"]
    assert (trace["tried"], [attempt["status"] for attempt in trace["attempts"]]) == (1, [503])


def test_a_trace_survives_and_grows(bench: Bench) -> None:
    bench.drop("a.json", JOB)
    bench.take_all()
    first = bench.client.asked[0].errand
    bench.client.postpone(bench.client.asked[0], 60.0)
    bench.outbox.commit()
    claim = bench.spool.reclaim(bench.names("deferred")[0])
    assert claim is not None
    bench.worker.take(claim, bench.clock.wall())
    again = bench.client.asked[0].errand
    assert (again.token, again.tried, len(again.attempts)) == (first.token, 1, 1)
    assert again.received == pytest.approx(first.received, abs=0.001)
    bench.client.postpone(bench.client.asked[0], 60.0, attempts=[*again.attempts, {"at": "x", "ms": 2.0}])
    bench.outbox.commit()
    assert len(bench.read("deferred", bench.names("deferred")[0])["trace"]["attempts"]) == 2


def test_a_job_that_somebody_took_away_is_not_deferred(bench: Bench) -> None:
    bench.drop("a.json", JOB)
    bench.take_all()
    Path(bench.spool.active, bench.names("active")[0]).unlink()
    bench.client.postpone(bench.client.asked[0], 60.0)
    bench.outbox.commit()
    assert bench.names("deferred") == bench.names("state/staged") == []


@pytest.mark.parametrize(
    "content", ['{"url": "http://api.test/x", "json": "\\ud800"}', '\ufeff{"url": "http://api.test/x", "text": "ä"}']
)
def test_whatever_was_readable_can_be_written_again(bench: Bench, content: str) -> None:
    end(bench, "failed", content=content)
    copy = bench.read("failed", "a.json")
    assert copy.pop("trace")
    assert copy == json.loads(content.lstrip("\ufeff"))


@pytest.mark.parametrize(("content", "lines"), [(JOB, 1), ('{\n  "url": "http://api.test/x"\n}\n', 9)])
def test_a_job_written_by_hand_stays_readable(bench: Bench, content: str, lines: int) -> None:
    end(bench, "failed", content=content)
    assert len(Path(bench.spool.failed, "a.json").read_text().splitlines()) == lines


@pytest.mark.parametrize(("status", "folder"), [("done", None), ("failed", "failed")])
def test_the_attachment_goes_with_its_job(bench: Bench, status: str, folder: str | None) -> None:
    Path(bench.spool.inbox, "a.csv").write_text("1;2")
    bench.client.calls.clear()
    claim = bench.claim("a.json", '{"url": "http://api.test/x", "file": "a.csv"}')
    bench.worker.take(claim, bench.clock.wall())
    bench.client.answer(bench.client.asked[0], status)
    bench.outbox.commit()
    assert bench.names("inbox") == bench.names("active") == []
    kept = [name for name in bench.names("failed") if name.endswith(".a.csv")]
    assert len(kept) == (folder is not None)
    if kept:
        # Under a name of its own, which the copy asks for: a second job's a.csv must not take its place.
        assert bench.read("failed", "a.json")["file"] == kept[0]


def test_an_attachment_that_failed_before_does_not_gather_names(bench: Bench) -> None:
    claim = bench.claim("a.json", JOB)
    once = failed_name(claim, "photo.png")
    again = failed_name(bench.claim("a.json", JOB), once)
    assert once.startswith("a.")
    assert once.endswith(".photo.png")
    assert len(again) == len(once)
    assert again != once
