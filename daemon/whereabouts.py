"""Where a job is, what it waits for, and its answer: found by looking, in memory and in the folders.

A job moves while it is looked for, from inbox/ towards outbox/, or between deferred/ and active/; so the folders are
asked in that order, with those between active/ and outbox/, and twice where one may have gone back meanwhile.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as TooLate
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson

from inboxd.daemon import names
from inboxd.daemon.intake import Intake
from inboxd.daemon.names import SHARED, Claim
from inboxd.daemon.posted import Taken
from inboxd.daemon.settlement import PART
from inboxd.daemon.spool import Spool
from inboxd.daemon.why import Seen, is_called, job_of, reason
from inboxd.daemon.worker import Worker
from inboxd.jobs.api import Api
from inboxd.jobs.faults import Invalid
from inboxd.jobs.job import Job, parse
from inboxd.jobs.result import isotime

# What can be a job's name or a file's in the outbox; nothing that leads out of the folder, and nothing hidden.
_NAME = re.compile(r"[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]{0,240}")
# Seconds that the intake gets to take a job back: it may be in the middle of a turn.
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Found:
    """A job that is known: its file's name, what it does, since or until when and why, or its answer as JSON."""

    id: str
    name: str
    state: str
    why: str = ""
    due: float | None = None
    api: str | None = None
    answer: bytes | None = None

    def to_json(self) -> bytes:
        """Give it as one JSON object."""
        shown: dict[str, Any] = {"id": self.id, "name": self.name, "state": self.state}
        if self.why:
            shown["why"] = self.why
        if self.api is not None:
            shown["api"] = self.api
        if self.due is not None:
            shown["due"] = isotime(self.due)
        if self.answer is not None:
            shown["answer"] = orjson.Fragment(self.answer.strip())
        return orjson.dumps(shown)


def is_name(text: str) -> bool:
    """Tell whether a file of a folder could be called so, and nothing else."""
    return _NAME.fullmatch(text) is not None


