"""The permits of one API, in simulated time."""

import random
from bisect import bisect_left
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ratelimit import RateLimitException

from inboxd.jobs.clock import FakeClock
from inboxd.jobs.pace import Pace, Throughput, catch_up
from tests.jobskit import api, task

RATES = [0.1, 0.5, 1, 3, 10, 49, 51, 100, 333, 1000]


class Sim:
    """A lane that always has work, or gets it at given moments, and a worker that may be late."""

    def __init__(self, rate: float, burst: int | None = None, at: float = 1000.0) -> None:
        self.clock = FakeClock(mono=at)
        self.api = api(rate=rate, burst=burst)
        self.pace = Pace(self.api, self.clock)
        self.calls: list[float] = []
        self.call = self.pace.limited(lambda _task: self.calls.append(self.clock.mono()))

    def to(self, moment: float) -> None:
        self.clock.advance(max(moment - self.clock.mono(), 0.0))

    def work(self, until: float, lateness: Iterator[float]) -> None:
        """Call whenever a permit is left, each wake-up late by the next of `lateness` seconds."""
        while (opens := self.pace.opens_at(self.clock.mono())) < until:
            if opens > self.clock.mono():
                self.to(opens + next(lateness))
            one = task(self.api)
            self.pace.hand_out(one)
            self.call(one)


def most_within(calls: list[float], seconds: float) -> int:
    """Return the most calls in any sliding window (open at its end) of so many seconds."""
    return max(bisect_left(calls, call + seconds) - index for index, call in enumerate(calls))


def on_time() -> Iterator[float]:
    while True:
        yield 0.0


def late(by: float) -> Iterator[float]:
    chance = random.Random(7)
    while True:
        yield chance.random() * by


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("by", [0.0, 0.002, 0.008])
def test_the_rate_is_reached_and_not_exceeded_however_late_threads_wake(rate: float, by: float) -> None:
    sim = Sim(rate)
    seconds = max(20.0, 50 / rate)
    sim.work(1000.0 + seconds, late(by) if by else on_time())
    assert len(sim.calls) >= 0.97 * rate * seconds
    for window in (1.0, 2.5, 10.0, 1 / rate, 7 / rate):
        if window >= 1.0:
            assert most_within(sim.calls, window) <= 1.02 * rate * window + 1


@given(
    rate=st.sampled_from(RATES),
    pauses=st.lists(st.tuples(st.floats(0, 12), st.integers(1, 40)), min_size=1, max_size=25),
    window=st.floats(1, 30),
)
def test_no_order_of_pauses_and_floods_exceeds_the_rate(
    rate: float, pauses: list[tuple[float, int]], window: float
) -> None:
    sim = Sim(rate)
    for pause, tasks in pauses:
        sim.to(sim.clock.mono() + pause)
        for _ in range(tasks):
            if sim.pace.opens_at(sim.clock.mono()) > sim.clock.mono():
                break
            sim.call(task(sim.api))
    if sim.calls:
        assert most_within(sim.calls, window) <= 1.02 * rate * window + 1


@pytest.mark.parametrize("rate", [0.1, 1, 10, 25])
@pytest.mark.parametrize("idle", [0.3, 0.99, 1.0, 1.5, 1.99, 2.0, 1000.0])
def test_no_doublet_follows_a_pause(rate: float, idle: float) -> None:
    sim = Sim(rate)
    sim.work(1000.0 + 3 / rate, on_time())
    sim.to(sim.calls[-1] + idle / rate)
    sim.work(sim.clock.mono() + 5 / rate, on_time())
    gaps = [later - earlier for earlier, later in zip(sim.calls, sim.calls[1:], strict=False)]
    assert min(gaps) >= 1 / rate - catch_up(rate) - 0.001 / rate


def test_a_burst_may_go_at_once_and_no_more() -> None:
    sim = Sim(2, burst=6)
    sim.work(1010.0, on_time())
    assert sim.calls[:6] == [1000.0] * 6
    assert sim.calls[6] == pytest.approx(1000.5)
    assert len(sim.calls) == 6 + 19


