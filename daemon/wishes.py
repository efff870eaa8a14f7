"""What people ask of a running daemon, as empty files in state/: cancel this job, put that one aside, pause an API.

`paused/API` holds for as long as the file lies there, also across restarts; `cancel/FILE` until the job of that file is
answered; `hold/FILE` until the batch of that file lies in hold/; `put-down/FILE` is taken note of once. FILE is what
the job is called in active/ and deferred/; an API's name is percent-encoded. The one rule: a wish that names nothing
we have is simply removed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from urllib.parse import unquote

from inboxd.daemon import names
from inboxd.daemon.batches import Batches
from inboxd.daemon.crew import Crew
from inboxd.daemon.spool import Spool
from inboxd.daemon.worker import PATIENCE
from inboxd.jobs.lanes import LaneQueue

log = logging.getLogger("inboxd.wishes")

# So long, in seconds, a job that was put down stays in deferred/, where whoever asked for it may take it.
PUT_DOWN = 2 * PATIENCE
# So long the lines of a batch wait that other processes gave back, to be answered as cancelled.
AT_ONCE = 0.001


class Wishes:
    """`unwanted` gets the tokens of jobs to be cancelled, `batches.unwanted` those of batches to be put aside.

    `note` is told which file of deferred/ is due when.
    """

    def __init__(
        self,
        spool: Spool,
        queue: LaneQueue,
        crew: Crew,
        unwanted: set[str],
        batches: Batches,
        note: Callable[[str, float], None],
    ) -> None:
        self._batches = batches
        self._spool = spool
        self._queue = queue
        self._crew = crew
        self._unwanted = unwanted
        self._note = note
        self.paused: frozenset[str] = frozenset()

    def turn(self, now: float) -> None:
        """Look what is asked for at `now` (wall time)."""
        self._pause()
        for filename in self._spool.wishes("put-down"):
            self._put_down(filename, now)
            self._spool.take_back("put-down", filename)
        self._batches.unwanted = frozenset(map(self._hold, self._spool.wishes("hold")))
        cancelled = self._spool.wishes("cancel")
        self._unwanted.intersection_update({claim.token for name in cancelled if (claim := names.parse(name))})
        for filename in cancelled:
            if not self._cancel(filename, now):
                self._spool.take_back("cancel", filename)
        # Other processes know nothing of what is paused or taken back.
        self._crew.idle = bool(self.paused or self._unwanted)

    def _pause(self) -> None:
        paused = frozenset(map(unquote, self._spool.wishes("paused")))
        if paused != self.paused:
            fields = {"paused": ",".join(sorted(paused)) or None}
            log.info("APIs are paused" if paused else "no API is paused", extra={"fields": fields})
            self.paused = paused
            self._queue.pause(paused)

    def _put_down(self, filename: str, now: float) -> None:
        claim = names.parse(filename)
        if claim is None or self._queue.put_down(claim.token, PUT_DOWN) or not self._spool.is_deferred(claim):
            return
        # Somebody laid it there by hand.
        self._note(filename, now)

    def _hold(self, filename: str) -> str:
        """Have a batch begin no further line, or put it aside if it waits; gives its token, "" when that was all."""
        claim = names.parse(filename)
        if claim is not None and self._spool.is_deferred(claim) and self._spool.is_wanted("hold", claim):
            self._spool.hold(self._spool.deferred, claim)
        elif claim is not None and os.path.lexists(self._spool.path(claim)):
            self._queue.put_down(claim.token, PUT_DOWN)
            self._crew.put_down(claim.token, PUT_DOWN)
            return claim.token
        self._spool.take_back("hold", filename)
        return ""

    def _cancel(self, filename: str, now: float) -> bool:
        """Have a job come by its way to where it is answered; False when it is over."""
        claim = names.parse(filename)
        if claim is None or not (self._spool.is_deferred(claim) or os.path.lexists(self._spool.path(claim))):
            return False
        self._unwanted.add(claim.token)
        if self._spool.is_deferred(claim):
            self._note(filename, now)
        else:
            # One that is being called goes on; if that does not answer it, it is cancelled then.
            self._queue.put_down(claim.token, PUT_DOWN)
            if claim.many:
                self._crew.put_down(claim.token, AT_ONCE)
            else:
                self._crew.recall(claim.token)
        return True
