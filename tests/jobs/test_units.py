"""Amounts as people write them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from inboxd.jobs.units import LONGEST, RateLimit, duration, rate, size, statuses


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30.0),
        ("5m", 300.0),
        ("1.5h", 5400.0),
        (" 2 d ", 172800.0),
        ("1w", 604800.0),
        (0, 0.0),
        (2.5, 2.5),
        ("0s", 0.0),
        (LONGEST, LONGEST),
    ],
)
def test_a_duration_is_read_as_seconds(written: object, seconds: float) -> None:
    assert duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        "",
        "30",
        "s",
        "-5s",
        "5 minutes",
        "1e3s",
        "٣s",
        "9" * 400 + "s",
        "11w5",
        True,
        None,
        [],
        -1,
        float("nan"),
        float("inf"),
        10**400,
        LONGEST + 1,
        "3651d",
    ],
)
def test_what_is_no_duration_is_refused_by_a_sentence(written: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration(written)


@pytest.mark.parametrize(
    ("written", "per_second"),
    [("50/s", 50.0), ("1000/h", 1000 / 3600), ("1/10s", 0.1), ("0.5 / m", 0.5 / 60), ("2/d", 2 / 86400), (7, 7.0)],
)
def test_a_rate_is_read_as_calls_per_second(written: object, per_second: float) -> None:
    assert rate(written).per_second == pytest.approx(per_second)


@pytest.mark.parametrize(
    "written",
    ["50", "50/x", "0/s", "1/0s", "-1/s", 0, -1, True, None, float("inf"), float("nan"), 10**400, "9" * 16 + "/s"],
)
def test_what_is_no_rate_is_refused_by_a_sentence(written: object) -> None:
    with pytest.raises(ValueError, match='expected a rate such as "50/s"'):
        rate(written)


def test_a_rate_is_written_in_a_form_that_is_read_again() -> None:
    adapter = TypeAdapter(RateLimit)
    limit = adapter.validate_python("1000/h")
    assert adapter.validate_python(adapter.dump_python(limit)).per_second == pytest.approx(limit.per_second)


@pytest.mark.parametrize(
    ("written", "octets"),
    [("64 MiB", 64 << 20), ("1GB", 10**9), ("1.5 KiB", 1536), ("100", 100), ("7 b", 7), (0, 0), (10**30, 10**30)],
)
def test_a_size_is_read_as_bytes(written: object, octets: int) -> None:
    assert size(written) == octets


@pytest.mark.parametrize("written", ["", "MiB", "1 XB", "1 i", "-1", -1, 1.5, True, None, "9" * 400])
def test_what_is_no_size_is_refused_by_a_sentence(written: object) -> None:
    with pytest.raises(ValueError, match='expected a size such as "64 KiB"'):
        size(written)


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("200", {200}),
        ("200-204", {200, 201, 202, 203, 204}),
        (" 200 , 404-405 ", {200, 404, 405}),
        ("599-599", {599}),
    ],
)
def test_statuses_are_read_as_a_set(written: str, named: set[int]) -> None:
    assert statuses(written) == named


@pytest.mark.parametrize("written", ["", "2xx", "200-", "204-200", "600", "099", "200;201", "200,,201"])
def test_what_names_no_statuses_is_refused_by_a_sentence(written: str) -> None:
    with pytest.raises(ValueError, match="names no set of statuses"):
        statuses(written)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans()))
def test_no_amount_raises_anything_but_value_error(written: object) -> None:
    for read in (duration, rate, size, lambda value: statuses(str(value))):
        with suppress(ValueError):
            assert read(written) is not None
