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
from collections.abc import Iterable
from itertools import islice
from math import inf

from inboxd.daemon import names
from inboxd.daemon.batches import Batches
from inboxd.daemon.deeds import Deeds
from inboxd.daemon.deferred import Deferred
from inboxd.daemon.folders import Entries
from inboxd.daemon.growing import Renamed, whole_at
from inboxd.daemon.handed import Handed
from inboxd.daemon.hint import Hint
from inboxd.daemon.names import Claim
from inboxd.daemon.spool import Spool
from inboxd.daemon.watch import Arrivals, Watch
from inboxd.daemon.worker import IsArray, NotYet, Worker
from inboxd.jobs.lanes import LaneFull

log = logging.getLogger("inboxd.intake")

# Files or lines of one source in one turn.
RUN = 200
# Of the inbox's newest files, so many are remembered by name, and so many go first in each turn of a long scan: a scan
# comes upon them by chance, after all that 100,000 jobs of one API may have been dropped just before.
NEWEST = 1000
NEWEST_RUN = 50
# A lane that works off all it holds within this time is worth waiting for; moving its jobs
# to deferred/ and back would take longer.
WORTH_WAITING = 0.25
# Unfinished files that are remembered; more wait in deferred/.
UNFINISHED = 1000
# Before the disk, or whatever else refused, is tried again; and before the very file that it refused is, for
# which nobody else shall wait.
REFUSED = 1.0
REFUSED_FILE = 10.0


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
        self._handed = None if worker.crew is None else Handed(worker, worker.crew, self._back)
        self._in_hand: Claim | None = None
        self._unfinished: list[tuple[float, str, Claim]] = []
        self._due: deque[str] = deque()
        self.batches = Batches(worker)
        self._inbox: Entries | None = None
        self._found_any = self._found_growing = False
        self._has_space = True
        self._check_at = -inf
        self.hints = Hint()
        self._wake = threading.Event()
        self.deeds = Deeds(self._wake)
        self._stopping = False
        self._thread = threading.Thread(target=self.run, name="intake", daemon=True)
        # Names of the newest files, which may come while a long row of older ones is being worked off.
        self._newest: deque[bytes] = deque(maxlen=NEWEST)
        self._renamed = Renamed(NEWEST)
        self.watch = Watch(spool.inbox, self.hint, named=self._came)
        self.trouble: str | None = None
        self.idle, self.turns = False, 0

    # -- the thread -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look."""
        self.watch.start()
        self._thread.start()

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopping = True
        self.wake()
        self._thread.join()
        self.watch.stop()
        if self._inbox is not None:
            self._inbox.close()
        self._deferred.close()

    def give_back(self) -> None:
        """Give back what was claimed and not begun, when nothing comes back from anybody any more."""
        for claim in [self._in_hand, *self._back, *(entry[2] for entry in self._unfinished)]:
            if claim is not None:
                self._worker.give_back(claim)

    def take_out(self, name: str) -> Claim | None:
        """Give up a single job that was claimed and not begun, for somebody else to end; on this thread."""
        if self._in_hand is not None and self._in_hand.name == name:
            in_hand, self._in_hand = self._in_hand, None
            return in_hand
        claim = next((one for one in self._back if one.name == name and not one.many), None)
        if claim is not None:
            self._back.remove(claim)
        return claim

    def _came(self, arrivals: Arrivals) -> None:
        """Take the watcher's word for the names of what came; on its thread."""
        self._newest.extend(name for name, _ in arrivals)
        for name, renamed in arrivals:
            if renamed and not name.endswith(b".json"):
                self._renamed.note(os.fsdecode(name), self._worker.clock.wall())

    def hint(self) -> None:
        """Take the watcher's word that something may be in the inbox."""
        self.hints.set()
        self.wake()

    def wake(self) -> None:
        """Have the next turn at once."""
        self.idle = False
        self._wake.set()

    @property
    def alive(self) -> bool:
        """Tell whether the thread runs."""
        return self._thread.is_alive()

    def run(self) -> None:
        """Make turns until stopped."""
        while not self._stopping:
            self.idle, self.turns = False, self.turns + 1
            self._wake.clear()
            now = self._worker.clock.wall()
            try:
                self.deeds.do(now)
                again = self.turn(now)
            except Exception:
                log.exception("internal error in the intake")
                again = now + REFUSED
            self._wake.wait(max(again - now, 0.0))

    # -- one turn ---------------------------------------------------------------------------------------------

    def turn(self, now: float) -> float:
        """Look everywhere once and set to work what there is room for; gives when to look again (wall time)."""
        try:
            self._look_around(now)
            if not self._has_space:
                return now + REFUSED
            room = self._singles(now)
            again = min(now + self._rescan, self.batches.turn(now, RUN))
            if room:
                room = self._from_inbox(now)
        except OSError as error:
            self._refused(error)
            return now + REFUSED
        if self.trouble is not None:
            log.info("claiming again")
            self.trouble = None
        through = room and self._inbox is None and not self.hints.is_set()
        handed = self._handed is not None and self._handed.count > 0
        next_due = self._deferred.next_due(now)
        waits = through and not handed and next_due > now and not self._wake.is_set()
        self.idle = waits and not self._found_growing and not self._unfinished and self.batches.idle
        if not through:
            return now if room else min(again, now + WORTH_WAITING)
        return min([again, self._check_at, next_due, *(entry[0] for entry in self._unfinished[:1])])

    def _look_around(self, now: float) -> None:
        """Every few seconds: does the watcher still watch, is there space; and look into the inbox in any case."""
        if now < self._check_at <= now + self._rescan:
            # Farther away than that it is only when somebody has set the clock back.
            return
        self._check_at = now + self._rescan
        self.watch.check()
        self.hints.set_by_clock()
        free = self._spool.free_bytes()
        self._has_space = free >= self._min_free
        if not self._has_space:
            self._say(f"only {free} bytes are free on the disk and min_free is {self._min_free}; nothing is claimed")

    def _refused(self, error: OSError) -> None:
        full = error.errno in {errno.EMFILE, errno.ENFILE}
        where = f"{error.filename or self._spool.root}: {error.strerror}"
        self._say("too many open files; raise LimitNOFILE or lower threads" if full else where)
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
        if not self._take_back(now):
            return False
        while self._unfinished and self._unfinished[0][0] <= now:
            if not self._take(heapq.heappop(self._unfinished)[2], now):
                return False
        if not self._due:
            self._due.extend(self._deferred.take_parked(self._worker.client.queue.room))
            self._due.extend(self._deferred.take_due(now, RUN))
        while self._due:
            reclaimed = self._spool.reclaim(self._due.popleft())
            if reclaimed is not None and not self._take(reclaimed, now):
                return False
        return True

    def _take_back(self, now: float) -> bool:
        """Set to work what was claimed and not begun; False when one found no room."""
        try:
            while self._back:
                helper = self._handed
                if helper is not None and not helper.helps:
                    helper = None
                if helper is not None and helper.full:
                    return False
                claim = self._back.popleft()
                if (helper is None or not helper.take(claim)) and not self._take(claim, now):
                    return False
            return True
        finally:
            if self._handed is not None:
                self._handed.hand_out()

    def _from_inbox(self, now: float) -> bool:
        """Claim up to RUN files of the inbox and set them to work; False when one found no room."""
        if self._inbox is None:
            if not self.hints.is_set():
                return True
            self.hints.take()
            self._inbox = os.scandir(self._spool.inbox)
            self._found_any = self._found_growing = False
        else:
            self._claim_newest()
        self._claim_next(self._inbox, now)
        if self._back:
            self._found_any = True
            # One sync for the whole run. Without it a power cut after the call could put a file back into the inbox,
            # to be called again under another id.
            self._spool.secure_claims()
        return self._take_back(now)

    def _claim_next(self, inbox: Entries, now: float) -> None:
        """Claim what the scan comes upon next."""
        for _ in range(RUN):
            entry = next(inbox, None)
            if entry is None:
                self._inbox = None
                self._newest.clear()
                if self._found_any or self._back:
                    # What came while we were reading may have been passed over.
                    self.hints.set()
                return
            if entry.is_dir(follow_symlinks=False):
                if names.is_for_sheets(entry.name):
                    self._claim_sheets(entry.name, now)
            elif names.is_job(entry.name) and not self._grows(entry, now):
                self._claim(entry.name)

    def _claim_sheets(self, call: str, now: float) -> None:
        """Claim the CSV files in the folder of a call; what is left over is found by the next scan."""
        try:
            with os.scandir(os.path.join(self._spool.inbox, call)) as sheets:
                for entry in islice(sheets, RUN):
                    plain = names.is_sheet(entry.name) and not entry.is_dir(follow_symlinks=False)
                    if plain and not self._grows(entry, now):
                        self._claim(entry.name, call)
        except PermissionError as error:
            # Somebody's folder that we may not use must not keep us from the inbox.
            log.warning("no sheets can be taken", extra={"fields": {"folder": call, "error": error.strerror}})

    def _claim_newest(self) -> None:
        """Claim some of the newest files before the scan comes upon them."""
        for _ in range(min(NEWEST_RUN, len(self._newest))):
            filename = os.fsdecode(self._newest.pop())
            # Batches that may still grow, folders and all else are left to the scan, which looks more closely.
            plain = names.is_job(filename) and filename.endswith(".json")
            if plain and not os.path.isdir(os.path.join(self._spool.inbox, filename)):
                self._claim(filename)

    def _claim(self, filename: str, call: str | None = None) -> None:
        claim = self._spool.claim(filename, call)
        if claim is not None:
            self.hints.found()
            self._back.append(claim)

    def _grows(self, entry: os.DirEntry[str], now: float) -> bool:
        """Tell whether a batch was written to just now; unlike a single job, one cut short would not show it."""
        if not entry.name.lower().endswith((".jsonl", names.SHEET)):
            return False
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return True
        whole = whole_at(status, now, self._worker.quiet)
        if whole <= now or self._renamed.holds(entry.name, status):
            return False
        self._check_at = min(self._check_at, whole)
        self._found_growing = True
        return True

    # -- one claim --------------------------------------------------------------------------------------------

    def _take(self, claim: Claim, now: float) -> bool:
        """Set a claim to work, or put it where it waits; False when it waits in hand for room."""
        try:
            if not claim.many:
                self._worker.take(claim, now)
            elif self.batches.full:
                self._park(claim, now + self._rescan)
            else:
                self.batches.open(claim, now)
        except LaneFull as full:
            if full.drain <= WORTH_WAITING:
                self._in_hand = claim
                return False
            # One that is remembered is fetched as soon as there is room, and after a restart it is due at once.
            remembered = self._deferred.park(claim.filename, full.lane)
            self._spool.park(claim, now if remembered else now + full.wait)
        except NotYet as unfinished:
            if len(self._unfinished) >= UNFINISHED:
                self._park(claim, unfinished.at)
            else:
                heapq.heappush(self._unfinished, (unfinished.at, claim.token, claim))
        except IsArray:
            if self.batches.full:
                self._park(claim, now + self._rescan)
            else:
                self.batches.spread(claim)
        except OSError:
            # Whatever it is, the job is still ours.
            heapq.heappush(self._unfinished, (now + REFUSED_FILE, claim.token, claim))
            raise
        return True

    def _park(self, claim: Claim, due: float) -> None:
        self._spool.park(claim, due)
        self._deferred.note(claim.filename, due)
