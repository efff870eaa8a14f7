"""The cache between the jobs that come in and the calls that are made: hits are answered, equal calls made once.

A hit takes no permit, no attempt and no worker. Of equal tasks that miss, in this process and in others on the same
folder, one leads and calls; the others share its answer if it is good, or else try themselves, one by one.
What goes wrong: a leader that never lands. So whoever ends a task that leads, in whatever way, lands it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

from inboxd.cache.flight import Flight, Locks
from inboxd.cache.store import Store
from inboxd.jobs.awaiting import Awaiting
from inboxd.jobs.clock import Clock
from inboxd.jobs.known import Known
from inboxd.jobs.lanes import LaneQueue
from inboxd.jobs.result import Answer, CacheUse, Response
from inboxd.jobs.task import Task


class Caching:
    """The store (or its folder) and the flights of one client; with none, nothing is ever known.

    Tasks that come to `enter` have a place in `queue`, and no worker holds them; `call` sets one to work.
    Bodies of more than `inline` bytes go into a file, if the errand has one for them.
    `uses` counts the answers by what the cache did for them.
    """

    def __init__(
        self,
        cache: str | Path | Store | None,
        clock: Clock,
        queue: LaneQueue,
        *,
        inline: int,
        call: Callable[[Task], None],
    ) -> None:
        self.store = store = cache if isinstance(cache, Store | None) else Store(cache)
        self.uses: Counter[CacheUse] = Counter()
        self._counting = Lock()
        self._call = call
        self._clock = clock
        self._queue = queue
        if store is not None:
            self._known = Known(store, clock, inline)
            self._flight: Flight[Task] = Flight()
            self._locks = Locks(store.folder)
            self._awaiting = Awaiting(self._locks, clock, self._go)

    def recall(self, task: Task) -> Answer | None:
        """Give the known answer to a task that asks for the cache; None: it has to `enter`, or to call without."""
        rule = task.job.cache
        if self.store is None or rule is None or not self._known.identify(task, rule):
            task.cache_use = "off"
            self._count("off")
            return None
        answer = self._known.fresh(task, "hit")
        if answer is not None:
            self._count("hit")
        return answer

    def enter(self, task: Task) -> None:
        """Let a task call if it leads; if not, it will be told by the one that does."""
        key = task.cache_key or ""
        if self._flight.join(key, task):
            task.leads = True
            if self._locks.take(key):
                self._go(task)
            else:
                self._awaiting.add(task)

    def _go(self, task: Task) -> None:
        """Let a leader call, unless whoever led before has left an answer meanwhile."""
        answer = self._known.fresh(task, "shared")
        if answer is None:
            task.cache_use = "miss"
            if task.known is not None and self._queue.lane(task.api).rests(self._clock.mono()):
                # The API has failed already, and is left in peace.
                answer = self._known.stale(task)
        if answer is None:
            self._known.ask(task)
            self._call(task)
        else:
            self.land(task, answer)
            self._end(task, answer)

    def stale(self, task: Task) -> Answer | None:
        """Give the old answer to a task whose call failed, if there is one that may be used."""
        return None if task.known is None else self._known.stale(task)

    def renewed(self, task: Task, response: Response) -> Answer | None:
        """Give the answer to a task that was told that the old one still holds; None if that is gone."""
        return self._known.renewed(task, response)

    def land(self, task: Task, answer: Answer | None) -> None:
        """Store what a leader's call brought, and let those go on that waited for it; None: it gave up."""
        key = task.cache_key or ""
        task.leads = False
        if answer is not None:
            self._count(task.cache_use or "miss")
            if task.cache_use == "miss":
                self._known.keep(task, answer)
        self._locks.let_go(key)
        for follower in self._flight.land(key):
            shared = self._share(task, follower, answer)
            if shared is None:
                # A failure is shared only as its own answer.
                self.enter(follower)
            else:
                self._count(shared.cache or "shared")
                self._end(follower, shared)

    def _share(self, leader: Task, follower: Task, answer: Answer | None) -> Answer | None:
        if answer is not None and answer.cache == "stale":
            return self._known.fresh(follower, "shared") or self._known.stale(follower)
        response = answer.response if answer is not None and answer.ok else None
        if response is None or response.side is not None:
            return self._known.fresh(follower, "shared")
        return self._known.shared(leader, follower, response)

    def _end(self, task: Task, answer: Answer) -> None:
        task.resolve(answer)
        self._queue.dismiss(task)

    def _count(self, use: CacheUse) -> None:
        with self._counting:
            self.uses[use] += 1

    def state(self) -> dict[str, Any]:
        """Give what the cache did for answers so far, and how many entries and bytes it holds, once that is known."""
        held = self.store.held if self.store is not None else None
        return {"uses": dict(self.uses), **(held._asdict() if held is not None else {})}

    def sweep(self, now: float, most: int) -> int:
        """Make one small step of housekeeping, over at most `most` files; gives how many went."""
        return 0 if self.store is None else self.store.sweep(now, most)

    # -- the end ----------------------------------------------------------------------------------------------

    def stop(self) -> list[Task]:
        """Wait for no other process any more; gives the tasks that did."""
        return [] if self.store is None else self._awaiting.stop()

    def close(self) -> None:
        """Let other processes have all that is left of our lead."""
        if self.store is not None:
            self._locks.close()
