"""One API's lane: what it lets through, when it rests, and that its decorators really decorate."""

from collections.abc import Callable
from typing import Any

import pytest
from ratelimit import RateLimitException

from inboxd.jobs.clock import FakeClock
from inboxd.jobs.faults import Client, Fault, Server, Throttled
from inboxd.jobs.lane import Lane, RetryLater
from inboxd.jobs.patience import Again, GiveUp
from inboxd.jobs.task import Task
from tests.jobskit import api, task


class Wire:
    """Stands in for the sender: fails as told, and lets the lane judge as the sender does."""

    def __init__(self, *outcomes: Fault | None) -> None:
        self.outcomes = list(outcomes)
        self.calls: list[Task] = []
        self.counted: list[bool] = []

    def __call__(self, lane: Lane, one: Task) -> str:
        self.calls.append(one)
        fault = self.outcomes.pop(0) if self.outcomes else None
        if fault is None:
            lane.succeeded()
            return "done"
        counts = lane.failed(fault, one, lane._clock.mono())
        self.counted.append(counts)
        one.tried += counts
        one.probes += not counts
        raise fault


def lane_with(*outcomes: Fault | None, **policy: Any) -> tuple[Lane, Wire, FakeClock]:
    clock, wire = FakeClock(), Wire(*outcomes)
    return Lane(api(**policy), wire, clock), wire, clock


def serve(lane: Lane, one: Task, now: float) -> Any:
    """Take `one` in and out and call it, as queue and worker do."""
    lane.add(one)
    assert lane.opens_at(now) == now
    assert lane.take(now) is one
    try:
        return lane.call(one)
    finally:
        lane.returned(one)


def fail(lane: Lane, fault: Fault, one: Task, now: float) -> bool:
    one.tried += (counts := lane.failed(fault, one, now))
    one.probes += not counts
    return counts


TINY = {"first": "1ms", "max": "1ms"}


def test_backoff_really_calls_again_after_a_temporary_fault() -> None:
    lane, wire, clock = lane_with(Server("1"), Server("2"), backoff=TINY)
    assert serve(lane, task(lane.api), clock.mono()) == "done"
    assert len(wire.calls) == 3


def test_backoff_gives_up_when_the_attempts_are_used_up() -> None:
    lane, wire, clock = lane_with(*[Server("no") for _ in range(9)], attempts=3, backoff=TINY)
    one = task(lane.api)
    with pytest.raises(Server):
        serve(lane, one, clock.mono())
    assert (len(wire.calls), one.tried) == (3, 3)


def test_backoff_never_repeats_a_permanent_fault() -> None:
    lane, wire, clock = lane_with(Client("no", status=404))
    with pytest.raises(Client) as failure:
        serve(lane, task(lane.api), clock.mono())
    assert (len(wire.calls), failure.value.decision) == (1, GiveUp("permanent"))


def test_a_long_wait_frees_the_worker_at_once() -> None:
    lane, wire, clock = lane_with(Server("no"), backoff={"first": "60s"})
    with pytest.raises(RetryLater) as later:
        serve(lane, task(lane.api), clock.mono())
    assert 30 <= later.value.wait <= 60
    assert len(wire.calls) == 1


def test_ratelimit_really_refuses_a_call_beyond_the_limit() -> None:
    lane, wire, clock = lane_with(rate="1/s")
    assert lane.call(task(lane.api)) == "done"
    with pytest.raises(RateLimitException):
        lane.call(task(lane.api))
    clock.advance(1.0)
    assert lane.call(task(lane.api)) == "done"
    assert len(wire.calls) == 2


def test_each_attempt_in_place_asks_the_limiter_again() -> None:
    lane, wire, clock = lane_with(Server("no"), rate="1/s", backoff=TINY)
    with pytest.raises(RateLimitException):
        serve(lane, task(lane.api), clock.mono())
    assert len(wire.calls) == 1


def test_tasks_go_by_priority_and_then_by_age() -> None:
    lane, _, clock = lane_with()
    tasks = [task(lane.api, priority=priority) for priority in (0, 5, 0, -1, 5)]
    for seq, one in enumerate(tasks):
        one.seq = seq
        lane.add(one)
    assert [tasks.index(lane.take(clock.mono())) for _ in tasks] == [1, 4, 0, 2, 3]


def test_a_task_waits_for_its_time() -> None:
    lane, _, clock = lane_with()
    lane.add(task(lane.api, due=clock.mono() + 5))
    assert lane.opens_at(clock.mono()) == clock.mono() + 5
    clock.advance(5)
    assert lane.take(clock.mono()).begun


def test_an_empty_or_a_busy_lane_is_opened_by_an_event_only() -> None:
    lane, _, clock = lane_with(concurrency=1)
    assert lane.opens_at(clock.mono()) == float("inf")
    for _ in range(2):
        lane.add(task(lane.api))
    taken = lane.take(clock.mono())
    assert lane.opens_at(clock.mono()) == float("inf")
    lane.returned(taken)
    assert lane.opens_at(clock.mono()) == clock.mono()


def test_retry_after_rests_the_whole_lane_and_the_longest_word_counts() -> None:
    lane, _, clock = lane_with()
    lane.add(task(lane.api))
    for after in (5.0, 30.0, 1.0):
        fail(lane, Throttled("slow", retry_after=after), task(lane.api), clock.mono())
    assert lane.opens_at(clock.mono()) == clock.mono() + 30


