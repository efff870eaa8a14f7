"""Time, as something that is handed in: `Clock` is the real one, `FakeClock` stands still until a test moves it."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """Two times: `wall` stamps files and answers, `mono` measures waits and never jumps.

    `wall()` gives seconds since the epoch, `mono()` seconds since some fixed moment.
    """

    # The functions themselves: each job asks a dozen times.
    wall: Callable[[], float] = staticmethod(time.time)
    mono: Callable[[], float] = staticmethod(time.monotonic)


class FakeClock(Clock):
    """A clock for tests and simulations; both times move only by `advance`."""

    def __init__(self, wall: float = 1_800_000_000.0, mono: float = 1000.0) -> None:
        self._wall = wall
        self._mono = mono
        self.wall = lambda: self._wall
        self.mono = lambda: self._mono

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._wall += seconds
        self._mono += seconds
