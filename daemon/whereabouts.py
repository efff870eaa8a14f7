"""Where a job is, what it waits for, and its answer: found by looking, in memory and in the folders.

A job moves while it is looked for, always from inbox/ towards outbox/, or back from deferred/ into active/; so the
folders are asked in that order, and twice before it is said that nobody knows the job.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from concurrent.futures import CancelledError
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
from inboxd.daemon.worker import UnderWay, Worker
from inboxd.jobs.faults import Invalid
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
    """Finds jobs, whoever dropped them. Every method looks at the disk, so none is for a thread that must not wait."""

    def __init__(self, spool: Spool, intake: Intake, worker: Worker) -> None:
        self._spool = spool
        self._intake = intake
        self._worker = worker

    def find(self, identifier: str) -> Found | None:
        """Find a job by its id, if it came over HTTP, or else by its file's name; None when nobody knows it."""
        for name in _names(identifier):
            found = self._look(name, identifier) or self._look(name, identifier)
            if found is not None:
                return found
        return None

    def known(self, wanted: frozenset[str]) -> set[str]:
        """Give those of the names under which there is a job or an answer; looks into each folder once for all."""
        spool = self._spool
        found = {name for name in wanted if spool.is_dropped(name) or name in self._worker.under_way}
        for folder in (spool.deferred, spool.active):
            if found != wanted:
                found |= spool.names_in(folder, wanted)
        return found | {name for name in wanted - found if spool.is_answered(name)}

    def cancel(self, identifier: str) -> Taken | None:
        """Take a job back; says what it was when that came too late, or None when nobody knows the job.

        Raises TimeoutError when the intake does not come to it.
        """
        deed = self._intake.deeds.ask(lambda now: self._cancel(identifier, now))
        try:
            return deed.result(PATIENCE)
        except (TooLate, CancelledError):
            raise TimeoutError("the intake is busy; try again") from None

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
            return Found(identifier, name, "inbox", "waits to be claimed")
        posted = self._intake.batches.posted(name)
        if posted is not None and SHARED.fullmatch(identifier):
            state = posted.state_of(identifier)
            if state is not None and state[0] != "answered":
                return Found(identifier, name, state[0], due=state[1])
        under_way = self._worker.under_way.get(name)
        if under_way is not None:
            return self._under_way(identifier, under_way)
        answer = self._answer_of(name, identifier)
        if answer is not None:
            return Found(identifier, name, _status(answer), answer=answer)
        return self._waiting(name, identifier)

    def _under_way(self, identifier: str, under_way: UnderWay) -> Found:
        name = under_way.claim.name
        try:
            api = self._worker.client.place(under_way.job)[1].name
        except Invalid:
            # The config has changed since.
            api = ""
        if under_way.future.running():
            return Found(identifier, name, "running", "is being called, or waits to be called again", api=api)
        return Found(identifier, name, "waiting", self.lane_in_words(api), api=api)

    def lane_in_words(self, api: str) -> str:
        """Say what the jobs of an API are waiting for."""
        state = self._worker.client.queue.states().get(api)
        if state is None:
            return "is about to be called"
        if state["rests_for"] > 0:
            why = f"after {state['faults']} faults in a row" if state["trips"] else "because the server said so"
            return f"{api} rests for {state['rests_for']:.0f} s {why}"
        return f"{state['waiting']} jobs of {api} wait, {state['running']} are being called"

    def _waiting(self, name: str, identifier: str) -> Found | None:
        """Look into deferred/ and active/, where a file's whole name is not known."""
        for folder, state, why in (
            (self._spool.deferred, "deferred", "waits for its time, or for room"),
            (self._spool.active, "waiting", "is claimed, and about to be called"),
        ):
            claim = self._spool.claim_of(folder, name)
            if claim is not None:
                due = None
                with suppress(OSError):
                    due = os.stat(os.path.join(folder, claim.filename)).st_mtime if state == "deferred" else None
                return Found(identifier, name, state, why, due)
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

    def _cancel(self, identifier: str, now: float) -> Taken | None:
        """Take a job back, on the intake's thread."""
        for name in _names(identifier):
            taken = self._cancel_named(name, identifier, now)
            if taken is not None:
                return taken
        return None

    def _cancel_named(self, name: str, identifier: str, now: float) -> Taken | None:
        posted = self._intake.batches.posted(name)
        if posted is not None:
            return posted.cancel(identifier)
        under_way = self._worker.under_way.get(name)
        if under_way is not None:
            return "cancelled" if under_way.future.cancel() else "running"
        claim = self._take(name)
        if claim is not None:
            if claim.kind == ".jsonl" and SHARED.fullmatch(identifier):
                return self._intake.batches.cancel_one(claim, identifier, now)
            self._worker.cancel(claim, now)
            return "cancelled"
        if self._spool.claim_of(self._spool.active, name) is not None:
            return "running"
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