def test_a_retry_in_place_stays_away_from_a_lane_that_has_gone_to_rest() -> None:
    lane, wire, clock = lane_with(backoff=TINY)
    one = task(lane.api)
    lane.add(one)
    lane.take(clock.mono())
    fail(lane, Throttled("slow", retry_after=5.0), task(lane.api), clock.mono())
    with pytest.raises(RetryLater):
        lane.call(one)
    assert wire.calls == []


def trip(lane: Lane, now: float) -> None:
    for _ in range(lane.api.trip):
        fail(lane, Server("no"), task(lane.api), now)


def test_a_retry_in_place_is_no_second_probe_when_the_rest_is_over() -> None:
    lane, wire, clock = lane_with()
    one = task(lane.api)
    lane.add(one)
    lane.take(clock.mono())
    trip(lane, clock.mono())
    clock.advance(5.0)
    with pytest.raises(RetryLater):
        lane.call(one)
    assert wire.calls == []


def test_the_breaker_trips_after_ten_temporary_faults_in_a_row() -> None:
    lane, _, clock = lane_with()
    lane.add(task(lane.api))
    for _ in range(9):
        fail(lane, Server("no"), task(lane.api), clock.mono())
    assert lane.opens_at(clock.mono()) == clock.mono()
    fail(lane, Server("no"), task(lane.api), clock.mono())
    assert clock.mono() + 0.5 <= lane.opens_at(clock.mono()) <= clock.mono() + 1


@pytest.mark.parametrize(
    "alive",
    [lambda lane, _now: lane.succeeded(), lambda lane, now: fail(lane, Client("no", status=404), task(lane.api), now)],
)
def test_any_word_from_the_server_starts_the_count_anew(alive: Callable[[Lane, float], object]) -> None:
    lane, _, clock = lane_with()
    for _ in range(9):
        fail(lane, Server("no"), task(lane.api), clock.mono())
    alive(lane, clock.mono())
    fail(lane, Server("no"), task(lane.api), clock.mono())
    assert (lane.faults, lane.trips) == (1, 0)


def test_one_probe_at_a_time_and_each_failed_one_lengthens_the_rest() -> None:
    lane, _, clock = lane_with(backoff={"first": "1s", "max": "1h"})
    lane.add(task(lane.api))
    lane.add(task(lane.api))
    trip(lane, clock.mono())
    rests = []
    for _ in range(5):
        rests.append(lane.opens_at(clock.mono()) - clock.mono())
        clock.advance(rests[-1] + 1e-6)
        probe = lane.take(clock.mono())
        assert lane.opens_at(clock.mono()) == float("inf")
        assert not fail(lane, Server("no"), probe, clock.mono())
        lane.returned(probe)
        lane.add(probe)
    for number, rest in enumerate(rests):
        assert 2**number / 2 <= rest <= 2**number + 1e-3


def test_a_probe_that_succeeds_wakes_the_lane() -> None:
    lane, _, clock = lane_with()
    for _ in range(3):
        lane.add(task(lane.api))
    trip(lane, clock.mono())
    clock.advance(2.0)
    probe = lane.take(clock.mono())
    lane.succeeded()
    lane.returned(probe)
    assert lane.opens_at(clock.mono()) == clock.mono()
    assert not lane.take(clock.mono()).probing


def test_calls_under_way_when_the_breaker_trips_do_not_lengthen_the_rest() -> None:
    lane, _, clock = lane_with()
    trip(lane, clock.mono())
    rest = lane.rest_until
    trip(lane, clock.mono())
    assert (lane.rest_until, lane.trips) == (rest, 1)


def test_probes_are_free_for_one_round_so_that_every_job_ends() -> None:
    lane, _, clock = lane_with(attempts=3)
    trip(lane, clock.mono())
    probe = task(lane.api)
    decisions = []
    while True:
        probe.probing = True
        fault = Server("no")
        fail(lane, fault, probe, clock.mono())
        decisions.append(type(fault.decision))
        if fault.decision == GiveUp("attempts used up"):
            break
    assert decisions == [Again] * 5 + [GiveUp]


def test_a_task_taken_out_of_its_turn_is_not_served() -> None:
    lane, _, clock = lane_with()
    tasks = [task(lane.api) for _ in range(3)]
    for seq, one in enumerate(tasks):
        one.seq = seq
        lane.add(one)
    assert lane.take_out(tasks[0])
    assert not lane.take_out(tasks[0])
    lane.returned(tasks[0])
    assert [lane.take(clock.mono()), lane.take(clock.mono())] == tasks[1:]
    assert lane.opens_at(clock.mono()) == float("inf")


def test_a_lane_is_saved_and_taken_up_again() -> None:
    lane, _, clock = lane_with(rate="1/s")
    lane.call(task(lane.api))
    trip(lane, clock.mono())
    fail(lane, Throttled("slow", retry_after=100.0), task(lane.api), clock.mono())
    again, _, later = lane_with(rate="1/s")
    again.restore(lane.state(clock.mono()), 40.0, later.mono())
    again.add(task(again.api))
    assert again.opens_at(later.mono()) == pytest.approx(later.mono() + 60, abs=0.01)
    assert (again.faults, again.trips, again.idle) == (11, 1, False)


def test_a_lane_is_idle_when_forgetting_it_forgets_nothing() -> None:
    lane, _, clock = lane_with(rate="1/s")
    assert lane.idle
    lane.call(task(lane.api))
    assert not lane.idle
    clock.advance(1.1)
    assert lane.idle
    lane.admit(clock.mono())
    assert not lane.idle
