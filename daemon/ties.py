"""How a job is tied to others: those it waits for, a first one of the same id, and those that follow from its end.

`hold` says before a call whether there is to be one now; `consequences` says after it what else its end leads to.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from inboxd.daemon.after import LOOK_AGAIN, After, Ended
from inboxd.daemon.children import Children
from inboxd.daemon.names import Claim
from inboxd.daemon.repeats import Remembered, Repeated, Repeats
from inboxd.daemon.settlement import Consequence
from inboxd.daemon.spool import Spool
from inboxd.jobs.clock import Clock
from inboxd.jobs.faults import Skipped
from inboxd.jobs.job import Job
from inboxd.jobs.result import Answer, Problem, Status
from inboxd.jobs.task import Errand
from inboxd.jobs.tree import has_followers

log = logging.getLogger("inboxd.ties")


class Held(Exception):
    """A job was put into deferred/, to wait for others."""


class Ties:
    """All ties of the jobs of one spool. `note` is told of files in deferred/ whose time has come; any thread may."""

    def __init__(self, spool: Spool, clock: Clock, note: Callable[[str, float], None], remember: float) -> None:
        self._spool = spool
        self._clock = clock
        self._note = note
        self.after = After(spool, self._go_on, clock.wall())
        self._repeats = Repeats(spool.state("seen"), remember, self._go_on)

    def hold(self, claim: Claim, job: Job, errand: Errand, now: float) -> Answer | None:
        """Give the answer to a job that needs no call, or raise Held when it has to wait; None when it may go on.

        Raises Invalid when it could never begin.
        """
        if job.after and (answer := self._follow(claim, job, errand, now)) is not None:
            return answer
        if job.id is None or job.tree is not None:
            return None
        may_go_on = partial(self._repeats.begin, job.id, claim)
        # One that is dropped again after it failed, or that waited between two attempts, is the first one itself.
        if not may_go_on() and job.trace is None:
            self._park(claim, errand, now + LOOK_AGAIN, "the first of its id", may_go_on)
        # Not looked for before, nor as of the beginning of this turn: the first may have ended since.
        known = self._repeats.known(job.id, claim, self._clock.wall()) if job.trace is None else None
        if known is not None:
            self._repeats.end(job.id, claim)
            known.received = errand.received or now
        return known

    def _follow(self, claim: Claim, job: Job, errand: Errand, now: float) -> Answer | None:
        received = errand.received or now
        end = received + job.expires if job.expires is not None else now + LOOK_AGAIN
        try:
            missing = self.after.look(claim, job.after or ())
        except Skipped as skipped:
            return _ended(errand, "skipped", str(skipped), now)
        if not missing:
            return None
        if end <= now:
            return _ended(errand, "expired", f"{missing[0]}, which it waited for, has not ended in time", now)
        what = ", ".join(missing[:5])
        self._park(claim, errand, min(now + LOOK_AGAIN, end), what, partial(self.after.any_ended, missing))
        return None

    def _park(self, claim: Claim, errand: Errand, due: float, what: str, may_go_on: Callable[[], bool]) -> NoReturn:
        log.info("waits", extra={"fields": {"id": errand.id, "name": claim.name, "for": what}})
        self._spool.park(claim, due)
        # What it waits for may have ended when it was not yet where those lie that wait.
        self._note(claim.filename, self._clock.wall() if may_go_on() else due)
        raise Held

    def _go_on(self, filename: str) -> None:
        self._note(filename, self._clock.wall())

    def consequences(self, claim: Claim, job: Job | None, answer: Answer) -> list[Consequence]:
        """Give what else the end of a job leads to; without a `job` it was none."""
        found = self.ended(claim.name, answer.status, answer.error.message if answer.error else "")
        if job is not None and has_followers(job):
            found.append(Children(self._spool, claim, job, self._born, self.after))
        if job is not None and job.id is not None and job.tree is None and not isinstance(answer, Repeated):
            found.append(Remembered(self._repeats, claim, answer, self._clock.wall()))
        return found

    def ended(self, name: str, status: str, message: str) -> list[Consequence]:
        """Give what the end of any job leads to: if somebody waits for anything, it may be this."""
        return [Ended(self.after, name, status, message)] if self.after.busy else []

    def _born(self, child: Claim) -> None:
        self._go_on(child.filename)


def _ended(errand: Errand, status: Status, why: str, now: float) -> Answer:
    """Make the answer of a job that will not be called."""
    answer = Answer(errand.id or errand.token, status, received=errand.received or now, finished=now)
    answer.attempts = list(errand.attempts)
    answer.error = Problem(status, why)
    return answer
