"""The glue of one file: claim, parse, wait, call, decide, answer.

`take` gets a claimed file and gives it to the client; the outcome, whenever it comes, goes to the outbox as an answer,
or back into deferred/ with its trace. Whatever is wrong with a file becomes its answer and harms nothing else.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO

from inboxd.daemon.crew import Crew
from inboxd.daemon.growing import whole_at
from inboxd.daemon.inflight import CRASHES
from inboxd.daemon.lines import is_array
from inboxd.daemon.names import LONGEST_NAME, TILDE, Claim, is_job, is_posted
from inboxd.daemon.outbox import Outbox
from inboxd.daemon.settlement import BODY, Answered, Deferral
from inboxd.daemon.spool import Spool, Unfit
from inboxd.daemon.ties import Held, Ties
from inboxd.jobs.calls import check, plain
from inboxd.jobs.client import ApiClient
from inboxd.jobs.clock import Clock
from inboxd.jobs.faults import Cancelled, Fault, Interrupted, Invalid, Poisoned
from inboxd.jobs.ids import time_of
from inboxd.jobs.job import Job, load, parse_object
from inboxd.jobs.lanes import FILE_SHARE
from inboxd.jobs.result import Answer, Attempt, Problem, Status, isotime
from inboxd.jobs.tally import Tallies
from inboxd.jobs.task import Errand, Postponed
from inboxd.jobs.tree import longest_suffix, named_calls

log = logging.getLogger("inboxd.worker")

# A job that has to wait longer goes to deferred/ and frees its place in the window.
PATIENCE = 5.0
# Before a job over which the daemon died is looked at again, while another such job is under way.
SUSPECT_LOOK = 0.05
# So long an attachment may come after its job.
ATTACHMENT_WAIT = 5.0
ATTACHMENT_LOOK = 0.5


class NotYet(Exception):
    """The file may still be being written, or its attachment be on the way; look again at `at` (wall time)."""

    def __init__(self, at: float) -> None:
        super().__init__(at)
        self.at = at


class IsArray(Exception):
    """The file holds not one job but an array of jobs, which is a batch."""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A single job in the window. Its future can be cancelled until a worker has it."""

    claim: Claim
    job: Job
    future: Future[Answer]


