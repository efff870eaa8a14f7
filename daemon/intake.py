"""The intake: claims while there is room. An event only wakes it; what it finds by looking is the truth.

Its sources, in this order: the job that found no room last time, jobs back from a crash, files that were not finished,
deferred jobs whose time has come, open batches, the inbox. Each turn takes a little from each: none waits for another.
"""

from __future__ import annotations

import errno
import heapq
import logging
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from math import inf

from inboxd.daemon import names
from inboxd.daemon.batch import Batch
from inboxd.daemon.deferred import Deferred
from inboxd.daemon.lines import of_array
from inboxd.daemon.names import Claim
from inboxd.daemon.spool import Spool, Unfit
from inboxd.daemon.watch import Watch
from inboxd.daemon.worker import IsArray, NotYet, Worker
from inboxd.jobs.faults import Invalid
from inboxd.jobs.lanes import LaneFull

log = logging.getLogger("inboxd.intake")

# Files or lines of one source in one turn.
RUN = 200
# A lane that works off all it holds within this time is worth waiting for; moving its jobs
# to deferred/ and back would take longer.
WORTH_WAITING = 0.25
# Batches that are open at a time, and unfinished files that are remembered; more wait in deferred/.
OPEN_BATCHES = 100
UNFINISHED = 1000
# Before the disk, or whatever else refused, is tried again.
REFUSED = 1.0


