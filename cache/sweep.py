"""Keeps the folder within its bounds, in steps so small that nobody waits for them.

A round goes through all files by name and stat alone, a few at each step. Files past their time go at once. The rest
are gathered in samples of up to a thousand; names are digests, so a sample is a fair choice of all, and the least
recently used part of it goes, as large a part as the whole is too large. A small store is one sample, so exact.
What goes wrong: a round lasts; what comes in meanwhile is counted by the next one.
"""

import os
from math import ceil
from stat import S_ISREG
from threading import Lock
from typing import NamedTuple

from inboxd.cache import files

FANS = [f"{number:02x}" for number in range(256)]
# Files that are judged together. Fewer, and their ages say less about all; more, and one step takes longer.
SAMPLE = 1000
# Too full, the store is brought a little below its bounds, or each put would be followed by a removal.
_ROOM = 0.9
# A round begins after so many seconds, or as soon as half of the room that the last one left may be taken.
PAUSE = 30.0
# Seconds after which nobody writes on a file any more.
_ABANDONED = 3600
# Disks give room in blocks; a small answer takes a whole one.
_BLOCK = 4096


class Held(NamedTuple):
    """How much there is, or may be."""

    entries: int
    size: int


class Seen(NamedTuple):
    """A file that a sample consists of: when it was last used, where it lies, and what it takes."""

    used: float
    path: str
    entries: int
    size: int


def overdue(name: str, used: float, until: float, now: float) -> bool:
    """Tell whether a file of ours may go for its times alone: last use, and until when it is of any use."""
    if files.LEFTOVER.fullmatch(name):
        # Shortly before its rename it has the times of the entry that it will be.
        return abs(now - used) > _ABANDONED
    # Used in the future: the clock was set back, and the entry is not to be trusted until it catches up.
    return until <= now or used > now + files.GRAIN


def surplus(held: Held, bounds: Held, sample: list[Seen]) -> list[Seen]:
    """Choose what has to go of a sample of all that is `held`, the least recently used first."""
    if held.entries <= bounds.entries and held.size <= bounds.size:
        return []
    entries = _share(sum(seen.entries for seen in sample), held.entries, bounds.entries)
    size = _share(sum(seen.size for seen in sample), held.size, bounds.size)
    going = []
    for seen in sorted(sample):
        if entries <= 0 and size <= 0:
            break
        going.append(seen)
        entries -= seen.entries
        size -= seen.size
    return going


def _share(sample: int, held: int, bound: int) -> int:
    """Say how much of a sample has to go, rounded up, or a store of a few large entries would never shrink."""
    return -(-sample * (held - ceil(bound * _ROOM)) // held) if held > bound else 0


class Sweeper:
    """Goes round one folder. `held` is what the last round left; every part of the next one is judged by that."""

    def __init__(self, folder: str, bounds: Held) -> None:
        self._folder = folder
        self._bounds = bounds
        self.held: Held | None = None
        self._lock = Lock()
        # When the last round ended, and what this process has put since it began, and before the one under way.
        self._ended = 0.0
        self._came = self._came_before = Held(0, 0)
        # The round under way: folders and names to come, and what was found in it.
        self._fans = FANS.copy()
        self._names: list[str] = []
        self._fan = ""
        self._found = Held(0, 0)
        self._sample: list[Seen] = []
        self._samples = 0

    def came(self, size: int) -> None:
        """Note that an entry with a body of `size` bytes was put. Two threads at once may count as one."""
        self._came = Held(self._came.entries + 1, self._came.size + size + _BLOCK)

    def _rests(self, now: float) -> bool:
        """Tell whether the next round has time."""
        if self.held is None or len(self._fans) < len(FANS) or not 0 <= now - self._ended < PAUSE:
            return False
        return (
            self.held.entries + 2 * self._came.entries < self._bounds.entries
            and self.held.size + 2 * self._came.size < self._bounds.size
        )

    def step(self, now: float, most: int) -> int:
        """Look at up to `most` files or folders; return how many files went. Two threads never do it at once."""
        if not self._lock.acquire(blocking=False):
            return 0
        try:
            if self._rests(now):
                return 0
            if len(self._fans) == len(FANS):
                self._came_before = self._came
            return self._step(now, most)
        finally:
            self._lock.release()

    def _step(self, now: float, most: int) -> int:
        removed = 0
        for _ in range(most):
            if self._names:
                removed += self._look(self._names.pop(), now)
            elif self._fans:
                self._fan = self._fans.pop()
                self._names = files.names(f"{self._folder}/{self._fan}")
            else:
                return removed + self._end_round(now)
        return removed

    def _end_round(self, now: float) -> int:
        # What fits into one sample is known exactly by now.
        removed = self._judge(self.held if self._samples else self._found)
        self.held, self._found = self._found, Held(0, 0)
        self._samples, self._fans = 0, FANS.copy()
        entries, size = self._came_before
        self._ended, self._came = now, Held(self._came.entries - entries, self._came.size - size)
        return removed

    def _look(self, name: str, now: float) -> int:
        """Remove one file or take it into the sample; return how many went."""
        entry = files.FILE.fullmatch(name)
        if not (entry or files.BODY.fullmatch(name) or files.LEFTOVER.fullmatch(name)):
            return 0
        path = f"{self._folder}/{self._fan}/{name}"
        try:
            status = os.lstat(path)
        except OSError:
            return 0
        if not S_ISREG(status.st_mode) or overdue(name, status.st_atime, status.st_mtime, now):
            return files.remove(path)
        seen = Seen(status.st_atime, path, int(bool(entry)), -(-status.st_size // _BLOCK) * _BLOCK)
        self._found = Held(self._found.entries + seen.entries, self._found.size + seen.size)
        self._sample.append(seen)
        if len(self._sample) < SAMPLE:
            return 0
        self._samples += 1
        return self._judge(self.held)

    def _judge(self, held: Held | None) -> int:
        """Remove what the sample has too much if `held` is what there is; return how many files went."""
        sample, self._sample = self._sample, []
        removed = 0
        for seen in surplus(held, self._bounds, sample) if held else ():
            if self._unused_since(seen) and files.remove(seen.path):
                removed += 1
                self._found = Held(self._found.entries - seen.entries, self._found.size - seen.size)
                # An entry goes as a whole.
                stem, ending = os.path.splitext(seen.path)
                removed += files.remove(stem + (".body" if ending == ".json" else ".json"))
        return removed

    @staticmethod
    def _unused_since(seen: Seen) -> bool:
        try:
            return os.lstat(seen.path).st_atime == seen.used
        except OSError:
            return False
