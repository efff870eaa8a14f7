"""The open batches, and the arrays that are on their way to become one.

An array of any size is brought to lines a little in each turn, so that nothing else waits for it. Until its last
element is through, the array itself lies in active/; a crash only means to begin anew.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import Future
from math import inf
from typing import Any, BinaryIO

from inboxd.daemon.batch import Batch
from inboxd.daemon.growing import grown
from inboxd.daemon.lines import of_array
from inboxd.daemon.names import Claim, is_posted
from inboxd.daemon.posted import Posted, Taken
from inboxd.daemon.settlement import LINES
from inboxd.daemon.spool import Spool, Unfit
from inboxd.daemon.worker import Worker
from inboxd.jobs.faults import Invalid

log = logging.getLogger("inboxd.intake")

# Batches that are read at a time, and that are open, most of which may only wait for the time of some lines; more of
# them wait in deferred/. Each costs a file handle.
READING = 100
OPEN = 2000
# Before it is looked again whether the lines under way of a batch that is to be put aside have ended.
HOLD_LOOK = 0.1
# Bytes of an array that are brought to lines in one turn, and synced: some milliseconds.
PORTION = 256 * 1024


class Array:
    """One array of jobs on its way to become a batch."""

    def __init__(self, spool: Spool, claim: Claim, limit: int) -> None:
        self.claim = claim
        self._spool = spool
        self._limit = limit
        self._file: BinaryIO | None = None
        self._lines: Iterator[bytes] = iter(())

    def turn(self, whole: float) -> Claim | None:
        """Bring the next elements over; gives the batch when there are no more, with an mtime of `whole`.

        Raises Invalid, Unfit and OSError; after an error the next turn begins anew.
        """
        try:
            if self._file is None:
                self._file = self._spool.open(self.claim)
                self._lines = of_array(self._file, self._limit)
                self._spool.stage_lines(self.claim, LINES, ())
            lines, more = _portion(self._lines)
            path = self._spool.staging(self.claim.token, LINES)
            self._spool.disk.append(path, lines)
            if not more:
                self._spool.disk.set_mtime(path, whole)
            batch = None if more else self._spool.to_batch(self.claim, LINES)
        except BaseException:
            self.close()
            raise
        if batch is not None:
            self._file.close()
        return batch

    def close(self) -> None:
        """Leave the array as it was."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._spool.unstage(self.claim.token, LINES)


def _portion(lines: Iterator[bytes]) -> tuple[bytes, bool]:
    portion = bytearray()
    for line in lines:
        portion += line
        if len(portion) >= PORTION:
            return bytes(portion), True
    return bytes(portion), False


class Batches:
    """All batches that are under way, on the intake's thread."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._spool = worker.spool
        self._open: list[Batch] = []
        self._arrays: list[Array] = []
        # Tokens of batches to be put aside: they begin no line, and go to hold/ when those under way have ended.
        self.unwanted: AbstractSet[str] = frozenset()
        # Of each lane without room, a batch of posted jobs that waits for some.
        self._stuck: dict[str, Posted] = {}

    @property
    def full(self) -> bool:
        """Tell whether no more can be opened."""
        reading = sum(not batch.read for batch in self._open) + len(self._arrays)
        return reading >= READING or len(self._open) >= OPEN

    @property
    def idle(self) -> bool:
        """Tell whether none is under way."""
        return not self._open and not self._arrays

    @property
    def progress(self) -> list[dict[str, Any]]:
        """What there is to say about each."""
        return [
            batch.progress | ({"put_aside": True} if batch.claim.token in self.unwanted else {}) for batch in self._open
        ]

    def open(self, claim: Claim, now: float) -> None:
        """Begin a batch; raises LaneFull as a single job does when it is of posted jobs and none has room."""
        try:
            if claim.trouble is not None:
                raise Unfit(claim.trouble)
            self._open.append(self._opened(claim, now))
        except FileNotFoundError:
            self._tell_gone(claim)
        except (Unfit, Invalid) as error:
            self._worker.reject(claim, error, now)
        else:
            log.info("claimed", extra={"fields": {"id": claim.token, "name": claim.name, "kind": "batch"}})

    def _opened(self, claim: Claim, now: float) -> Batch:
        """Open a batch; raises LaneFull when it is one of posted jobs and there is no room for the first."""
        if not is_posted(claim.name):
            return Batch(self._worker, claim)
        if claim.token in self.unwanted:
            return Posted(self._worker, claim)
        # Room goes to those first who have waited for it longest, or ever more would be open that wait for the rest.
        for lane, stuck in list(self._stuck.items()):
            stuck.turn(now, 1)
            if stuck.stuck is None:
                del self._stuck[lane]
        posted = Posted(self._worker, claim)
        posted.begin(now)
        return posted

    def posted(self, name: str) -> Posted | None:
        """Give the open batch of posted jobs that has this name."""
        return next((one for one in self._open if isinstance(one, Posted) and one.claim.name == name), None)

    def cancel_one(self, claim: Claim, identifier: str, now: float) -> Taken | Future[bool] | None:
        """Take one job back of a claimed file in which it stands with others; those go on."""
        posted = Posted(self._worker, claim)
        taken = posted.cancel(identifier)
        self._open.append(posted)
        posted.turn(now, 1)
        return taken

    def spread(self, claim: Claim) -> None:
        """Begin to bring an array to a batch."""
        self._arrays.append(Array(self._spool, claim, self._worker.max_job))

    def turn(self, now: float, most: int) -> float:
        """Bring each a little on, up to `most` lines; gives when to come again (wall time)."""
        self._open = [batch for batch in self._open if not batch.finished]
        for array in list(self._arrays):
            self._spread_on(array, now)
        going = [batch for batch in self._open if not self._is_put_aside(batch)]
        again = min((batch.turn(now, most) for batch in going), default=inf)
        if len(going) < len(self._open):
            again = min(again, now + HOLD_LOOK)
        posted = [(batch, batch.stuck) for batch in going if isinstance(batch, Posted)]
        self._stuck = {full.lane: batch for batch, full in posted if full is not None}
        return now if self._arrays else again

    def _is_put_aside(self, batch: Batch) -> bool:
        """Tell whether a batch is wanted in hold/, and let it go there when none of its lines is under way."""
        if batch.claim.token not in self.unwanted or not self._spool.is_wanted("hold", batch.claim):
            return False
        if batch.comes_to_rest():
            batch.put_aside()
            self._open.remove(batch)
        return True

    def _spread_on(self, array: Array, now: float) -> None:
        try:
            batch = array.turn(grown(now, self._worker.quiet))
        except FileNotFoundError:
            self._arrays.remove(array)
            self._tell_gone(array.claim)
        except (Invalid, Unfit) as error:
            self._arrays.remove(array)
            self._worker.reject(array.claim, error, now)
        else:
            if batch is not None:
                self._arrays.remove(array)
                self.open(batch, now)

    @staticmethod
    def _tell_gone(claim: Claim) -> None:
        log.warning("the claimed file is gone", extra={"fields": {"id": claim.token, "name": claim.name}})

    def stop(self) -> None:
        """Leave all as they are, to be gone on with at the next start."""
        for array in self._arrays:
            array.close()
            self._worker.give_back(array.claim, ())
        for batch in self._open:
            batch.stop()