def test_a_call_without_a_permit_is_refused_and_costs_none() -> None:
    sim = Sim(1)
    sim.call(task(sim.api))
    for _ in range(5):
        with pytest.raises(RateLimitException):
            sim.call(task(sim.api))
    sim.to(1001.0)
    sim.call(task(sim.api))
    assert sim.calls == [1000.0, 1001.0]


def test_no_more_tasks_are_handed_out_than_there_are_permits() -> None:
    sim = Sim(1)
    one = task(sim.api)
    sim.pace.hand_out(one)
    assert sim.pace.opens_at(1000.0) == pytest.approx(1001.0 - catch_up(1.0))
    sim.pace.take_back(one)
    assert sim.pace.opens_at(1000.0) == 1000.0


def test_a_long_rest_hands_out_no_flood() -> None:
    sim = Sim(10)
    sim.to(5000.0)
    sim.pace.hand_out(task(sim.api))
    assert sim.pace.opens_at(5000.0) >= 5000.05 - 1e-6


def test_without_a_rate_every_call_goes() -> None:
    clock = FakeClock()
    pace = Pace(api(), clock)
    calls: list[object] = []
    call = pace.limited(calls.append)
    for _ in range(10_000):
        assert pace.opens_at(clock.mono()) == clock.mono()
        call(task(api()))
    assert len(calls) == 10_000
    assert pace.spent(clock.mono()) == 0.0


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("down", [0.0, 0.4, 3.0])
def test_the_pace_survives_a_restart(rate: float, down: float) -> None:
    sim = Sim(rate)
    sim.work(1000.0 + 4 / rate, on_time())
    spent = sim.pace.spent(sim.clock.mono())
    after = Sim(rate, at=sim.clock.mono() + down / rate)
    after.pace.restore(spent - down / rate, after.clock.mono())
    after.work(after.clock.mono() + 20 / rate, on_time())
    assert most_within(sim.calls + after.calls, max(1.0, 10 / rate)) <= 1.02 * rate * max(1.0, 10 / rate) + 1


def test_a_restart_gives_no_permit_away() -> None:
    sim = Sim(1)
    sim.pace.restore(1.02, 1000.0)
    with pytest.raises(RateLimitException):
        sim.call(task(sim.api))


@pytest.mark.parametrize("spent", [-5.0, 1e9])
def test_a_nonsensical_state_is_taken_for_the_nearest_sensible_one(spent: float) -> None:
    sim = Sim(1)
    sim.pace.restore(spent, 1000.0)
    assert 1000.0 <= sim.pace.opens_at(1000.0) <= 1001.1


def test_it_paces_as_well_after_years_of_uptime() -> None:
    sim = Sim(1000, at=3e8)
    sim.work(3e8 + 5, on_time())
    assert 0.97 * 5000 <= len(sim.calls) <= 5000 * 1.02 + 1


def test_askers_are_sent_away_one_interval_further_each_time() -> None:
    throughput = Throughput(0.5)
    assert [throughput.spread(10.0) for _ in range(3)] == [0.5, 1.0, 1.5]
    assert throughput.spread(11.0) == 1.0


def test_nobody_is_sent_further_than_an_hour() -> None:
    throughput = Throughput(1000.0)
    assert max(throughput.spread(0.0) for _ in range(50)) <= 3600.0


def test_the_interval_follows_what_is_reached_and_a_standstill_counts() -> None:
    throughput = Throughput(0.0)
    throughput.began(0.0)
    for second in range(1, 200):
        throughput.ended(float(second))
    assert throughput.interval(199.5) == pytest.approx(1.0)
    assert throughput.interval(299.0) == pytest.approx(100.0)
    throughput.began(1000.0)
    assert throughput.interval(1000.5) == pytest.approx(1.0)
