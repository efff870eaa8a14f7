"""What is kept and what goes: by age, by number, by size, the oldest first."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inboxd.daemon.keep import Census, Cut, Keep, Sieve

NOW = 1_800_000_000.0
HOUR = 3600.0


def rounds(ages: list[float], keep: Keep, number: int = 2, size: int = 10) -> list[float]:
    """Give the ages that are left after some rounds at one moment, in the order in which a folder has them."""
    cut = Cut()
    for _ in range(number):
        census, sieve = Census(NOW), Sieve(keep, cut, NOW)
        ages = [age for age in ages if not sieve.takes(NOW - age, size)]
        for age in ages:
            census.saw(NOW - age, size)
        cut = census.cut(keep)
    return ages


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (Keep(), [1, 24, 100]),
        (Keep(age=50 * HOUR), [1, 24]),
        (Keep(age=0.0), [1, 24, 100, 200]),
        (Keep(age=0.0, count=2), [1, 24]),
        (Keep(age=0.0, count=4), [1, 24, 100, 200]),
        (Keep(age=0.0, size=35), [1, 24, 100]),
        (Keep(age=0.0, size=30), [1, 24, 100]),
        (Keep(age=50 * HOUR, count=1), [1]),
        (Keep(age=0.0, count=3, size=10), [1]),
    ],
)
def test_the_oldest_goes_first(keep: Keep, left: list[int]) -> None:
    ages = [24.0, 200.0, 1.0, 100.0]
    assert sorted(age / HOUR for age in rounds([age * HOUR for age in ages], keep)) == left


def test_of_equal_ages_only_as_many_go_as_must() -> None:
    assert len(rounds([HOUR] * 100, Keep(count=40))) == 40
    assert len(rounds([HOUR] * 100, Keep(size=405))) == 40


@given(
    st.lists(st.floats(0, 10 * 86400), max_size=200),
    st.integers(0, 50),
    st.integers(0, 500),
    st.just(0.0) | st.floats(1, 20 * 86400),
)
def test_bounds_hold_and_no_younger_file_goes_for_a_much_older_one(
    ages: list[float], count: int, size: int, age: float
) -> None:
    keep = Keep(age=age, count=count, size=size)
    # The last file at the bound of size is removed whole, hence a round more.
    left = rounds(ages, keep, 3)
    assert not count or len(left) <= count
    assert not size or 10 * len(left) <= size
    assert all(one < age for one in left) or not age
    if not count and not size:
        assert sorted(left) == sorted(one for one in ages if not age or one < age)
    gone = list(ages)
    for one in left:
        gone.remove(one)
    too_old = age or inf
    youngest_gone = min((one for one in gone if one < too_old), default=inf)
    assert all(one <= (youngest_gone + 1) * 1.02 for one in left)


def test_a_file_from_the_future_is_young() -> None:
    assert rounds([-HOUR, HOUR], Keep(count=1)) == [-HOUR]
