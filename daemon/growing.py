"""Whether a file in a folder may still be growing: whoever writes in place tells nobody when the last byte is there.

The one rule: a file is whole when it was renamed to where it is or when nobody has written to it for a while, and
until then nothing it lacks is held against it.
"""

from __future__ import annotations

import os
from math import inf
from typing import Final

# Seconds. A moment is asked about a little after it was taken: meanwhile files may have come that are younger than it.
_LAG: Final = 60.0


def whole_at(status: os.stat_result, now: float, quiet: float) -> float:
    """Give the time from which on a file counts as whole if nobody writes to it any more; -inf if it does now.

    All are in seconds since the epoch but `quiet`, for how long nobody may have written. Who copies a file may give
    it any mtime, so one in the future says nothing, and the ctime is asked; if that is far ahead as well, the clock
    has been set back, and the file does not wait for it.
    """
    written = status.st_mtime if status.st_mtime <= now else status.st_ctime
    return written + quiet if -_LAG < now - written < quiet else -inf


def grown(now: float, quiet: float) -> float:
    """Give an mtime for a file of our own that is whole before anybody may look for it."""
    return now - quiet - 1.0


class Renamed:
    """The files that were renamed in of late, and so are whole at once. One thread may note while another asks."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: dict[str, float] = {}

    def note(self, filename: str, now: float) -> None:
        """Remember a file that was renamed in a moment ago; beyond the bound all others are forgotten."""
        if len(self._seen) >= self._most:
            self._seen.clear()
        self._seen[filename] = now

    def holds(self, filename: str, status: os.stat_result) -> bool:
        """Tell whether this is a file that was renamed in, and that nobody has touched since."""
        # Another one of the same name would have come, or been written to, since then.
        return status.st_ctime <= self._seen.get(filename, -inf)
