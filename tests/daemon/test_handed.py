"""Single jobs for other processes: who answers them gets more, who only gives them back gets none for a while."""

from collections import deque
from types import SimpleNamespace
from typing import Any

from inboxd.daemon.handed import ALONE, BUSY, TOLD_ENOUGH, Handed
from inboxd.daemon.names import Claim
from inboxd.daemon.ready import Back, Ready
from inboxd.jobs.clock import FakeClock
from inboxd.jobs.ids import uuid7


def handed(clock: FakeClock) -> Handed:
    """Make one whose jobs go nowhere."""
    none = SimpleNamespace(ended=lambda *_: (), put=lambda _: None)
    worker: Any = SimpleNamespace(clock=clock, wake=lambda: None, ties=none, outbox=none, spool=None)
    crew: Any = SimpleNamespace(on_log=None)
    return Handed(worker, crew, deque())


def give_back(one: Handed, count: int) -> None:
    for _ in range(count):
        token = uuid7()
        one.count += 1
        one.came_back(Claim("a", token, ".json"), Back(token, 0.0, [], 0))


def answer(one: Handed, count: int) -> None:
    for _ in range(count):
        token = uuid7()
        one.count += 1
        one.came([(Claim("a", token, ".json"), Ready(token, None, "done", b"", None))])


def test_who_gives_all_back_is_asked_no_more_for_a_while() -> None:
    one = handed(clock := FakeClock())
    give_back(one, TOLD_ENOUGH)
    assert one.helps(BUSY)
    give_back(one, 1)
    assert not one.helps(BUSY)
    clock.advance(ALONE - 0.1)
    assert not one.helps(BUSY)
    clock.advance(0.1)
    assert one.helps(BUSY)


def test_who_answers_some_is_asked_on() -> None:
    one = handed(FakeClock())
    for _ in range(10):
        answer(one, TOLD_ENOUGH)
        give_back(one, TOLD_ENOUGH)
    assert one.helps(BUSY)


def test_answers_of_long_ago_do_not_weigh_for_ever() -> None:
    one = handed(FakeClock())
    answer(one, 100 * TOLD_ENOUGH)
    give_back(one, 2 * TOLD_ENOUGH + 1)
    assert not one.helps(BUSY)
