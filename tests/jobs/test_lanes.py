"""The queue of lanes, driven without threads on a clock that stands still: room, turns, workers, expiry, the end."""

import threading
from contextlib import suppress
from functools import partial
from queue import Empty
from typing import Any

import pytest
from ratelimit import RateLimitException

from inboxd.jobs.clock import FakeClock
from inboxd.jobs.lane import Lane
from inboxd.jobs.lanes import LaneFull, LaneQueue
from inboxd.jobs.task import Errand, Task
from tests.jobskit import api, eventually, task


def queue_of(window: int = 0, workers: int = 16, **more: Any) -> tuple[LaneQueue, FakeClock]:
    clock = FakeClock()
    on_room = more.pop("on_room", lambda: None)

    def sent(_lane: Lane, _task: Task) -> None:
        return None

    return LaneQueue(
        lambda of: Lane(of, sent, clock), workers=workers, window=window, clock=clock, on_room=on_room
    ), clock


def take_all(queue: LaneQueue) -> list[Task]:
    taken = []
    while True:
        try:
            taken.append(queue.get(block=False))
        except Empty:
            return taken


def waiting(queue: LaneQueue, threads: int) -> bool:
    return len(queue.not_full._waiters) == threads  # type: ignore[attr-defined]  # to see them wait


