"""Who answers jobs gets more, who only gives them back gets none for a while."""

from inboxd.daemon.helpful import ALONE, TOLD_ENOUGH, Helpful


def gives_back(helpful: Helpful, count: int, now: float = 0.0) -> None:
    for _ in range(count):
        helpful.untouched(now)


def test_who_gives_all_back_is_asked_no_more_for_a_while() -> None:
    helpful = Helpful()
    gives_back(helpful, TOLD_ENOUGH)
    assert helpful.at(0.0)
    gives_back(helpful, 1)
    assert [helpful.at(now) for now in (0.0, ALONE - 0.1, ALONE)] == [False, False, True]


def test_who_answers_some_is_asked_on() -> None:
    helpful = Helpful()
    for _ in range(10):
        helpful.answered(TOLD_ENOUGH)
        gives_back(helpful, TOLD_ENOUGH)
    assert helpful.at(0.0)


def test_answers_of_long_ago_do_not_weigh_for_ever() -> None:
    helpful = Helpful()
    helpful.answered(100 * TOLD_ENOUGH)
    gives_back(helpful, 2 * TOLD_ENOUGH + 1)
    assert not helpful.at(0.0)
