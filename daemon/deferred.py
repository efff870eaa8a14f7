"""Who is due next: a bounded window on deferred/, where each file's mtime says when its time has come.

The folder is the truth and needs no index. It is read in slices, so that a million files never hold up the intake;
of what is read only the soonest are remembered, and when those are through the folder is read again.
"""

from __future__ import annotations

import heapq
import os
from collections import deque
from collections.abc import Callable
from math import inf
from queue import SimpleQueue

from inboxd.daemon import names
from inboxd.daemon.folders import Entries
from inboxd.daemon.spool import Spool

# Files that are remembered, and files that are looked at in one turn.
REMEMBERED = 10_000
SLICE = 2_000
# A file that somebody touched by hand is noticed after this time; the reading itself may take a
# fiftieth of all time at most.
REREAD = 60.0
SHARE_OF_TIME = 50


class Deferred:
    """The soonest of the deferred files. Times are wall times, as the files' are."""

    def __init__(self, spool: Spool, remembered: int = REMEMBERED) -> None:
        self._spool = spool
        self._remembered = remembered
        self._soonest: list[tuple[float, str]] = []
        self._notes: SimpleQueue[tuple[float, str]] = SimpleQueue()
        # Files that wait for room, by lane. Their mtime says when there should be some, after a restart for example.
        self._parked: dict[str, deque[str]] = {}
        self._parked_names: set[str] = set()
        # Beyond this time the folder may hold files that are not remembered.
        self._horizon = -inf
        self._reading: Entries | None = None
        self._began = 0.0
        self._read_again = -inf

    def note(self, filename: str, due: float) -> None:
        """Take note of a file that was put into the folder just now; any thread may."""
        self._notes.put((due, filename))

    def park(self, filename: str, lane: str) -> bool:
        """Take note of a file that waits only for room in a lane; False beyond the bound, where its mtime has to do."""
        if len(self._parked_names) >= self._remembered:
            return False
        self._parked.setdefault(lane, deque()).append(filename)
        self._parked_names.add(filename)
        return True

    def take_parked(self, room: Callable[[str], int]) -> list[str]:
        """Give the names of parked files for which there is room by now, the longest parked first."""
        taken: list[str] = []
        for lane, filenames in list(self._parked.items()):
            taken.extend(filenames.popleft() for _ in range(min(room(lane), len(filenames))))
            if not filenames:
                del self._parked[lane]
        self._parked_names.difference_update(taken)
        return taken

    def take_due(self, now: float, most: int) -> list[str]:
        """Give the names of up to `most` files whose time has come; reads on in the folder where need be."""
        if self._reading is None and (now >= self._read_again or self._is_through):
            self._reading = os.scandir(self._spool.deferred)
            self._began = now
            self._soonest, self._horizon = [], inf
        if self._reading is not None:
            self._read(self._reading, now)
        while not self._notes.empty():
            note = self._notes.get()
            if note[0] <= self._horizon or self._reading is not None:
                heapq.heappush(self._soonest, note)
        self._forget_latest()
        due: list[str] = []
        while self._soonest and self._soonest[0][0] <= now and len(due) < most:
            due.append(heapq.heappop(self._soonest)[1])
        return due

    @property
    def _is_through(self) -> bool:
        """Tell whether all that is remembered is taken, and there are others."""
        return not self._soonest and self._horizon < inf

    def next_due(self, now: float) -> float:
        """Say when to come again."""
        if self._reading is not None or self._is_through or not self._notes.empty():
            return now
        return min(self._read_again, self._soonest[0][0] if self._soonest else inf)

    def close(self) -> None:
        """Read no further."""
        if self._reading is not None:
            self._reading.close()

    def _read(self, entries: Entries, now: float) -> None:
        for _ in range(SLICE):
            entry = next(entries, None)
            if entry is None:
                self._reading = None
                self._read_again = now + max(REREAD, SHARE_OF_TIME * (now - self._began))
                return
            if names.parse(entry.name) is None or entry.name in self._parked_names:
                continue
            try:
                due = entry.stat(follow_symlinks=False).st_mtime
            except FileNotFoundError:
                continue
            if due <= self._horizon:
                heapq.heappush(self._soonest, (due, entry.name))

    def _forget_latest(self) -> None:
        """Keep to the bound, with some slack so that not every file costs a sort."""
        if len(self._soonest) > 2 * self._remembered:
            self._soonest = heapq.nsmallest(self._remembered, self._soonest)
            self._horizon = self._soonest[-1][0]
