"""When the postbox is emptied: so that those who post side by side share one file and one flush.

Clients that keep posting wait for their answers together and come again together. So a group is given as long as it
needs to become as large as the one before, unless nobody else comes; whoever posts alone is never kept waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# Seconds in which nobody came, after which nobody is waited for; and how many such spans a group gets at most.
LULL = 0.001
LULLS = 10


class Collection:
    """Calls `empty` when it is time to; on the loop of those who post."""

    def __init__(self, empty: Callable[[], None]) -> None:
        self._empty = empty
        self._count = 0
        self._before = 1
        self._end: asyncio.Handle | None = None

    def posted(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take note that one more has posted."""
        self._count += 1
        if self._count == self._before:
            # Not at once: the turn may bring others.
            self._end_with(loop.call_soon(self._now))
        elif self._count == 1:
            self._end_with(loop.call_later(LULL, self._look, loop, 1, LULLS))

    def _look(self, loop: asyncio.AbstractEventLoop, seen: int, left: int) -> None:
        if self._count == seen or left == 1:
            self._now()
        else:
            self._end = loop.call_later(LULL, self._look, loop, self._count, left - 1)

    def _end_with(self, end: asyncio.Handle) -> None:
        if self._end is not None:
            self._end.cancel()
        self._end = end

    def _now(self) -> None:
        self._end = None
        self._before, self._count = self._count, 0
        self._empty()
