"""Time, as something that is handed in: `Clock` is the real one, `FakeClock` stands still until a test moves it."""

from __future__ import annotations

import time


class Clock:
    """Two times: `wall` stamps files and answers, `mono` measures waits and never jumps."""

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def mono(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()


class FakeClock(Clock):
    """A clock for tests and simulations; both times move only by `advance`."""

    def __init__(self, wall: float = 1_800_000_000.0, mono: float = 1000.0) -> None:
        self._wall = wall
        self._mono = mono

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self._wall

    def mono(self) -> float:
        """Seconds since some fixed moment."""
        return self._mono

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._wall += seconds
        self._mono += seconds
