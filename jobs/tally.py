"""What is counted of each API while its calls are made: plain numbers, read by whoever wants to show them.

The one rule: counting costs a call nothing that could be measured, so nothing is worked out before somebody asks. APIs
that nobody named are as many as jobs like to call; beyond a bound they are counted together.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from threading import Lock

# APIs that are counted by themselves, and what the others are called together.
MOST = 200
OTHERS = "others"
# Errors that are remembered.
LAST = 5
# What an attempt is called that ended well; all others go by their fault's kind.
OK = "ok"


class Tally:
    """The counts of one API since the start."""

    def __init__(self) -> None:
        self._lock = Lock()
        # Attempts by how they ended; answers by status; answers that the cache had a part in, by which.
        self.attempts: defaultdict[str, int] = defaultdict(int)
        self.answers: defaultdict[str, int] = defaultdict(int)
        self.cache: defaultdict[str, int] = defaultdict(int)
        # Tasks that a worker took, and how long they had waited for that beyond their own time, in seconds.
        self.taken = 0
        self.waited = 0.0

    def attempt(self, end: str) -> None:
        """Count an attempt: OK, or the kind of its fault. Any thread may."""
        with self._lock:
            self.attempts[end] += 1

    def answer(self, status: str, cache: str | None) -> None:
        """Count an answer. Any thread may."""
        with self._lock:
            self.answers[status] += 1
            if cache is not None:
                self.cache[cache] += 1

    def several(self, status: str, ends: Iterable[str], count: int) -> None:
        """Count as many answers of one status, if there is one, and the attempts of each. Any thread may."""
        with self._lock:
            if status:
                self.answers[status] += count
            for end in ends:
                self.attempts[end] += count

    def took(self, waited: float) -> None:
        """Count a task that a worker takes; for the queue, under its own lock."""
        self.taken += 1
        self.waited += max(waited, 0.0)


class Tallies:
    """The counts of all APIs, by name; they outlive the lanes, which are forgotten when idle."""

    def __init__(self, most: int = MOST) -> None:
        # What went wrong of late, as answers tell it.
        self.errors: deque[dict[str, str]] = deque(maxlen=LAST)
        self._most = most
        self._lock = Lock()
        self._by_name: dict[str, Tally] = {}

    def of(self, name: str) -> Tally:
        """Give the counts of an API; beyond the bound those of the others."""
        tally = self._by_name.get(name)
        if tally is None:
            with self._lock:
                name = name if len(self._by_name) < self._most else OTHERS
                tally = self._by_name.setdefault(name, Tally())
        return tally

    def all(self) -> dict[str, Tally]:
        """Give all of them by name, as a copy."""
        return dict(self._by_name)


class Histogram:
    """How often something took how long, in steps: `bounds` are their upper ends in seconds. For one thread."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        # The last one is for whatever took longer.
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds
