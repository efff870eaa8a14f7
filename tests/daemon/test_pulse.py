"""Who is stuck: whoever has something to do, and has not moved for longer than the patience."""

import pytest

from inboxd.daemon.pulse import PATIENCE, Pulse, Sign


def stuck_after(seconds: float, first: Sign, then: Sign | None, watchdog: float | None = 20.0) -> list[str]:
    """Tell who is stuck when `first` was seen and, so many seconds later, `then`."""
    pulse = Pulse(watchdog)
    assert pulse.stuck([first], 100.0) == []
    return pulse.stuck([then] if then else [], 100.0 + seconds)


@pytest.mark.parametrize(
    ("seconds", "first", "then", "stuck"),
    [
        (11, Sign("p", 1), Sign("p", 1), True),
        (9, Sign("p", 1), Sign("p", 1), False),
        (11, Sign("p", 1), Sign("p", 2), False),
        (11, Sign("p", 1), Sign("p", 1, idle=True), False),
        (11, Sign("p", 1, within=5.0), Sign("p", 1, within=5.0), False),
        (16, Sign("p", 1, within=5.0), Sign("p", 1, within=5.0), True),
        (11, Sign("p", 1), None, False),
        (11, Sign("p", 1), Sign("another", 1), False),
    ],
    ids=["still", "not yet", "moved", "idle", "in its right", "beyond its right", "ended", "somebody else"],
)
def test_who_stands_still_beyond_the_patience_is_stuck(
    seconds: float, first: Sign, then: Sign | None, stuck: bool
) -> None:
    assert bool(stuck_after(seconds, first, then)) is stuck


def test_it_says_who_and_for_how_long() -> None:
    assert stuck_after(75, Sign("the commit", 3), Sign("the commit", 3)) == ["the commit has not moved for 75 s"]


def test_without_a_watchdog_there_is_a_patience_of_our_own() -> None:
    assert stuck_after(PATIENCE - 1, Sign("p", 1), Sign("p", 1), None) == []
    assert stuck_after(PATIENCE + 1, Sign("p", 1), Sign("p", 1), None) != []


def test_the_time_counts_from_the_last_move_and_not_from_the_first_look() -> None:
    pulse = Pulse(20.0)
    for second in range(30):
        assert pulse.stuck([Sign("p", second // 8)], 100.0 + second) == []


def test_who_had_nothing_to_do_is_not_behind_when_there_is_something() -> None:
    pulse = Pulse(20.0)
    pulse.stuck([Sign("p", 1, idle=True)], 100.0)
    assert pulse.stuck([Sign("p", 1)], 109.0) == []
    assert pulse.stuck([Sign("p", 1, idle=True)], 115.0) == []
    assert pulse.stuck([Sign("p", 1)], 124.0) == []
