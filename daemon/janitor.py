"""The janitor: goes round the folders in small steps, counts what lies there, and removes what is kept no longer.

The one rule: never in the way. A step looks at a bounded number of files, and only answers, failed jobs, dead letters,
stored answers and notes of keys are ever removed; what is hidden, or is no regular file, is left alone. How long
something has lain there is told by its ctime, which a rename sets too: a job that was dropped as an old file and fails
today is kept.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import inf
from stat import S_ISREG

from inboxd.daemon.folders import SHOWN, Entries
from inboxd.daemon.keep import Census, Cut, Keep, Keeps, Sieve
from inboxd.daemon.spool import Spool

log = logging.getLogger("inboxd.janitor")

# Files that one step looks at: some 10 ms.
STEP = 2000
# Seconds between the end of a round and the next.
PAUSE = 30.0
DAY = 86400.0
_FOR_EVER = Keep(age=0.0)
_OVER = object()


class Janitor:
    """One janitor for one spool. `keeps` may be replaced at any time; `sweep` is a step of the cache's own.

    `held` and `removed` say, by folder, how many files and bytes there were at the last round, and how many files went.
    """

    def __init__(
        self,
        spool: Spool,
        keeps: Keeps,
        sweep: Callable[[float, int], int] | None = None,
        since: Callable[[os.stat_result], float] = lambda status: status.st_ctime,
    ) -> None:
        self.keeps = keeps
        self.held: dict[str, tuple[int, int]] = {}
        self.removed: Counter[str] = Counter()
        self._spool = spool
        self._sweep = sweep
        self._since = since
        self._cuts: dict[str, Cut] = {}
        self._steps: Iterator[None] | None = None
        self._next_round = -inf
        self._told: float | None = None
        self._removed_before: Counter[str] = Counter()

    def turn(self, now: float) -> None:
        """Make one step at `now` (wall time); raises OSError, and then goes on with another round."""
        if self._sweep is not None:
            self.removed["cache"] += self._sweep(now, STEP)
        # A clock that was set back must not end the rounds.
        if self._steps is None and not now < self._next_round <= now + PAUSE:
            self._steps = self._round(now)
        if self._steps is not None and next(self._steps, _OVER) is _OVER:
            self._steps, self._next_round = None, now + PAUSE
        self._report(now)

    def _round(self, now: float) -> Iterator[None]:
        """Go round all folders, a step at a time."""
        for name, keep in self._folders():
            with suppress(FileNotFoundError), self._spool.entries(name) as entries:
                yield from self._look_into(name, keep, entries, now)

    def _folders(self) -> Iterator[tuple[str, Keep]]:
        kept = {"outbox": self.keeps.outbox, "failed": self.keeps.failed}
        for name in SHOWN:
            yield name, kept.get(name, _FOR_EVER)
        # What came first under a key is of use for as long as there may be an answer to it.
        yield "state/keys", self.keeps.outbox
        for queue in self._spool.queues():
            yield f"queues/{queue}/dead", self.keeps.dead

    def _look_into(self, name: str, keep: Keep, entries: Entries, now: float) -> Iterator[None]:
        census, sieve = Census(now), Sieve(keep, self._cuts.get(name, Cut()), now)
        for number, entry in enumerate(entries, 1):
            with suppress(FileNotFoundError):
                self._look_at(name, entry, census, sieve)
            if number % STEP == 0:
                yield
        self.held[name] = census.files, census.size
        self._cuts[name] = census.cut(keep)
        yield

    def _look_at(self, name: str, entry: os.DirEntry[str], census: Census, sieve: Sieve) -> None:
        status = entry.stat(follow_symlinks=False)
        if entry.name.startswith(".") or not S_ISREG(status.st_mode):
            return
        since = self._since(status)
        if sieve.takes(since, status.st_size):
            self._spool.disk.unlink(entry.path)
            self.removed[name] += 1
        else:
            census.saw(since, status.st_size)

    def _report(self, now: float) -> None:
        """Say once a day what there is and what went."""
        if self._told is None:
            self._told = now
        if now - self._told < DAY:
            return
        self._told = now
        fields: dict[str, object] = {name: files for name, (files, _) in self.held.items()}
        went = self.removed - self._removed_before
        fields |= {f"removed_{name}": count for name, count in went.items()}
        self._removed_before = Counter(self.removed)
        log.info("a day", extra={"fields": {**fields, "free_bytes": self._spool.free_bytes()}})