@pytest.mark.parametrize("greedy", [1, 2, 5, 9])
def test_a_newcomer_finds_room_while_others_are_greedy(greedy: int) -> None:
    queue, _ = queue_of(window=100)
    for _ in range(200):
        for number in range(greedy):
            try:
                queue.put(task(api(f"greedy{number}")), block=False)
            except LaneFull:
                continue
    assert queue.lanes["greedy0"].held <= -(-100 // (1 + greedy)) + greedy
    queue.put(task(api("newcomer")), block=False)


def test_how_many_go_first_is_told_in_the_order_in_which_they_will() -> None:
    queue, _ = queue_of()
    tasks = [task(api("a"), priority=priority) for priority in (0, 0, 5, 0)]
    for number, one in enumerate(tasks):
        one.errand = Errand(token=f"token-{number}")
        queue.put(one)
    assert [queue.ahead("a", one.errand.token) for one in tasks] == [1, 2, 0, 3]
    assert queue.ahead("a", "another") == queue.ahead("b", "token-0") == 0


def test_ready_lanes_are_served_in_turn() -> None:
    queue, _ = queue_of(workers=1000)
    for number in range(30):
        queue.put(task(api("abc"[number // 10])))
    names = "".join(one.api.name for one in take_all(queue))
    assert sorted(names[:3]) == ["a", "b", "c"]
    assert names == names[:3] * 10


def test_one_lane_reaches_just_three_quarters_of_the_workers_and_others_still_go() -> None:
    for workers, most in ((22, 16), (11, 8), (4, 3), (2, 1), (1, 1)):
        queue, _ = queue_of(workers=workers)
        for _ in range(50):
            queue.put(task(api("slow")))
        slow = take_all(queue)
        assert len(slow) == most
        queue.put(task(api("other")))
        assert len(take_all(queue)) == (workers > most)


def test_more_workers_are_used_at_once() -> None:
    queue, _ = queue_of(workers=4)
    for _ in range(50):
        queue.put(task(api("slow")))
    assert len(take_all(queue)) == 3
    assert queue.employ(8) == [4, 5, 6, 7]
    assert len(take_all(queue)) == 3


def test_of_fewer_workers_each_leaves_when_it_asks_for_more_and_counts_until_then() -> None:
    queue, _ = queue_of(workers=8)
    for _ in range(50):
        queue.put(task(api("slow")))
    slow = take_all(queue)
    assert len(slow) == 6
    assert queue.employ(2) == []
    queue.put(task(api("other")))
    # Two of the eight are free, and who waits for a free one need not wait until six others have ended.
    assert queue.get(block=False, worker=0).api.name == "other"
    for worker, one in zip(range(2, 8), slow, strict=True):
        queue.returned(one, dismiss=True)
        with pytest.raises(Empty):
            queue.get(block=False, worker=worker)
    assert queue.get(block=False, worker=1).api.name == "slow"
    assert queue.employ(4) == [2, 3]


def test_a_worker_that_is_wanted_again_before_it_left_need_not_be_started() -> None:
    queue, _ = queue_of(workers=4)
    queue.put(task(api("a")))
    assert queue.employ(1) == []
    assert queue.employ(4) == []
    assert queue.get(block=False, worker=3).api.name == "a"


def test_a_lane_that_stood_back_is_served_when_a_worker_comes_back() -> None:
    queue, _ = queue_of(workers=4)
    for _ in range(4):
        queue.put(task(api("slow")))
    taken = take_all(queue)
    assert len(taken) == 3
    queue.returned(taken[0], dismiss=True)
    assert len(take_all(queue)) == 1


def test_a_lane_that_has_its_share_of_the_workers_gives_nobody_something_to_look_at() -> None:
    queue, _ = queue_of(workers=4)
    for _ in range(4):
        queue.put(task(api("slow")))
    taken = [queue.get(block=False) for _ in range(3)]
    assert not queue.overdue
    queue.put(task(api("slow")))
    assert not queue.overdue
    queue.returned(taken[0], dismiss=True)
    assert queue.overdue


def test_a_lane_whose_task_was_sent_elsewhere_goes_on() -> None:
    queue, _ = queue_of()
    one_at_a_time, other = api("a", concurrency=1), api("b")
    for _ in range(2):
        queue.put(task(one_at_a_time))
    first = queue.get(block=False)
    assert take_all(queue) == []
    queue.move(first, other)
    queue.returned(first, dismiss=True)
    assert [one.api.name for one in take_all(queue)] == ["a"]


def test_a_task_expires_also_when_its_first_call_was_under_way_then() -> None:
    queue, clock = queue_of()
    one = task(api(), expires=clock.mono() + 5)
    queue.put(one)
    queue.get(block=False)
    clock.advance(6)
    assert take_all(queue) == []
    one.due = clock.mono() + 1000
    queue.returned(one, dismiss=False)
    queue.again(one)
    assert take_all(queue) == [one]


def test_thousands_of_tasks_expire_in_no_time() -> None:
    queue, clock = queue_of()
    of = api()
    for _ in range(5000):
        queue.put(task(of, due=clock.mono() + 9, expires=clock.mono() + 1))
    clock.advance(1)
    for _ in range(5000):
        queue.returned(queue.get(block=False), dismiss=True)
    assert (queue.held, take_all(queue)) == (0, [])


def test_the_word_that_there_is_room_reaches_the_one_it_is_for() -> None:
    queue, _ = queue_of(window=4)
    a, b = api("a"), api("b")
    for of in (a, a, b):
        queue.put(task(of), block=False)
    mine = next(one for one in take_all(queue) if one.api is b)

    def put(one: Task) -> None:
        # The one that finds no room to the end is told so when the queue closes.
        with suppress(RuntimeError):
            queue.put(one)

    threads = [threading.Thread(target=put, args=(task(of),)) for of in (a, b)]
    for number, thread in enumerate(threads, 1):
        thread.start()
        assert eventually(partial(waiting, queue, number))
    queue.returned(mine, dismiss=True)
    threads[1].join(5)
    alive = [thread.is_alive() for thread in threads]
    queue.close()
    for thread in threads:
        thread.join(5)
    assert alive == [True, False]


def test_room_is_told_once_after_a_refusal_when_a_quarter_is_free() -> None:
    told: list[int] = []
    queue: LaneQueue
    queue, _ = queue_of(window=8, workers=99, on_room=lambda: told.append(queue.held))
    for _ in range(4):
        queue.put(task(api()), block=False)
    with pytest.raises(LaneFull) as full:
        queue.put(task(api()), block=False)
    assert (full.value.wait, full.value.drain) >= (0, 0)
    held = queue.held
    for one in take_all(queue):
        queue.returned(one, dismiss=True)
    assert told == [held * 3 // 4]


def test_a_closed_queue_serves_nobody_and_gives_back_what_waited() -> None:
    queue, _ = queue_of()
    tasks = [task(api()) for _ in range(3)]
    for one in tasks:
        queue.put(one)
    taken = queue.get(block=False)
    assert {*queue.close(), taken} == set(tasks)
    assert not queue.again(taken)
    assert queue.close() == []
    with pytest.raises(Empty):
        queue.get()
    with pytest.raises(RuntimeError):
        queue.put(task(api()))


def test_idle_lanes_are_forgotten_when_there_are_too_many() -> None:
    queue, _ = queue_of()
    for number in range(3000):
        queue.put(task(api(f"o{number}")))
        queue.returned(queue.get(block=False), dismiss=True)
    assert len(queue.lanes) <= 1001


def test_the_limiter_is_never_asked_in_vain_by_one_worker() -> None:
    queue, clock = queue_of()
    of = api(rate="100/s")
    for _ in range(300):
        queue.put(task(of))
    refused = 0
    for _ in range(4000):
        for one in take_all(queue):
            try:
                queue.lane(of).call(one)
            except RateLimitException:
                refused += 1
            queue.returned(one, dismiss=True)
        clock.advance(0.001)
    assert (refused, queue.held) == (0, 0)
