"""How long what is done with is kept, and which of it goes first: the config's [keep], and the sums behind it.

A folder may hold millions of files, so a round through it remembers no names, only how many files of which age there
are, in steps of about a hundredth of their age. What one round finds out, the next one applies.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import inf, log2
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from inboxd.jobs.units import Duration, Size

# Steps for each doubling of the age.
FINE = 64
_MODEL = ConfigDict(extra="forbid", frozen=True, strict=True)
_Count = Annotated[int, Field(ge=0)]


class Keep(BaseModel):
    """How much of one folder is kept; 0 is for ever, or for any amount."""

    model_config = _MODEL

    age: Duration = 7 * 86400.0
    count: _Count = 0
    size: Size = 0


class Keeps(BaseModel):
    """What is kept of what is done with; the oldest goes first."""

    model_config = _MODEL

    outbox: Keep = Field(Keep(), description="answers and their bodies: by age, number of files, size of all")
    failed: Keep = Field(Keep(), description="the files of jobs that did not end well")
    dead: Keep = Field(Keep(), description="dead letters, for each queue")


@dataclass(frozen=True, slots=True)
class Cut:
    """Files from before `since` go; of those from before `some` as many as `files` and `size` say."""

    since: float = -inf
    some: float = -inf
    files: int = 0
    size: int = 0


class Census:
    """What one round through a folder has seen. Times are wall times, sizes bytes; `began` is when it began."""

    def __init__(self, began: float) -> None:
        self.files = 0
        self.size = 0
        self._began = began
        self._by_age: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])

    def saw(self, since: float, size: int) -> None:
        """Take note of a file that has lain there `since` then."""
        self.files += 1
        self.size += size
        step = self._by_age[int(log2(max(self._began - since, 0.0) + 1) * FINE)]
        step[0] += 1
        step[1] += size

    def cut(self, keep: Keep) -> Cut:
        """Say what has to go for the rest to be within bounds of number and size."""
        files, size = keep.count or inf, keep.size or inf
        for step in sorted(self._by_age):
            more, larger = self._by_age[step]
            if more > files or larger > size:
                # Not all of this step: among so nearly equal ages no order is kept.
                excess = more - files if more > files else 0, larger - size if larger > size else 0
                return Cut(self._time_of(step + 1), self._time_of(step), int(excess[0]), int(excess[1]))
            files -= more
            size -= larger
        return Cut()

    def _time_of(self, step: int) -> float:
        return self._began - (2 ** (step / FINE) - 1)


class Sieve:
    """Which files go, by what the round before found out."""

    def __init__(self, keep: Keep, cut: Cut, now: float) -> None:
        self._cut = cut
        self._too_old = now - keep.age if keep.age else -inf
        self._files, self._size = cut.files, cut.size

    def takes(self, since: float, size: int) -> bool:
        """Tell whether a file goes."""
        if since <= self._too_old or since <= self._cut.since:
            return True
        if since <= self._cut.some and (self._files > 0 or self._size > 0):
            self._files -= 1
            self._size -= size
            return True
        return False
