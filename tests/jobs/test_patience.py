"""Whether and when to try again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inboxd.jobs import faults
from inboxd.jobs.patience import Again, Backoff, GiveUp, decide


def test_waits_grow_by_the_factor_up_to_the_maximum() -> None:
    backoff = Backoff(first=1, factor=3, max=20)
    assert [backoff.wait(attempt, 1.0) for attempt in range(1, 6)] == [1, 3, 9, 20, 20]


def test_jitter_takes_at_most_half_away() -> None:
    assert Backoff(first=8).wait(1, 0.0) == 4


def test_an_attempt_beyond_counting_waits_the_maximum() -> None:
    assert Backoff(first=1, factor=10, max=5).wait(100_000, 1.0) == 5


@given(
    attempt=st.integers(1, 50),
    attempts=st.integers(1, 50),
    after=st.none() | st.floats(0, 3600),
    chance=st.floats(0, 1, exclude_max=True),
    first=st.floats(0, 100),
    factor=st.floats(1, 100),
)
def test_no_wait_undercuts_retry_after_and_no_attempt_is_beyond_the_last(
    attempt: int, attempts: int, after: float | None, chance: float, first: float, factor: float
) -> None:
    fault = faults.Throttled("slow down", retry_after=after)
    decision = decide(fault, attempt, attempts, Backoff(first=first, factor=factor), chance)
    if attempt >= attempts:
        assert decision == GiveUp("attempts used up")
    else:
        assert isinstance(decision, Again)
        assert decision.wait >= (after or 0.0)
        assert decision.wait <= max(600.0, (after or 0.0) * 1.1)


def test_when_a_round_is_used_up_the_next_one_begins_after_its_delay() -> None:
    assert decide(faults.Server("no"), 4, 5, Backoff(first=1), 0.0, 900.0) == Again(4.0)
    assert decide(faults.Server("no"), 5, 5, Backoff(first=1), 0.0, 900.0) == Again(900.0)
    assert decide(faults.Server("no", retry_after=2000), 5, 5, Backoff(), 0.0, 900.0) == Again(2000.0)
    assert decide(faults.Client("no"), 5, 5, Backoff(), 0.0, 900.0) == GiveUp("permanent")


@pytest.mark.parametrize("kind", faults.Permanent.__subclasses__())
def test_a_permanent_fault_is_never_tried_again(kind: type[faults.Fault]) -> None:
    assert decide(kind("no"), 1, 100, Backoff(), 0.5) == GiveUp("permanent")


@pytest.mark.parametrize("factor", [0.5, float("inf"), float("nan")])
def test_waits_never_shrink_and_stay_numbers(factor: float) -> None:
    with pytest.raises(ValueError, match="factor"):
        Backoff(factor=factor)
