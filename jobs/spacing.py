"""The rate of one named call, within that of its API: calls are kept apart, and who comes too early is sent away.

Asked before the API's own limiter, so that a call that may not go yet costs the others no permit. Each that is refused
is told a time of its own, and a backlog comes back one by one.
"""

from __future__ import annotations

import threading

from inboxd.jobs.units import Rate

# By so many seconds, and half a gap at most, a call may be late without the next ones being later for it.
LATE = 0.02


class Spacing:
    """Keeps the calls of one kind 1/rate apart."""

    def __init__(self, rate: Rate) -> None:
        self._gap = 1 / rate.per_second
        self._late = min(LATE, self._gap / 2)
        self._lock = threading.Lock()
        # From when on the next may go, and the first time that nobody was told yet.
        self._next = 0.0
        self._tail = 0.0

    def wait(self, now: float) -> float:
        """Give 0 to a call that may go now, or in how many seconds it had best ask again."""
        with self._lock:
            if now >= self._next:
                self._next = max(self._next, now - self._late) + self._gap
                return 0.0
            slot = max(self._tail, self._next)
            self._tail = slot + self._gap
            return slot - now
