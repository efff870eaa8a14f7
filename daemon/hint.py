"""Whether the inbox is to be looked into, and whether nobody but the clock said so.

Files that only the clock brought to light tell that the kernel's events do not come, as on network filesystems.
"""

from __future__ import annotations

import threading


class Hint:
    """Set by the watcher, by the clock, or by a scan that found so much that there may be more."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._clock_alone = False
        self._scan_by_clock = False
        # Files found without anybody's having told of them.
        self.found_by_clock = 0

    def is_set(self) -> bool:
        """Tell whether to look."""
        return self._event.is_set()

    def set(self) -> None:
        """Have the inbox looked into. Any thread may."""
        self._clock_alone = False
        self._event.set()

    def set_by_clock(self) -> None:
        """Have the inbox looked into, because it is time to."""
        if not self._event.is_set():
            self._clock_alone = True
            self._event.set()

    def take(self) -> None:
        """Begin to look: what comes to light from now on was brought by whoever set the hint."""
        self._event.clear()
        self._scan_by_clock, self._clock_alone = self._clock_alone, False

    def found(self) -> None:
        """Count a file."""
        self.found_by_clock += self._scan_by_clock
