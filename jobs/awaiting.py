"""Tasks whose answer another process is fetching just now: looked at again and again, without a worker for any of them.

A process cannot be told when another lets go of a lock, and a thread that waited for each would be too many. So one
thread looks every few milliseconds, and only while there is something to look for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from inboxd.cache.flight import Locks
from inboxd.jobs.clock import Clock
from inboxd.jobs.task import Task

# Seconds between two looks.
LOOK = 0.01


class Awaiting:
    """The tasks that wait for a lock of `locks`; `go` is called with each when it has it.

    A task waits as long as one attempt of its own may take, then it goes without: the other process may be stopped,
    or wait for an hour itself.
    """

    def __init__(self, locks: Locks, clock: Clock, go: Callable[[Task], None]) -> None:
        self._locks = locks
        self._clock = clock
        self._go = go
        self._lock = threading.Lock()
        self._waiting: list[tuple[Task, float]] = []
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def add(self, task: Task) -> None:
        """Let a task wait; after `stop` nobody does."""
        with self._lock:
            if not self._stopped.is_set():
                self._waiting.append((task, min(self._clock.mono() + task.timeout, task.expires)))
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="awaiting", daemon=True)
                    self._thread.start()
                return
        self._go(task)

    def turn(self) -> bool:
        """Look once for each task; False, and the thread's end, when none is left."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        now, still = self._clock.mono(), []
        for task, until in waiting:
            if now >= until or self._locks.take(task.cache_key or ""):
                self._go(task)
            else:
                still.append((task, until))
        with self._lock:
            self._waiting += still
            if not self._waiting:
                self._thread = None
            return bool(self._waiting)

    def _run(self) -> None:
        while not self._stopped.wait(LOOK) and self.turn():
            pass

    def stop(self) -> list[Task]:
        """Wait for nothing any more; gives the tasks that did."""
        self._stopped.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()
        with self._lock:
            waiting, self._waiting = self._waiting, []
        return [task for task, _ in waiting]
