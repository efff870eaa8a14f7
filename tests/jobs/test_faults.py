"""What follows from a failure: the kind of fault, and whether and when to try again."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inboxd.jobs import faults
from inboxd.jobs.faults import Again, Backoff, GiveUp, decide, of_status, retry_after

NOW = 1_800_000_000.0
EXPECTED = {
    408: ("timeout", True),
    425: ("throttled", True),
    429: ("throttled", True),
    501: ("server", False),
    505: ("server", False),
}


@pytest.mark.parametrize(
    "status", [100, 204, 301, 304, 400, 401, 403, 404, *EXPECTED, 409, 418, 500, 502, 503, 504, 599]
)
def test_each_status_has_its_kind_and_is_temporary_or_not(status: int) -> None:
    fault = of_status(status, {}, NOW)
    assert (fault.kind, fault.temporary) == EXPECTED.get(
        status, ("server", True) if status >= 500 else ("client", False)
    )
    assert fault.status == status
    assert str(status) in fault.message


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("3601", 3600.0),
        ("9" * 5000, 3600.0),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        (formatdate(NOW + 9e6, usegmt=True), 3600.0),
        ("Fri Jan 15 08:01:00 2027", 60.0),
        ("Friday, 15-Jan-27 08:01:00 GMT", 60.0),
        ("Fri, 15 Jan 2027 08:01:00 -0000", 60.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("Fri, 99 Foo 2027 08:01:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_every_form_and_capped(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.text())
def test_no_retry_after_raises(value: str) -> None:
    assert retry_after(value, NOW) is None or 0 <= (retry_after(value, NOW) or 0) <= faults.RETRY_AFTER_CAP


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_retry_after_is_kept_with_every_temporary_status(status: int) -> None:
    assert of_status(status, {"Retry-After": "5"}, NOW).retry_after == 5.0


def test_a_permanent_status_has_no_retry_after() -> None:
    assert of_status(404, {"Retry-After": "5"}, NOW).retry_after is None


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


def test_a_message_is_bounded_and_fits_into_json() -> None:
    fault = faults.Invalid("\ud800" + "x" * 1_000_000)
    assert len(fault.message) < 10_000
    assert fault.message.encode().startswith(b"\\ud800xxx")


@pytest.mark.parametrize("factor", [0.5, float("inf"), float("nan")])
def test_waits_never_shrink_and_stay_numbers(factor: float) -> None:
    with pytest.raises(ValueError, match="factor"):
        Backoff(factor=factor)
