"""How much of a mate each owner of jobs may hold."""

from typing import Any

from inboxd.daemon.link import MOST_JOBS, Link
from inboxd.daemon.ready import Asked, Back, Ready


class Somebody:
    def came(self, answers: list[tuple[Any, Ready]]) -> None:
        """Take answers."""

    def came_back(self, thing: Any, back: Back) -> None:
        """Take a job back."""


def mate() -> Link:
    one = Link(1, None, None, threads=8)  # type: ignore[arg-type]  # nobody speaks to it
    one.there = True
    return one


def fill(one: Link, owner: Somebody) -> int:
    """Give it jobs of an owner until there is no room for them; returns how many."""
    count = 0
    while one.room(owner):
        token = f"{id(owner)}:{count}"
        one.put(owner, None, Asked(token, "a", None, b"", [], 0))
        count += 1
    return count


def test_who_comes_first_leaves_half_to_the_others() -> None:
    one = mate()
    owners = [Somebody() for _ in range(4)]
    assert [fill(one, owner) for owner in owners] == [MOST_JOBS // 2, MOST_JOBS // 4, MOST_JOBS // 8, MOST_JOBS // 16]


def test_a_job_that_ended_makes_room_for_its_owner_again() -> None:
    one, owner = mate(), Somebody()
    fill(one, owner)
    for token in list(one.in_hand):
        assert one.off(token) == (owner, None)
    assert fill(one, owner) == MOST_JOBS // 2


def test_one_with_many_threads_may_hold_enough_to_keep_them_busy() -> None:
    one = Link(1, None, None, threads=200)  # type: ignore[arg-type]  # nobody speaks to it
    one.there = True
    assert fill(one, Somebody()) == 400


def test_one_that_leaves_or_is_not_there_yet_gets_nothing() -> None:
    leaving, coming = mate(), mate()
    leaving.leaving, coming.there = True, False
    assert leaving.room(Somebody()) == coming.room(Somebody()) == 0