class Intake:
    """Finds jobs and sets them to work. `turn` is one round; `run` makes rounds on a thread of its own."""

    def __init__(
        self, spool: Spool, worker: Worker, deferred: Deferred, back: Iterable[Claim], *, rescan: float, min_free: int
    ) -> None:
        self._spool = spool
        self._worker = worker
        self._deferred = deferred
        self._rescan = rescan
        self._min_free = min_free
        self._back = deque(back)
        self._in_hand: Claim | None = None
        self._unfinished: list[tuple[float, str, Claim]] = []
        self.batches: list[Batch] = []
        self._inbox: Iterator[os.DirEntry[str]] | None = None
        self._found_any = False
        self._look_again = -inf
        self._check_at = -inf
        self._hint = threading.Event()
        self._room = threading.Event()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self.run, name="intake", daemon=True)
        self.watch = Watch(spool.inbox, self.hint)
        self.trouble: str | None = None
        self.idle = False
        self.turns = 0

    # -- the thread -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look."""
        self.watch.start()
        self._thread.start()

    def stop(self) -> None:
        """Claim nothing more; what was claimed and not begun goes back."""
        self._stopping = True
        self.wake()
        self._thread.join()
        self.watch.stop()
        for claim in [self._in_hand, *self._back, *(entry[2] for entry in self._unfinished)]:
            if claim is not None:
                self._spool.give_back(claim, self._spool.attachments_of(claim.token), self._worker.clock.wall())

    def hint(self) -> None:
        """Take the watcher's word that something may be in the inbox."""
        self._hint.set()
        self._wake.set()

    def wake(self) -> None:
        """Have the next turn at once."""
        self._wake.set()

    @property
    def alive(self) -> bool:
        """Tell whether the thread runs."""
        return self._thread.is_alive()

    def run(self) -> None:
        """Make turns until stopped."""
        while not self._stopping:
            self._wake.clear()
            now = self._worker.clock.wall()
            try:
                again = self.turn(now)
            except Exception:
                log.exception("internal error in the intake")
                again = now + REFUSED
            self.turns += 1
            self._wake.wait(max(again - now, 0.0))

    # -- one turn ---------------------------------------------------------------------------------------------

    def turn(self, now: float) -> float:
        """Look everywhere once and set to work what there is room for; gives when to look again (wall time)."""
        self._end_batches()
        try:
            self._look_around(now)
            if self.trouble is not None:
                return now + REFUSED
            room = self._singles(now)
            again = min([now + self._rescan, *(batch.turn(now, RUN) for batch in self.batches)])
            if room:
                room = self._from_inbox(now)
        except OSError as error:
            self._refused(error)
            return now + REFUSED
        self.idle = (
            room and self._inbox is None and not self._unfinished and not self.batches and not self._hint.is_set()
        )
        if not room:
            return min(again, now + WORTH_WAITING)
        if self._inbox is not None or self._hint.is_set():
            return now
        return min([again, self._deferred.next_due(now), *(entry[0] for entry in self._unfinished[:1])])

    def _look_around(self, now: float) -> None:
        """Every few seconds: does the watcher still watch, is there space; and look into the inbox in any case."""
        if now < self._check_at:
            return
        self._check_at = now + self._rescan
        self.watch.check()
        self._hint.set()
        free = self._spool.free_bytes()
        if free < self._min_free:
            self._say(f"only {free} bytes are free on the disk and min_free is {self._min_free}; nothing is claimed")
        elif self.trouble is not None:
            log.info("claiming again")
            self.trouble = None

    def _refused(self, error: OSError) -> None:
        what = f"{error.filename or self._spool.root}: {error.strerror}"
        if error.errno in {errno.EMFILE, errno.ENFILE}:
            what = "too many open files; raise LimitNOFILE or lower threads"
        self._say(what)
        self._check_at = -inf

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.error("cannot claim", extra={"fields": {"error": trouble}})
        self.trouble = trouble

    def _singles(self, now: float) -> bool:
        """Set single jobs to work that were claimed before or are deferred; False when one found no room."""
        if self._in_hand is not None:
            claim, self._in_hand = self._in_hand, None
            if not self._take(claim, now):
                return False
        while self._back:
            if not self._take(self._back.popleft(), now):
                return False
        while self._unfinished and self._unfinished[0][0] <= now:
            if not self._take(heapq.heappop(self._unfinished)[2], now):
                return False
        waiting = self._deferred.take_parked(self._worker.client.queue.room)
        for filename in waiting + self._deferred.take_due(now, RUN):
            reclaimed = self._spool.reclaim(filename)
            if reclaimed is not None and not self._take(reclaimed, now):
                return False
        return True

    def _from_inbox(self, now: float) -> bool:
        """Claim up to RUN files of the inbox; False when one found no room."""
        if self._inbox is None:
            if not self._hint.is_set():
                return True
            self._hint.clear()
            self._inbox = os.scandir(self._spool.inbox)
            self._found_any = False
        for _ in range(RUN):
            entry = next(self._inbox, None)
            if entry is None:
                self._inbox = None
                if self._found_any:
                    # What came while we were reading may have been passed over.
                    self._hint.set()
                return True
            if not names.is_job(entry.name) or entry.is_dir(follow_symlinks=False) or self._grows(entry, now):
                continue
            claim = self._spool.claim(entry.name)
            if claim is not None:
                self._found_any = True
                if not self._take(claim, now):
                    return False
        return True

    def _grows(self, entry: os.DirEntry[str], now: float) -> bool:
        """Tell whether a batch was written to just now; unlike a single job, one cut short would not show it."""
        if not entry.name.lower().endswith(".jsonl"):
            return False
        try:
            age = now - entry.stat(follow_symlinks=False).st_mtime
        except FileNotFoundError:
            return True
        if 0 <= age < self._worker.quiet:
            self._check_at = min(self._check_at, now - age + self._worker.quiet)
            return True
        return False

    # -- one claim --------------------------------------------------------------------------------------------

    def _take(self, claim: Claim, now: float) -> bool:
        """Set a claim to work, or put it where it waits; False when it waits in hand for room."""
        try:
            if claim.kind == ".jsonl":
                self._open_batch(claim, now)
            else:
                self._worker.take(claim, now)
        except LaneFull as full:
            if full.drain <= WORTH_WAITING:
                self._in_hand = claim
                return False
            self._spool.park(claim, now + full.wait)
            self._deferred.park(claim.filename, full.lane)
        except NotYet as unfinished:
            if len(self._unfinished) >= UNFINISHED:
                self._park(claim, unfinished.at)
            else:
                heapq.heappush(self._unfinished, (unfinished.at, claim.token, claim))
        except IsArray:
            self._spread(claim, now)
        except OSError:
            # Whatever it is, the job is still ours; it comes first when the disk is well again.
            self._back.appendleft(claim)
            raise
        return True

    def _park(self, claim: Claim, due: float) -> None:
        self._spool.park(claim, due)
        self._deferred.note(claim.filename, due)

    def _open_batch(self, claim: Claim, now: float) -> None:
        if claim.trouble is not None:
            self._worker.reject(claim, Unfit(claim.trouble), now)
        elif len(self.batches) >= OPEN_BATCHES:
            self._park(claim, now + self._rescan)
        else:
            try:
                self.batches.append(Batch(self._worker, claim))
            except FileNotFoundError:
                log.warning("the claimed file is gone", extra={"fields": {"id": claim.token, "name": claim.name}})
                return
            except Unfit as unfit:
                self._worker.reject(claim, unfit, now)
                return
            log.info("claimed", extra={"fields": {"id": claim.token, "name": claim.name, "kind": "batch"}})

    def _spread(self, claim: Claim, now: float) -> None:
        """Bring an array of jobs to a batch."""
        try:
            with self._spool.open(claim) as file:
                batch = self._spool.to_batch(claim, of_array(file, self._worker.max_job))
        except (Invalid, Unfit) as error:
            self._worker.reject(claim, error, now)
            return
        self._open_batch(batch, now)

    def _end_batches(self) -> None:
        if any(batch.finished for batch in self.batches):
            self.batches = [batch for batch in self.batches if not batch.finished]
