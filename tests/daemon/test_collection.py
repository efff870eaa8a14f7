"""When the postbox is emptied: at once for whoever posts alone, and for many when as many have come as before."""

from collections.abc import Callable
from typing import Any

import pytest

from inboxd.daemon.collection import LULL, LULLS, Collection


class Called:
    """What a loop is to call, and when; it can be cancelled."""

    def __init__(self, at: float, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.at, self.function, self.arguments = at, function, arguments
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """As much of a loop as is needed; its time is ours."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting: list[Called] = []

    def call_soon(self, function: Callable[..., None], *arguments: Any) -> Called:
        return self.call_later(0.0, function, *arguments)

    def call_later(self, delay: float, function: Callable[..., None], *arguments: Any) -> Called:
        self.waiting.append(Called(self.now + delay, function, arguments))
        return self.waiting[-1]

    def turn(self, seconds: float = 0.0) -> None:
        """Let some time go by and call what is due then."""
        self.now += seconds
        due = [one for one in self.waiting if one.at <= self.now + 1e-9]
        self.waiting = [one for one in self.waiting if one not in due]
        for one in due:
            if not one.cancelled:
                one.function(*one.arguments)


class Box:
    """A postbox that counts what is in it, and remembers how much each collection took."""

    def __init__(self) -> None:
        self.loop, self.taken, self._inside = Loop(), list[int](), 0
        self._collection = Collection(self._empty)

    def _empty(self) -> None:
        self.taken.append(self._inside)
        self._inside = 0

    def post(self, count: int = 1) -> None:
        for _ in range(count):
            self._inside += 1
            self._collection.posted(self.loop)  # type: ignore[arg-type]  # as much of a loop as is needed


@pytest.fixture
def box() -> Box:
    return Box()


def test_who_posts_alone_does_not_wait(box: Box) -> None:
    for _ in range(3):
        box.post()
        box.loop.turn()
    assert box.taken == [1, 1, 1]


def test_all_that_one_turn_brings_goes_together(box: Box) -> None:
    box.post(64)
    box.loop.turn()
    assert box.taken == [64]


def test_those_who_came_together_are_waited_for_when_they_come_again(box: Box) -> None:
    box.post(64)
    box.loop.turn()
    for _ in range(4):
        box.post(15)
        box.loop.turn()
    assert box.taken == [64]
    box.post(4)
    box.loop.turn()
    assert box.taken == [64, 64]


def test_nobody_is_waited_for_who_does_not_come(box: Box) -> None:
    box.post(64)
    box.loop.turn()
    box.post()
    box.loop.turn(LULL)
    box.post()
    box.loop.turn()
    assert box.taken == [64, 1, 1]


def test_a_stream_of_single_posts_is_not_held_back_for_long(box: Box) -> None:
    box.post(1000)
    box.loop.turn()
    for _ in range(2 * LULLS):
        box.post()
        box.loop.turn(LULL / 2)
    assert box.taken == [1000, 2 * LULLS]


def test_a_wait_that_is_over_empties_nothing_later(box: Box) -> None:
    box.post(2)
    box.loop.turn()
    box.post(2)
    box.loop.turn()
    box.loop.turn(LULL)
    assert box.taken == [2, 2]
    assert box.loop.waiting == []
