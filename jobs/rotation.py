"""Whose turn it is: the lanes that may have something to serve, those that sleep, and the tasks whose time runs out.

Only decides, from `now`; the LaneQueue asks it under its lock. Each lane that may call is served in its turn, so a lane
with a hundred thousand tasks and one with a single task wait for each other just as long.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from math import ceil, inf

from inboxd.jobs.lane import Lane
from inboxd.jobs.task import Task

# Of the workers, so that APIs that never answer cannot take them all. There are a third more workers than
# `threads`, so one API alone reaches just `threads` calls at a time, and the rest stands by for the others.
WORKER_SHARE = 3.0
# Ended tasks that may be remembered for their expiry beside those that are held.
ENDED = 1000


def workers_for(threads: int) -> int:
    """Say how many workers it takes so that one API can have `threads` calls at a time and others are served still."""
    return ceil(threads * (1 + 1 / WORKER_SHARE))


class Rotation:
    """The turns of all lanes among `workers` workers. `lane_of` gives the lane that a task is in now."""

    def __init__(self, workers: int, lane_of: Callable[[Task], Lane]) -> None:
        self.running = 0
        # Tasks handed out since the beginning.
        self.picked = 0
        self._lane_of = lane_of
        self.employ(workers)
        self._seq = 0
        # Lanes that may have something to serve; and those that sleep, by the time they wake.
        self._awake: deque[Lane] = deque()
        self._sleeping: list[tuple[float, int, Lane]] = []
        self._expiring: list[tuple[float, int, Task]] = []
        # Lanes that had to stand back because of their share of the workers.
        self._stood_back: list[Lane] = []

    def employ(self, workers: int) -> None:
        """Go on with so many workers."""
        self._workers = workers
        # Calls that one lane may have under way, however many workers are free.
        self._most = max(1, int(workers * WORKER_SHARE / (1 + WORKER_SHARE)))

    def __bool__(self) -> bool:
        """Tell whether there may be something to serve right now."""
        return bool(self._awake)

    def look_at(self, lane: Lane) -> None:
        """Have a lane looked at in its turn: something about it has changed."""
        if lane.waiting and not lane.in_rotation:
            lane.in_rotation = True
            # One that has its share would wake a worker for nothing.
            (self._stood_back if self._has_its_share(lane) else self._awake).append(lane)

    def _has_its_share(self, lane: Lane) -> bool:
        return lane.running >= min(self._most, WORKER_SHARE * (self._workers - self.running))

    def watch(self, task: Task) -> None:
        """Serve a task when it expires, if it still waits in a lane then."""
        if task.expires < inf and not task.watched:
            task.watched = True
            heapq.heappush(self._expiring, (task.expires, task.seq, task))

    def hurry(self, task: Task, now: float) -> None:
        """Serve a task at once if it waits, whatever its lane may do."""
        heapq.heappush(self._expiring, (now, task.seq, task))

    def pick(self, now: float) -> tuple[Task | None, float]:
        """Take the next task, if there is one; and say when the clock brings more."""
        return self._pick_expired(now) or self._pick_ready(now), self.wakes_at

    @property
    def wakes_at(self) -> float:
        """When the clock brings something to serve, if nothing else does before."""
        wakes_at = self._sleeping[0][0] if self._sleeping else inf
        return min(wakes_at, self._expiring[0][0] if self._expiring else inf)

    def overdue(self, now: float) -> bool:
        """Tell whether a free worker had something to look at by now."""
        return self.running < self._workers and (bool(self._awake) or self.wakes_at <= now)

    def _pick_expired(self, now: float) -> Task | None:
        while self._expiring and self._expiring[0][0] <= now:
            task = heapq.heappop(self._expiring)[2]
            task.watched = False
            if self._lane_of(task).take_out(task):
                self._note_picked()
                return task
        return None

    def _pick_ready(self, now: float) -> Task | None:
        while self._sleeping and self._sleeping[0][0] <= now:
            lane = heapq.heappop(self._sleeping)[2]
            lane.wakes_at = inf
            self.look_at(lane)
        for _ in range(len(self._awake)):
            lane = self._awake.popleft()
            if self._has_its_share(lane):
                self._stood_back.append(lane)
                continue
            lane.in_rotation = False
            opens_at = lane.opens_at(now)
            if opens_at <= now:
                taken = lane.take(now)
                self._note_picked()
                self.look_at(lane)
                return taken
            self._put_to_sleep(lane, opens_at)
        return None

    def _note_picked(self) -> None:
        self.running += 1
        self.picked += 1

    def _put_to_sleep(self, lane: Lane, until: float) -> None:
        if until < lane.wakes_at:
            lane.wakes_at = until
            self._seq += 1
            heapq.heappush(self._sleeping, (until, self._seq, lane))

    def returned(self, lane: Lane) -> None:
        """Note that a worker is free again; whoever stood back may have it."""
        self.running -= 1
        self.look_at(lane)
        self.look_again()

    def look_again(self) -> None:
        """Have those looked at that stood back because of their share of the workers."""
        self._awake.extend(self._stood_back)
        self._stood_back.clear()

    def forget_ended(self, held: int) -> None:
        """Forget tasks that ended before their time, which would otherwise be kept until then."""
        if len(self._expiring) > 2 * held + ENDED:
            self._expiring = [entry for entry in self._expiring if entry[2].held]
            heapq.heapify(self._expiring)
