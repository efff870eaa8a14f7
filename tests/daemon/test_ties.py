"""Jobs that wait for others by name, and jobs that are dropped twice."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from inboxd.daemon.after import KEPT, LOOK_AGAIN
from inboxd.daemon.batch import Batch
from inboxd.jobs.clock import FakeClock
from tests.spoolkit import Bench

URL = "http://api.test/x"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    # Files and tokens have the real time.
    return Bench(tmp_path, clock=FakeClock(time.time()))


def drop(bench: Bench, name: str, **job: Any) -> None:
    """Drop a job and set it to work."""
    bench.drop(f"{name}.json", json.dumps({"url": f"{URL}/{name}", **job}))
    bench.take_all()
    bench.outbox.commit()


def answer(bench: Bench, name: str, status: str = "done") -> None:
    """Let the call of a job end, and those go on that waited for it."""
    [asked] = [asked for asked in bench.client.asked if asked.job.url.endswith(f"/{name}")]
    bench.client.answer(asked, status)
    bench.outbox.commit()
    go_on(bench)


def go_on(bench: Bench) -> None:
    """Take up what is due in deferred/, as the intake does."""
    due = {filename for filename, at in bench.noted if at <= bench.clock.wall()}
    bench.noted.clear()
    for filename in sorted(due):
        claim = bench.spool.reclaim(filename)
        assert claim is not None
        bench.worker.take(claim, bench.clock.wall())
    bench.outbox.commit()


def asked(bench: Bench) -> set[str]:
    return {one.job.url.rpartition("/")[2] for one in bench.client.asked}


def ends(bench: Bench) -> dict[str, str]:
    return {
        name.removesuffix(".json"): bench.read("outbox", name)["status"]
        for name in bench.names("outbox")
        if name.endswith(".json")
    }


# -- after ----------------------------------------------------------------------------------------------------


def test_a_job_waits_for_others_that_are_dropped_later(bench: Bench) -> None:
    drop(bench, "c", after=["a", "b"])
    drop(bench, "a")
    drop(bench, "b")
    assert asked(bench) == {"a", "b"}
    answer(bench, "a")
    assert asked(bench) == {"b"}
    answer(bench, "b")
    assert asked(bench) == {"c"}


def test_a_job_goes_on_at_once_when_those_before_it_are_done(bench: Bench) -> None:
    drop(bench, "a")
    answer(bench, "a")
    drop(bench, "b", after=["a"])
    assert asked(bench) == {"b"}


def test_an_older_answer_does_not_count_while_a_new_job_of_that_name_is_on_its_way(bench: Bench) -> None:
    drop(bench, "a")
    answer(bench, "a")
    drop(bench, "a")
    bench.client.postpone(bench.client.asked[0], 60.0)
    bench.outbox.commit()
    assert len(bench.names("deferred")) == 1
    drop(bench, "b", after=["a"])
    assert asked(bench) == set()


def test_an_end_counts_even_if_its_answer_is_taken_away_and_the_daemon_dies_at_once(bench: Bench) -> None:
    drop(bench, "b", after=["a"])
    drop(bench, "a")
    [call] = bench.client.asked
    bench.client.answer(call)
    bench.outbox.commit()
    Path(bench.spool.outbox, "a.json").unlink()
    again = Bench(bench.root, clock=bench.clock)
    again.noted += [(filename, 0.0) for filename in again.names("deferred")]
    go_on(again)
    assert asked(again) == {"b"}


@pytest.mark.parametrize("status", ["failed", "rejected"])
def test_a_job_is_skipped_with_all_below_it_when_one_before_it_did_not_end_well(bench: Bench, status: str) -> None:
    drop(bench, "b", after=["a"], then=[{"url": URL}])
    if status == "rejected":
        drop(bench, "a", urk=1)
        go_on(bench)
    else:
        drop(bench, "a")
        answer(bench, "a", status)
    assert ends(bench) == {"a": status, "b": "skipped", "b~1": "skipped"}
    told = bench.read("outbox", "b.json")["error"]
    assert told["kind"] == "skipped"
    assert told["message"].startswith(f"a, which it waited for, ended as {status}: ")
    assert bench.read("outbox", "b~1.json")["error"]["message"] == told["message"]
    assert "b.json" in bench.names("failed")


def test_a_batch_may_be_waited_for(bench: Bench) -> None:
    drop(bench, "b", after=["many"])
    batch = Batch(bench.worker, bench.claim("many.jsonl", json.dumps({"url": f"{URL}/line"})))
    bench.clock.advance(20)
    batch.turn(bench.clock.wall(), 10)
    answer(bench, "line")
    assert asked(bench) == {"b"}


@pytest.mark.parametrize(
    ("jobs", "told"),
    [
        ({"a": ["a"]}, "after: a, which waits for a; none of them could ever begin"),
        ({"a": ["a~1"]}, "after: a, which waits for a~1; none of them could ever begin"),
        ({"b": ["a"], "a": ["b"]}, "after: a, which waits for b, which waits for a; none of them could ever begin"),
        (
            {"b": ["x", "a~2"], "c": ["b~1~1"], "a": ["c"]},
            "after: a, which waits for c, which waits for b~1~1, which waits for a~2; none of them could ever begin",
        ),
    ],
)
def test_who_would_wait_for_himself_is_told_the_way_round(bench: Bench, jobs: dict[str, list[str]], told: str) -> None:
    for name, after in jobs.items():
        drop(bench, name, after=after)
    found = bench.read("outbox", "a.json")
    assert (found["status"], found["error"]["message"]) == ("rejected", told)
    go_on(bench)
    # Those that waited for it are told why they never will begin.
    assert set(ends(bench).values()) <= {"rejected", "skipped"}


def test_a_wait_ends_when_the_job_expires(bench: Bench) -> None:
    drop(bench, "b", after=["a"], expires=10)
    assert max(at for _, at in bench.noted) <= bench.clock.wall() + 11
    bench.clock.advance(11)
    go_on(bench)
    assert ends(bench) == {"b": "expired"}


def test_a_waiting_job_is_looked_at_again_whatever_the_index_says(bench: Bench) -> None:
    drop(bench, "b", after=["a"])
    Path(bench.spool.outbox, "a.json").write_text('{"status": "done"}')
    bench.clock.advance(LOOK_AGAIN)
    go_on(bench)
    assert asked(bench) == {"b"}


def test_names_that_nobody_waits_for_any_more_are_forgotten(bench: Bench) -> None:
    drop(bench, "b", after=["a", "never"])
    drop(bench, "a")
    answer(bench, "a")
    after = bench.worker.ties.after
    after.turn(bench.clock.wall())
    assert bench.names("state/after") == ["a", "never"]
    after._sweep_at = 0.0
    after.turn(Path(bench.spool.state("after"), "a").stat().st_mtime + KEPT + 1)
    assert bench.names("state/after") == ["never"]


# -- one id, dropped twice --------------------------------------------------------------------------------------


def test_a_job_of_a_known_id_is_answered_from_the_first_ones_answer_and_marked(bench: Bench) -> None:
    drop(bench, "a", id="order-17", then=[{"url": f"{URL}/below"}])
    answer(bench, "a")
    drop(bench, "b", id="order-17", then=[{"url": f"{URL}/below"}], callback=f"{URL}/hook")
    first, second = bench.read("outbox", "a.json"), bench.read("outbox", "b.json")
    assert second["repeats"] == first["claim"]
    assert {**second, "name": "a", "claim": first["claim"]} == {**first, "repeats": first["claim"]}
    # What follows has followed from the first one's answer.
    assert asked(bench) == {"below"}
    assert bench.names("deferred") == []


def test_while_the_first_is_on_its_way_the_second_waits_for_it(bench: Bench) -> None:
    drop(bench, "a", id="x")
    drop(bench, "b", id="x")
    assert asked(bench) == {"a"}
    answer(bench, "a")
    assert ends(bench) == {"a": "done", "b": "done"}


def test_a_first_one_that_ended_since_the_turn_began_is_known(bench: Bench) -> None:
    """The intake takes many jobs in one turn, and goes by one time meanwhile."""
    drop(bench, "a", id="x")
    began = bench.clock.wall()
    bench.clock.advance(1)
    answer(bench, "a")
    bench.worker.take(bench.claim("b.json", json.dumps({"id": "x", "url": f"{URL}/b"})), began)
    bench.outbox.commit()
    assert ends(bench) == {"a": "done", "b": "done"}


def test_a_job_whose_id_did_not_end_well_is_called(bench: Bench) -> None:
    drop(bench, "a", id="x")
    drop(bench, "b", id="x")
    answer(bench, "a", "failed")
    assert asked(bench) == {"b"}


def test_an_id_is_known_for_the_length_of_the_window(bench: Bench) -> None:
    drop(bench, "a", id="x")
    answer(bench, "a")
    bench.clock.advance(3599)
    drop(bench, "b", id="x")
    assert asked(bench) == set()
    bench.clock.advance(2)
    drop(bench, "c", id="x")
    assert asked(bench) == {"c"}


def test_who_asks_over_http_does_not_get_what_others_were_answered(bench: Bench) -> None:
    """Ids can be guessed, and so can names."""
    drop(bench, "a", id="x")
    answer(bench, "a")
    drop(bench, "http-b", id="x")
    assert asked(bench) == {"http-b"}
    drop(bench, "c")
    answer(bench, "c", "failed")
    drop(bench, "http-d", after=["c"])
    assert bench.read("outbox", "http-d.json")["error"]["message"] == "c, which it waited for, ended as failed"


def test_with_no_window_every_job_is_called(tmp_path: Path) -> None:
    bench = Bench(tmp_path, remember=0.0)
    drop(bench, "a", id="x")
    drop(bench, "b", id="x")
    answer(bench, "a")
    drop(bench, "c", id="x")
    assert asked(bench) == {"b", "c"}


def test_what_is_dropped_again_with_its_trace_is_called(bench: Bench) -> None:
    """Whoever takes a failed file back into the inbox wants it called, whoever else had that id."""
    drop(bench, "a", id="x")
    answer(bench, "a")
    drop(bench, "b", id="x", trace={"id": "x", "received": "2026-11-22T08:00:00Z"})
    assert asked(bench) == {"b"}
