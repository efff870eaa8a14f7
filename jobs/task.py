"""A task: one job while it is in the window, with what has happened to it so far.

A job is what somebody asked; an errand how its owner wants it handled; a task is our carrying it out. It moves between
its lane's waiting room and one worker at a time, so nobody needs a lock to change it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any, BinaryIO, NamedTuple, Self

from inboxd.cache.entry import Entry
from inboxd.jobs.api import Api
from inboxd.jobs.exchange import Call
from inboxd.jobs.faults import Fault
from inboxd.jobs.handlers import Work
from inboxd.jobs.job import Job
from inboxd.jobs.patience import Reprocess
from inboxd.jobs.queuejobs import Deed
from inboxd.jobs.result import Answer, Attempt, CacheUse, Problem, Response, Status
from inboxd.jobs.spacing import Spacing
from inboxd.jobs.units import statuses

# RFC 9110 15.4.5.
NOT_MODIFIED = 304


class Postponed(Exception):
    """Not an answer: the next attempt is too far away to wait for it in memory, or everything stops.

    `wait` is in seconds from now; `attempts` and `tried` are what a Trace keeps; `begun` tells whether the task ever
    came to a worker, `stopped` that the engine is closing.
    """

    def __init__(
        self, wait: float, attempts: list[dict[str, Any]], tried: int, *, begun: bool, stopped: bool = False
    ) -> None:
        super().__init__("stopped before its turn" if stopped else f"not before {wait:.1f} s from now")
        self.wait = wait
        self.attempts = attempts
        self.tried = tried
        self.begun = begun
        self.stopped = stopped


def in_working_folder(name: str) -> BinaryIO:
    """Open an attachment of a library job: a file of the working folder."""
    return open(name, "rb")


class Errand(NamedTuple):
    """How the owner of a job wants it handled; the defaults are right for a library call."""

    id: str | None = None
    # What a crash is remembered by; unlike the id, no two tasks share it.
    token: str = ""
    # When the job came in (wall time), if that was not just now, and the attempts made since.
    received: float | None = None
    attempts: Sequence[dict[str, Any]] = ()
    tried: int = 0
    # The longest wait, in seconds, that is sat out in memory; for a longer one the job is Postponed.
    patience: float = inf
    # Wait for room in the window, or raise LaneFull; and how much of the window its lane may hold.
    block: bool = True
    share: float = 1.0
    # Whether it may call public addresses only, and named APIs; whatever the client allows to others.
    public: bool = False
    # Opens an attachment by its name; opens the file that a large body goes to (None: keep it in memory).
    open_file: Callable[[str], BinaryIO] = in_working_folder
    spill: Callable[[], BinaryIO] | None = None


@dataclass(slots=True, eq=False)
class Task:
    """One job in the window. Times are of the monotonic clock unless they are called wall times."""

    job: Job
    id: str
    api: Api
    call: Call | Work | Deed
    errand: Errand
    received_wall: float
    # The record of the attempts, as it goes into the answer, and how many of them count against the job, in all rounds.
    attempts: list[dict[str, Any]]
    tried: int
    # When it may be served, and when it is too late.
    due: float
    expires: float
    # For who waits; one whose answer is known at once needs none.
    future: Future[Answer] = field(init=False)
    # For a job that asks for the cache: what came of that, its key there, and whether it calls for all that ask alike.
    cache_use: CacheUse | None = None
    cache_key: str | None = None
    # The limit of its named call, if that has one of its own.
    spacing: Spacing | None = None
    leads: bool = False
    # The call that the key is of, and an old answer that may do if it fails, or that it asks about.
    asked: Call | None = None
    known: Entry | None = None
    # Attempts made only to see whether a resting API is alive again.
    probes: int = 0
    probing: bool = False
    begun: bool = False
    # Its owner wants it back, to come again after so many seconds, rather than to be called.
    put_down: float | None = None
    hops: int = 0
    # Set by the queue: whether it has a place in the window, whether it waits in its lane, whether it will be taken
    # out of there when it expires, and the order of arrival.
    held: bool = False
    waiting: bool = False
    watched: bool = False
    seq: int = 0

    @classmethod
    def of(
        cls,
        job: Job,
        request_id: str,
        api: Api,
        call: Call | Work | Deed,
        errand: Errand,
        now: float,
        mono: float,
    ) -> Self:
        """Make the task of a job that is taken in at `now` (wall time) and `mono`."""
        received = errand.received or now
        waits = max((job.not_before or now) - now, received + (job.delay or 0.0) - now, 0.0)
        return cls(
            job,
            request_id,
            api,
            call,
            errand,
            received_wall=received,
            attempts=list(errand.attempts),
            tried=errand.tried,
            due=mono + waits,
            expires=inf if job.expires is None else mono + received + job.expires - now,
        )

    @property
    def limit(self) -> int:
        """Attempts of one round."""
        return self.job.attempts if self.job.attempts is not None else self.api.attempts

    @property
    def reprocess(self) -> Reprocess:
        """The rounds that follow when one is used up."""
        return self.job.reprocess if self.job.reprocess is not None else self.api.reprocess

    @property
    def timeout(self) -> float:
        """Seconds for the whole of one attempt."""
        return self.job.timeout if self.job.timeout is not None else self.api.timeout

    @property
    def ok(self) -> str:
        """Statuses that count as done."""
        return self.job.ok if self.job.ok is not None else self.api.ok

    @property
    def accepted(self) -> frozenset[int]:
        """Statuses with which an attempt succeeds: those, and that nothing has changed, if that was asked."""
        asks = self.known is not None and bool(self.known.conditions)
        return statuses(self.ok) | {NOT_MODIFIED} if asks else statuses(self.ok)

    def begin(self) -> bool:
        """Tell whether somebody still waits for the answer; from then on the future cannot be cancelled."""
        if self.future.done() and not self.future.cancelled():
            return False
        return self.future.running() or self.future.set_running_or_notify_cancel()

    @property
    def request(self) -> dict[str, str]:
        """What the job asks for, as its answer tells it."""
        if isinstance(self.call, Work | Deed):
            return self.call.request
        return {"method": self.call.method, "url": self.call.shown}

    def answer(
        self,
        status: Status,
        finished: float,
        response: Response | None = None,
        *,
        fault: Fault | None = None,
        problem: Problem | None = None,
    ) -> Answer:
        """Make the answer; `finished` is wall time."""
        if fault is not None:
            problem = Problem(fault.kind, fault.message, fault.uncertain)
        answer = Answer(
            self.id,
            status,
            api=self.api.name,
            request=self.request,
            response=response,
            cache=self.cache_use,
            attempts=self.attempts,
            received=self.received_wall,
            finished=finished,
            error=problem,
        )
        if self.job.select is not None and status == "done":
            answer.select(self.job.select)
        return answer

    def postponed(self, wait: float, end: Attempt | None = None, *, stopped: bool = False) -> Postponed:
        """Make what is given instead of an answer; `end` is the attempt that was cut off."""
        attempts = self.attempts if end is None else [*self.attempts, end.to_dict()]
        return Postponed(wait, attempts, self.tried, begun=self.begun, stopped=stopped)

    def resolve(self, outcome: Answer | Postponed) -> None:
        """Give the outcome to who waits for it. One that was given up may still come to its end; that end is void."""
        with suppress(InvalidStateError):
            if isinstance(outcome, Answer):
                self.future.set_result(outcome)
            else:
                self.future.set_exception(outcome)

    @property
    def log_fields(self) -> Mapping[str, Any]:
        """What every log line about this task begins with."""
        return {"id": self.id, "api": self.api.name}