@dataclass(frozen=True, slots=True)
class Worker:
    """Carries jobs from their claim to their settlement.

    `crashes` are those of earlier runs by token, `max_job` is in bytes, `quiet` in seconds. `note` is told of each file
    that was deferred; `wake` wakes the intake, `crew` are processes that help with batches.
    """

    spool: Spool
    client: ApiClient
    outbox: Outbox
    clock: Clock
    crashes: Mapping[str, list[float]]
    max_job: int
    quiet: float
    note: Callable[[str, float], None]
    wake: Callable[[], None]
    ties: Ties
    crew: Crew | None = None
    tallies: Tallies = field(default_factory=Tallies)
    # Whether jobs that came over HTTP may call private addresses, as far as others may.
    private_posts: bool = False
    # Tokens of jobs that somebody takes back; whoever is told so keeps it up to date.
    unwanted: set[str] = field(default_factory=set)
    suspects: deque[Future[Answer]] = field(default_factory=deque)
    # The single jobs in the window, by name: one that is asked for need not be looked for in the folders.
    under_way: dict[str, UnderWay] = field(default_factory=dict)

    def take(self, claim: Claim, now: float) -> None:
        """Set a claimed file to work. Raises LaneFull when there is no room, and NotYet or IsArray."""
        job: Job | None = None
        try:
            job = self._parse(claim, now)
            self.attach(claim, job.attachments, now)
        except FileNotFoundError:
            log.warning("the claimed file is gone", extra={"fields": {"id": claim.token, "name": claim.name}})
            return
        except (Unfit, Invalid) as error:
            self.reject(claim, error, now, job)
            return
        trace = job.trace
        attempts = list(trace.attempts) if trace else []
        errand = self.errand(claim, job, claim.token, attempts, trace.tried if trace else 0, FILE_SHARE)
        try:
            known = self.ended_before(errand, now) or self.ties.hold(claim, job, errand, now)
        except Held:
            return
        except Invalid as error:
            self.reject(claim, error, now, job)
            return
        if known is not None:
            self.settle(claim, job.attachments, known, job)
            return
        self.one_at_a_time(errand, now)
        future = self.client.submit(job, errand)
        if errand.token in self.crashes:
            self.suspects.append(future)
        log.info("claimed", extra={"fields": {"id": errand.id, "name": claim.name}})
        self.under_way[claim.name] = UnderWay(claim, job, future)
        future.add_done_callback(partial(self._outcome, claim, job, errand))

    # -- in -------------------------------------------------------------------------------------------------

    def _parse(self, claim: Claim, now: float) -> Job:
        if claim.trouble is not None:
            raise Unfit(claim.trouble)
        status, data = self.spool.read(claim, self.max_job + 1)
        whole = whole_at(status, now, self.quiet)
        if len(data) > self.max_job:
            if is_array(data):
                raise NotYet(whole) if whole > now else IsArray
            raise Unfit(
                f"the file has {status.st_size} bytes and a job at most {self.max_job}; many jobs go into a .jsonl"
            )
        try:
            value = load(data)
        except Invalid:
            if whole > now:
                raise NotYet(whole) from None
            if is_array(data):
                # One element that is wrong must not stop the others.
                raise IsArray from None
            raise
        if isinstance(value, list):
            raise IsArray
        job = plain(parse_object(value), self.client.apis)
        if job.tree is None:
            self._check_root(claim, job)
        return job

    def _check_root(self, claim: Claim, job: Job) -> None:
        """Check that a job's name is its own to have and leaves room for those below it, whose calls there must be."""
        if "~" in claim.name:
            raise Unfit(TILDE)
        most = LONGEST_NAME - longest_suffix(job)
        if len(os.fsencode(claim.name)) > most:
            raise Unfit(f"the name is longer than {most} bytes, which this tree's names need; rename the file")
        for name, arguments in named_calls(job):
            check(name, arguments, self.client.apis)

    def attach(self, claim: Claim, names: tuple[str, ...], now: float) -> None:
        """Take a job's attachments out of the inbox; raises NotYet, or Invalid when one is not there, or Unfit."""
        for name in names:
            if is_posted(claim.name) and not name.startswith(claim.name.partition("~")[0] + "."):
                raise Invalid(f'"{name}" did not come with this job; over HTTP a job takes only what came with it')
            if is_job(name):
                raise Invalid(f'"{name}" is a job of its own and no attachment; give it another ending')
            if not self.spool.attach(claim, name):
                if now < time_of(claim.token) + ATTACHMENT_WAIT:
                    raise NotYet(now + ATTACHMENT_LOOK)
                raise Invalid(f'the attachment "{name}" is not in the inbox; drop it before the job')

    def errand(
        self, claim: Claim, job: Job, token: str, attempts: list[dict[str, Any]], tried: int, share: float
    ) -> Errand:
        """Say how a job wants to be handled: under which id, with which past, and how patiently."""
        trace = job.trace
        crashes = [
            Attempt(at, 0.0, fault=Interrupted.kind, message="the daemon died during this call").to_dict()
            for at in self.crashes.get(token, ())
        ]
        return Errand(
            id=trace.id if trace else job.id or token,
            token=token,
            received=trace.received if trace else time_of(claim.token),
            attempts=attempts + [crash for crash in crashes if crash not in attempts],
            tried=tried,
            patience=PATIENCE,
            block=False,
            share=share,
            public=is_posted(claim.name) and not self.private_posts,
            open_file=partial(self.spool.open_attachment, claim),
            spill=partial(self._spill, token),
        )

    def _spill(self, token: str) -> BinaryIO:
        # A job with `select`, or one whose server echoes credentials, reads it again.
        return open(self.spool.staging(token, BODY), "w+b")

    def ended_before(self, errand: Errand, now: float) -> Answer | None:
        """Give the answer of a job that was taken back, or over which the daemon died too often; None for any other."""
        status: Status
        fault: Fault
        if self.unwanted and errand.token.partition(":")[0] in self.unwanted:
            status, fault = "cancelled", Cancelled("taken back before it was done")
        elif len(self.crashes.get(errand.token, ())) >= CRASHES:
            why = f"the daemon died {CRASHES} times while this job was being called"
            status, fault = "failed", Poisoned(why, uncertain=True)
        else:
            return None
        answer = self.ended(errand.id or errand.token, status, fault, errand.received or now, now)
        answer.attempts = list(errand.attempts)
        return answer

    def one_at_a_time(self, errand: Errand, now: float) -> None:
        """Let no two jobs be called at once over which the daemon died before; raises NotYet.

        Else several would be in flight at the next death, and innocent ones be taken for the reason.
        """
        while self.suspects and self.suspects[0].done():
            self.suspects.popleft()
        if self.suspects and errand.token in self.crashes:
            raise NotYet(now + SUSPECT_LOOK)

    # -- out ------------------------------------------------------------------------------------------------

    def _outcome(self, claim: Claim, job: Job, errand: Errand, future: Future[Answer]) -> None:
        """Route what came of a job; runs on the thread that ended it."""
        if (one := self.under_way.get(claim.name)) is not None and one.claim is claim:
            del self.under_way[claim.name]
        if future.cancelled():
            self.settle(claim, job.attachments, self.cancelled(errand.id or claim.token, errand.received), job)
            return
        postponed = future.exception()
        if postponed is None:
            self.settle(claim, job.attachments, future.result(), job)
            return
        assert isinstance(postponed, Postponed)
        now = self.clock.wall()
        if postponed.stopped and not postponed.attempts:
            self.give_back(claim, job.attachments)
            return
        past = errand.id or claim.token, errand.received or now, postponed.tried, postponed.attempts
        self.postpone(claim, now + postponed.wait, *past)

    def postpone(
        self, claim: Claim, due: float, request_id: str, received: float, tried: int, attempts: list[dict[str, Any]]
    ) -> None:
        """Let a job wait in deferred/ until `due` (wall time), with its trace."""
        self.outbox.put(Deferral(self.spool, claim, due, request_id, received, tried, attempts, self._deferred))

    def give_back(self, claim: Claim, attachments: tuple[str, ...] | None = None) -> None:
        """Undo a claim because everything stops; what the disk refuses stays in active/ until the next start.

        Without `attachments`, these are looked for.
        """
        try:
            taken = self.spool.attachments_of(claim.token) if attachments is None else attachments
            self.spool.give_back(claim, taken, self.clock.wall())
        except OSError as error:
            fields = {"id": claim.token, "name": claim.name, "error": f"{error.filename}: {error.strerror}"}
            log.error("cannot be given back", extra={"fields": fields})

    def _deferred(self, filename: str, due: float) -> None:
        self.note(filename, due)
        self.wake()

    def reject(self, claim: Claim, error: Unfit | Invalid, now: float, job: Job | None = None) -> None:
        """Answer a file that is no `job`, or that lacks one of its attachments; those that it has go with it."""
        request_id = job.id if job is not None and job.id is not None else claim.token
        answer = self.ended(request_id, "rejected", Invalid(str(error)), time_of(claim.token), now)
        self.settle(claim, self.spool.attachments_of(claim.token), answer, job)

    def settle(self, claim: Claim, attachments: tuple[str, ...], answer: Answer, job: Job | None = None) -> None:
        """Hand the answer of a file over to the outbox; what follows from it is in the `job`."""
        answer.name = claim.name
        answer.claim = claim.token
        answer.root = job.tree.root if job is not None and job.tree is not None else None
        self.count(answer)
        consequences = self.ties.consequences(claim, job, answer)
        self.outbox.put(Answered(self.spool, claim, answer, attachments, consequences))

    def count(self, answer: Answer) -> None:
        """Count an answer for its API; one that never came so far for none."""
        self.tallies.of(answer.api or "").answer(answer.status, answer.cache)
        if answer.error is not None:
            error = {"kind": answer.error.kind, "message": answer.error.message}
            self.tallies.errors.append({"at": isotime(answer.finished), "name": answer.name or "", **error})

    def cancelled(self, request_id: str, received: float | None) -> Answer:
        """Make the answer of a job that somebody took back before it was called."""
        now = self.clock.wall()
        return self.ended(request_id, "cancelled", Cancelled("taken back before it was called"), received or now, now)

    def cancel(self, claim: Claim, now: float) -> None:
        """Answer a claimed file that nobody is to work on any more, with all that follows from that."""
        self.unwanted.add(claim.token)
        try:
            self.take(claim, now)
        except (NotYet, IsArray):
            self.settle(claim, self.spool.attachments_of(claim.token), self.cancelled(claim.token, None))
        finally:
            self.unwanted.discard(claim.token)

    @staticmethod
    def ended(request_id: str, status: Status, fault: Fault, received: float, now: float) -> Answer:
        """Make the answer of a job that never came to the client."""
        problem = Problem(fault.kind, fault.message, fault.uncertain)
        # A file may have come since the turn began that `now` is of.
        return Answer(request_id, status, received=received, finished=max(now, received), error=problem)
