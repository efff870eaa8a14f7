"""`LaneQueue`: a `queue.Queue` that is fair among lanes, aware of time, and never full for a newcomer.

`get` gives the next task that may be called right now, each lane in its turn. A lane that may not call (its limit is
reached, it rests, its share of the threads is used) is not served, and everybody else goes on.
`put` refuses a task whose lane holds its share of the window; the folder is the queue, memory only a window on it.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from math import inf
from typing import Any

from inboxd.jobs.api import Api
from inboxd.jobs.clock import Clock
from inboxd.jobs.lane import Lane
from inboxd.jobs.rotation import Rotation
from inboxd.jobs.tally import Tallies
from inboxd.jobs.task import Task

log = logging.getLogger("inboxd.jobs")

# Dynamic thresholds (Choudhury and Hahne, 1998): who shares a room may hold `share` times as much of it as is left
# free. One greedy lane stops at share/(1+share) of it, two at share/(1+2*share) each; something is always free.
FILE_SHARE = 1.0
# Lines of a batch are read as fast as there is room; they leave some to single files of the same API.
BATCH_SHARE = 0.5
# Idle lanes above this number are forgotten; jobs choose the origins they call, and so the number of lanes.
KNOWN_LANES = 1000
# A thread cannot wait for centuries, which a job's not_before may well be away; so it looks up once an hour.
LONGEST_WAIT = 3600.0


def is_of(task: Task, token: str) -> bool:
    """Tell whether a task is that of a token, or of one of its lines."""
    return task.errand.token.partition(":")[0] == token


class LaneFull(queue.Full):
    """No room: the lane holds its share.

    `lane` is its name. `wait` says in how many seconds there will be room for this task, `drain` in how many all that
    the lane holds will be through.
    """

    def __init__(self, lane: str, wait: float, drain: float) -> None:
        super().__init__(f"no room for {wait:.3f} s")
        self.lane = lane
        self.wait = wait
        self.drain = drain


class Closed(RuntimeError):
    """Nobody is served any more."""

    def __init__(self) -> None:
        super().__init__("the queue is closed")


class LaneQueue(queue.Queue[Task]):
    """The window: at most `window` tasks (0: no bound), served by `workers` threads, which are numbered from 0.

    `new_lane` makes the lane of an API. `on_room` is called, from a worker, when after a refusal a good part of the
    window has become free.
    """

    def __init__(
        self, new_lane: Callable[[Api], Lane], *, workers: int, window: int, clock: Clock, on_room: Callable[[], None]
    ) -> None:
        super().__init__(window)
        self.lanes: dict[str, Lane] = {}
        self.held = 0
        self.tallies = Tallies()
        self._paused: AbstractSet[str] = frozenset()
        self._new_lane = new_lane
        self._clock = clock
        self._on_room = on_room
        self._call_at: int | None = None
        self._seq = 0
        self._closed = False
        self.workers = workers
        # The numbers of those that serve; with fewer wanted than before, one leaves when it next asks for a task.
        self._present = set(range(workers))
        self._rotation = Rotation(workers, lambda task: self._lane(task.api))
        # Until when idle workers watch the clock. One is enough, or each tick would wake them all.
        self._watches: list[float] = []

    # -- coming in ----------------------------------------------------------------------------------------

    def put(self, item: Task, block: bool = True, timeout: float | None = None, *, share: float = FILE_SHARE) -> None:
        """Take a task in; raises `Closed`, and `LaneFull` where there is no room, after waiting for some if `block`."""
        with self.mutex:
            self._admit(item, block=block, timeout=timeout, share=share)
            if self._closed:
                raise Closed
            self._line_up(item)

    def admit(self, task: Task, *, block: bool = True, timeout: float | None = None, share: float = FILE_SHARE) -> None:
        """Give a task its place in the window; `again` lines it up there, `dismiss` gives the place back."""
        with self.mutex:
            self._admit(task, block=block, timeout=timeout, share=share)

    def _admit(self, task: Task, *, block: bool, timeout: float | None, share: float) -> None:
        deadline = inf if timeout is None else self._clock.mono() + timeout
        while not self._has_room(lane := self._lane(task.api), share):
            now = self._clock.mono()
            if not block or now >= deadline:
                self._call_at = self.held * 3 // 4
                raise LaneFull(lane.name, lane.spread(now), lane.drains_in(now))
            self.not_full.wait(min(deadline - now, LONGEST_WAIT))
        lane.admit(self._clock.mono())
        self.held += 1
        task.held = True
        self._seq += 1
        task.seq = self._seq

    def _has_room(self, lane: Lane, share: float) -> bool:
        return self._closed or not self.maxsize or lane.held < share * (self.maxsize - self.held)

    def room(self, name: str) -> int:
        """Say how many more tasks the lane of that name may hold; `on_room` tells when it is a good deal more."""
        with self.mutex:
            self._call_at = self.held * 3 // 4
            lane = self.lanes.get(name)
            free = self.maxsize - self.held
            # Each task that comes in takes one from the free places and adds one to the lane's.
            return max(0, (free - lane.held + 1) // 2 if lane else free // 2)

    def again(self, task: Task) -> bool:
        """Line up a task that has its place in the window, to be served from `task.due` on; False when closed."""
        with self.mutex:
            if self._closed:
                return False
            self._line_up(task)
            return True

    def _line_up(self, task: Task) -> None:
        lane = self._lane(task.api)
        lane.add(task)
        self._rotation.watch(task)
        self._rotation.look_at(lane)
        self._wake_one()

    def _lane(self, api: Api) -> Lane:
        lane = self.lanes.get(api.name)
        if lane is None:
            if len(self.lanes) >= KNOWN_LANES:
                self.lanes = {name: one for name, one in self.lanes.items() if not one.idle or one.in_rotation}
            lane = self.lanes[api.name] = self._new_lane(api)
            lane.tally = self.tallies.of(api.name)
            lane.paused = api.name in self._paused
        return lane

    def lane(self, api: Api) -> Lane:
        """Give the lane of an API."""
        with self.mutex:
            return self._lane(api)

    # -- going out ----------------------------------------------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None, *, worker: int = 0) -> Task:
        """Wait for the next task that may be called, or that has expired.

        Raises `queue.Empty` when closed or late, and when `worker` is not wanted any more.
        """
        deadline = inf if timeout is None else self._clock.mono() + timeout
        with self.mutex:
            while not self._closed:
                if worker >= self.workers:
                    self._leave(worker)
                    break
                now = self._clock.mono()
                task, wakes_at = self._rotation.pick(now)
                if task is not None:
                    self._wake_one()
                    return task
                if not block or now >= deadline:
                    break
                self._wait(min(wakes_at, deadline), now)
            raise queue.Empty

    def _wake_one(self) -> None:
        """Wake a worker when there may be more to do, or nobody watches the clock for what comes next."""
        if self._rotation or self._rotation.wakes_at < min(self._watches, default=inf):
            self.not_empty.notify()

    def _wait(self, until: float, now: float) -> None:
        if until == inf or (self._watches and until >= min(self._watches)):
            self.not_empty.wait()
            return
        self._watches.append(until)
        self.not_empty.wait(min(until - now, LONGEST_WAIT))
        self._watches.remove(until)

    def _leave(self, worker: int) -> None:
        self._present.discard(worker)
        self._rotation.employ(len(self._present))
        # What it was woken for, or the clock that it watched, is somebody else's now.
        self.not_empty.notify()

    def employ(self, workers: int) -> list[int]:
        """Go on with so many workers; gives the numbers of those that are missing, which the caller is to start.

        Of those that are too many, each ends what it does and leaves; until then it counts as one more.
        """
        with self.mutex:
            missing = [number for number in range(workers) if number not in self._present]
            self.workers = workers
            self._present.update(missing)
            self._rotation.employ(len(self._present))
            self._rotation.look_again()
            self.not_empty.notify_all()
            return missing

    def returned(self, task: Task, *, dismiss: bool) -> None:
        """Take note that a worker is through with a task, and, if `dismiss`, that its place is free."""
        with self.mutex:
            lane = self._lane(task.api)
            lane.returned(task)
            # The worker is on its way to `get`, so nobody needs to be woken for what may go on now.
            self._rotation.returned(lane)
            if dismiss:
                self._dismiss(task)
        if dismiss:
            self._tell_room()

    def dismiss(self, task: Task) -> None:
        """Give back the place of a task that does not wait in its lane."""
        with self.mutex:
            self._dismiss(task)
        self._tell_room()

    def _dismiss(self, task: Task) -> None:
        self._lane(task.api).dismiss(self._clock.mono())
        self.held -= 1
        task.held = False
        self._rotation.forget_ended(self.held)
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        # All of them: each waits for room in a lane of its own, and a word to the wrong one would be lost.
        self.not_full.notify_all()
        if not self.held:
            self.all_tasks_done.notify_all()

    def _tell_room(self) -> None:
        if self._call_at is not None and self.held <= self._call_at:
            self._call_at = None
            try:
                self._on_room()
            except Exception:  # the worker goes on, whatever its owner's call does
                log.exception("telling of room failed")

    def move(self, task: Task, api: Api) -> None:
        """Let a task that a worker holds go over to the lane of another API: its server sent it there."""
        with self.mutex:
            now = self._clock.mono()
            old, new = self._lane(task.api), self._lane(api)
            old.returned(task)
            old.dismiss(now)
            task.api = api
            new.admit(now)
            new.running += 1
            self._rotation.look_at(old)
            self._tell_waiting()

    def drain(self, api: Api) -> list[Task]:
        """Take all waiting tasks out of the lane of an API; their places in the window are still theirs."""
        with self.mutex:
            return self._lane(api).waiting.clear()

    def close(self) -> list[Task]:
        """Serve nobody any more; gives all tasks that were still waiting."""
        with self.mutex:
            self._closed = True
            waiting = [task for lane in self.lanes.values() for task in lane.waiting.clear()]
            self.not_empty.notify_all()
            self.not_full.notify_all()
            self.all_tasks_done.notify_all()
            return waiting

    def change(self, find: Callable[[str], Api | None]) -> None:
        """Give each lane the definition that `find` has for its name now."""
        with self.mutex:
            for lane in self.lanes.values():
                api = find(lane.name)
                if api is not None and api != lane.api:
                    lane.change(api, self._clock.mono())
                    self._rotation.look_at(lane)
            self.not_empty.notify()

    def pause(self, names: AbstractSet[str]) -> None:
        """Make no calls to the APIs of these names until they are no longer among them; calls under way end."""
        with self.mutex:
            self._paused = names
            for lane in self.lanes.values():
                lane.paused = lane.name in names
                self._rotation.look_at(lane)
            self.not_empty.notify()

    def put_down(self, token: str, wait: float) -> int:
        """Have the waiting tasks of a token, a batch's lines too, postponed by `wait` seconds; says how many.

        The wait has to be longer than their owner's patience, or they will wait that long in memory.
        """
        with self.mutex:
            found = [task for lane in self.lanes.values() for task in lane.waiting.tasks() if is_of(task, token)]
            for task in found:
                task.put_down = wait
                self._rotation.hurry(task, self._clock.mono())
            self.not_empty.notify_all()
            return len(found)

    def ahead(self, name: str, token: str) -> int:
        """Say how many of a lane's waiting tasks will be taken before that of a token, as things stand."""
        with self.mutex:
            tasks = self.lanes[name].waiting.tasks() if name in self.lanes else []
            order = {task.errand.token: (-task.job.priority, task.seq) for task in tasks}
            return sum(before < order[token] for before in order.values()) if token in order else 0

    def wait_until_empty(self) -> None:
        """Wait until no task is held any more, or the queue is closed."""
        with self.mutex:
            while self.held and not self._closed:
                self.all_tasks_done.wait()

    @property
    def running(self) -> int:
        """Tasks that workers hold."""
        return self._rotation.running

    @property
    def taken(self) -> int:
        """How often a worker has taken a task."""
        return self._rotation.picked

    @property
    def overdue(self) -> bool:
        """Tell whether there is something to look at and a worker free to do so; for an instant there often is."""
        with self.mutex:
            return not self._closed and self._rotation.overdue(self._clock.mono())

    def _qsize(self) -> int:
        # How much of the window is taken: `qsize`, `empty` and `full` ask here.
        return self.held

    def states(self) -> dict[str, dict[str, Any]]:
        """Give the state of each lane that is not idle, by its API's name."""
        with self.mutex:
            now = self._clock.mono()
            return {name: lane.state(now) for name, lane in self.lanes.items() if not lane.idle}

    def __repr__(self) -> str:
        return f"<LaneQueue held={self.held} running={self._rotation.running} lanes={len(self.lanes)}>"
