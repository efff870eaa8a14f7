"""The tasks that wait in one lane: until their time has come by when that is, then by priority and age.

The one rule: who is taken out of turn stays in a heap until coming to its top, for to look for somebody within costs
more than to pass over those who are gone. It has no lock; the queue's own guards it.
"""

from __future__ import annotations

import heapq

from inboxd.jobs.task import Task


class WaitingRoom:
    """As long as many wait, and true when anybody does."""

    def __init__(self) -> None:
        self._count = 0
        self._ready: list[tuple[int, int, Task]] = []
        self._later: list[tuple[float, int, Task]] = []

    def __len__(self) -> int:
        return self._count

    def add(self, task: Task, now: float) -> None:
        """Let a task wait until `task.due`, and from then on for its turn."""
        self._count += 1
        task.waiting = True
        if task.due <= now:
            heapq.heappush(self._ready, (-task.job.priority, task.seq, task))
        else:
            heapq.heappush(self._later, (task.due, task.seq, task))

    def due(self, now: float) -> float:
        """Say when the next task is due, `now` if one is; there must be one."""
        self._pass_over()
        return now if self._ready else self._later[0][0]

    def next(self, now: float) -> Task:
        """Take the next task out in its turn; one must be due."""
        while self._later and self._later[0][0] <= now:
            task = heapq.heappop(self._later)[2]
            heapq.heappush(self._ready, (-task.job.priority, task.seq, task))
        self._pass_over()
        task = heapq.heappop(self._ready)[2]
        self._leaves(task)
        return task

    def take_out(self, task: Task) -> bool:
        """Take one task out of its turn; False when it does not wait."""
        if not task.waiting:
            return False
        self._leaves(task)
        if not self._count:
            self._ready.clear()
            self._later.clear()
        return True

    def tasks(self) -> list[Task]:
        """Give all that wait, in no order."""
        return [entry[2] for entry in self._ready + self._later if entry[2].waiting]

    def clear(self) -> list[Task]:
        """Take all of them out."""
        tasks = self.tasks()
        for task in tasks:
            task.waiting = False
        self._ready.clear()
        self._later.clear()
        self._count = 0
        return tasks

    def _leaves(self, task: Task) -> None:
        task.waiting = False
        self._count -= 1

    def _pass_over(self) -> None:
        """Have nobody at the top of a heap who is gone."""
        while self._ready and not self._ready[0][2].waiting:
            heapq.heappop(self._ready)
        while self._later and not self._later[0][2].waiting:
            heapq.heappop(self._later)