class Whereabouts:
    """Finds jobs, whoever dropped them. Every method looks at the disk, so none is for a thread that must not wait.

    `status` says how the daemon goes, at a wall time.
    """

    def __init__(self, spool: Spool, intake: Intake, worker: Worker, status: Callable[[float], dict[str, Any]]) -> None:
        self._spool = spool
        self._intake = intake
        self._worker = worker
        self._status = status

    def find(self, identifier: str) -> Found | None:
        """Find a job by its id, if it came over HTTP, or else by its file's name; None when nobody knows it."""
        for name in _names(identifier):
            found = self._look(name, identifier)
            if found is None and name in self._spool.leaving:
                found = Found(identifier, name, "running", "its answer is on its way")
            found = found or self._look(name, identifier)
            if found is not None:
                return found
        return None

    def known(self, wanted: frozenset[str]) -> set[str]:
        """Give those of the names under which there is a job or an answer; looks into each folder once for all.

        A key's name is known as long as one of the jobs is that came first under it.
        """
        before = self._spool.put_off
        found = self._seen(wanted)
        return found if found == wanted or before == self._spool.put_off else found | self._seen(wanted)

    def _seen(self, wanted: frozenset[str]) -> set[str]:
        spool = self._spool
        found = {name for name in wanted if spool.is_dropped(name) or name in self._worker.under_way}
        for folder in (spool.deferred, spool.active):
            if found != wanted:
                found |= spool.names_in(folder, wanted)
        found |= wanted & spool.leaving
        found |= {name for name in wanted - found if spool.is_answered(name)}
        return found | {name for name in wanted - found if self._is_key(name)}

    def _is_key(self, name: str) -> bool:
        """Tell whether there is a job, or an answer, of what came first under the key of that name."""
        first = self._spool.first(name)
        others = frozenset(first.names) - {name} if first is not None else frozenset[str]()
        return bool(others and self.known(others))

    def cancel(self, identifier: str) -> Taken | None:
        """Take a job back; says what it was when that came too late, or None when nobody knows the job.

        Raises TimeoutError when the intake does not come to it.
        """
        try:
            for _ in range(2):
                taken = self._intake.deeds.ask(lambda now: self._cancel(identifier, now)).result(PATIENCE)
                if not isinstance(taken, Future):
                    return taken
                # Another process has it; once it has come back from there it is asked for as any other.
                taken.result(PATIENCE)
        except (TooLate, CancelledError):
            raise TimeoutError("the intake is busy; try again") from None
        return "running"

    def answer(self, name: str) -> bytes | None:
        """Give the latest answer of that name as it lies in the outbox, of a batch its summary."""
        if not is_name(name):
            return None
        found = None
        for batch in (False, True):
            for data in self._spool.answers(name, batch=batch):
                found = data
        return found

    def body(self, name: str) -> str | None:
        """Give the path of the body that belongs to the latest answer of that name."""
        data = self.answer(name)
        with suppress(ValueError, AttributeError, FileNotFoundError):
            filename = orjson.loads(data or b"null").get("response", {}).get("file")
            if isinstance(filename, str) and is_name(filename):
                path = self._spool.body(filename)
                return path if stat.S_ISREG(os.lstat(path).st_mode) else None
        return None

    # -- looking ----------------------------------------------------------------------------------------------

    def _look(self, name: str, identifier: str) -> Found | None:
        if self._spool.is_dropped(name):
            return self._in_inbox(name, identifier)
        posted = self._intake.batches.posted(name)
        if posted is not None and SHARED.fullmatch(identifier):
            line = posted.waiting(identifier)
            if line is not None:
                job, api = self._placed(line.data)
                return self._found(identifier, posted.claim, line.token, job, api, line.due)
        under_way = self._worker.under_way.get(name)
        if under_way is not None:
            claim = under_way.claim
            return self._found(identifier, claim, claim.token, under_way.job, self._api_of(under_way.job))
        answer = self._answer_of(name, identifier)
        if answer is not None:
            return Found(identifier, name, _status(answer), answer=answer)
        return self._claimed(name, identifier)

    def _in_inbox(self, name: str, identifier: str) -> Found:
        seen = Seen("inbox", f"{name}.json", name, beside=len(os.listdir(self._spool.inbox)))
        seen.mtime = self._worker.clock.wall()
        for kind in (".json", ".jsonl"):
            with suppress(OSError):
                seen.mtime = os.stat(os.path.join(self._spool.inbox, name + kind)).st_mtime
        return Found(identifier, name, "inbox", self._why(seen))

    def _claimed(self, name: str, identifier: str) -> Found | None:
        """Look into deferred/ and active/, where a file's whole name is not known."""
        apis = self._worker.client.apis
        for folder in (self._spool.deferred, self._spool.active):
            claim = self._spool.claim_of(folder, name)
            if claim is not None:
                path, due = os.path.join(folder, claim.filename), None
                with suppress(OSError):
                    due = os.stat(path).st_mtime if folder == self._spool.deferred else None
                return self._found(identifier, claim, claim.token, *job_of(path, apis), due)
        return None

    def _found(
        self, identifier: str, claim: Claim, token: str, job: Job | None, api: Api | None, due: float | None = None
    ) -> Found:
        """Say of a claimed job what it does and why; `due` when it waits for its time."""
        folder = "active" if due is None else "deferred"
        seen = Seen(folder, claim.filename, claim.name, claim, due or 0.0, job=job, api=api)
        seen.called = is_called(self._spool, token)
        seen.unwanted = claim.token in self._worker.unwanted
        seen.ahead = 0 if api is None else self._worker.client.queue.ahead(api.name, token)
        state = "running" if seen.called else "waiting" if due is None else "deferred"
        return Found(identifier, claim.name, state, self._why(seen), due, api.name if api else None)

    def _why(self, seen: Seen) -> str:
        now = self._worker.clock.wall()
        seen.runs, seen.daemon = True, self._status(now)
        seen.paused = seen.api is not None and seen.api.name in seen.daemon["paused"]
        return reason(seen, now)

    def _placed(self, data: bytes) -> tuple[Job | None, Api | None]:
        with suppress(Invalid):
            return self._worker.client.place(parse(data))
        return None, None

    def _api_of(self, job: Job) -> Api | None:
        # The config may have changed since.
        with suppress(Invalid):
            return self._worker.client.place(job)[1]
        return None

    # -- answers ----------------------------------------------------------------------------------------------

    def _answer_of(self, name: str, identifier: str) -> bytes | None:
        if SHARED.fullmatch(identifier) is None:
            return self.answer(name)
        begins = names.id_first(identifier)
        lines = self._spool.batch_answers(name)
        posted = self._intake.batches.posted(name)
        if posted is not None:
            lines = chain(lines, self._spool.read_part(posted.claim, PART))
        # After a retry there are several; the last is the one that counts.
        return max(enumerate(line for line in lines if line.startswith(begins)), default=(0, None))[1]

    # -- taking back --------------------------------------------------------------------------------------------

    def _cancel(self, identifier: str, now: float) -> Taken | Future[bool] | None:
        """Take a job back, on the intake's thread."""
        for name in _names(identifier):
            taken = self._cancel_named(name, identifier, now)
            if taken is not None:
                return taken
        return None

    def _cancel_named(self, name: str, identifier: str, now: float) -> Taken | Future[bool] | None:
        posted = self._intake.batches.posted(name)
        if posted is not None:
            return posted.cancel(identifier)
        under_way = self._worker.under_way.get(name)
        if under_way is not None:
            return "cancelled" if under_way.future.cancel() else "running"
        claim = self._take(name) or self._intake.take_out(name)
        if claim is not None:
            if claim.kind == ".jsonl" and SHARED.fullmatch(identifier):
                return self._intake.batches.cancel_one(claim, identifier, now)
            self._worker.cancel(claim, now)
            return "cancelled"
        elsewhere = self._spool.claim_of(self._spool.active, name)
        if elsewhere is not None:
            crew = self._worker.crew
            return (crew.recall(elsewhere.token) if crew is not None else None) or "running"
        return "answered" if self._answer_of(name, identifier) is not None else None

    def _take(self, name: str) -> Claim | None:
        """Claim a file that waits in inbox/ or deferred/."""
        for kind in (".json", ".jsonl"):
            claim = self._spool.claim(name + kind)
            if claim is not None:
                return claim
        waiting = self._spool.claim_of(self._spool.deferred, name)
        return None if waiting is None else self._spool.reclaim(waiting.filename)


def _names(identifier: str) -> Iterator[str]:
    """Give the names that a job may have: as it came over HTTP, and as a file that somebody dropped."""
    shared = SHARED.fullmatch(identifier)
    yield names.of_posted(shared["token"] if shared else identifier)
    if shared is None and is_name(identifier):
        yield identifier


def _status(answer: bytes) -> str:
    """Give the status of an answer; of a batch's summary, that it is through."""
    try:
        return str(orjson.loads(answer).get("status", "done"))
    except (ValueError, AttributeError):
        return "done"
