"""How one job file ends: answered, or deferred with its trace.

Each is a Settlement in two halves. `stage` writes all that is to appear into state/staged/; `settle` lets the
job leave active/ first and then moves the staged files to their places, so that after a crash a staged answer whose
job is gone only needs to be moved, and one whose job is still there is either whole or worthless.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from inboxd.daemon.names import Claim
from inboxd.daemon.spool import Spool, Unfit
from inboxd.jobs.result import Answer, isotime

log = logging.getLogger("inboxd.outbox")

# Suffixes of what is staged under a job's token; FAILED comes after the job's own. The answers of a batch are staged in
# the outbox itself, as PART.
ANSWER, BODY, FAILED, DEFERRED, SUMMARY = ".json", ".body", ".failed", ".deferred", ".summary.json"
SINGLE, LINES, PART = ".json", ".jsonl", ".jsonl.part"


LONGEST_ATTACHMENT = 200
# Of a job that is read again to get its trace: more than any limit that makes sense for a job.
LARGEST = 64 * 1024 * 1024


class Consequence(Protocol):
    """Something else that the end of a job leads to; it becomes durable and takes effect together with the answer."""

    def stage(self, answer: bytes) -> list[str]:
        """Write what is to appear, which follows from the answer's JSON; gives the paths to be synced."""

    def publish(self) -> None:
        """Let it appear, just before the answer does."""

    def settled(self) -> None:
        """Take note that all of it is durable and visible."""


@dataclass(slots=True, eq=False)
class Answered:
    """The end of a single job."""

    spool: Spool
    claim: Claim
    answer: Answer
    attachments: tuple[str, ...] = ()
    consequences: Sequence[Consequence] = ()
    # What the body will be called in the outbox, if it gets a file of its own.
    file: str | None = None
    # Whether there is a copy for failed/, with its trace; if not, the job goes there as it is.
    copied: bool = False

    def stage(self) -> list[str]:
        """Write the answer, its body and the copy for failed/."""
        spool, claim, response = self.spool, self.claim, self.answer.response
        paths = []
        if response is not None and (response.side is not None or response.binary):
            if response.side is not None:
                response.side.flush()
                paths.append(spool.staging(claim.token, BODY))
            else:
                paths.append(spool.stage(claim, BODY, response.body))
            self.file = self.file or spool.promise(claim.name, BODY, ANSWER)
        copy = None if self.answer.ok else failed_copy(spool, self.claim, self.answer)
        self.copied = copy is not None
        if copy is not None:
            paths.append(spool.stage(claim, claim.kind + FAILED, copy))
        data = self.answer.to_json(self.file)
        for consequence in self.consequences:
            paths.extend(consequence.stage(data))
        paths.append(spool.stage(claim, ANSWER, data + b"\n"))
        return paths

    def settle(self) -> None:
        """Take the job out of active/ and publish."""
        self.spool.leaving.add(self.claim.name)
        if self.answer.response is not None and self.answer.response.side is not None:
            self.answer.response.side.close()
        if self.answer.ok or self.copied:
            self.spool.remove(self.claim)
        else:
            self.spool.set_aside(self.claim, self.claim.kind + FAILED)
        for consequence in self.consequences:
            consequence.publish()
        leftover = leaves_a_body(self.answer)
        publish(
            self.spool,
            self.claim,
            self.attachments,
            self.file,
            ok=self.answer.ok,
            renamed=self.copied,
            leftover=leftover,
        )

    def settled(self) -> None:
        """Log the end of the job."""
        log_answer(self.answer)
        for consequence in self.consequences:
            consequence.settled()
        self.spool.tell(self.claim.name, None, self.answer)


def leaves_a_body(answer: Answer) -> bool:
    """Tell whether the beginning of a body may be staged: by an attempt that failed, and was perhaps not the last."""
    return len(answer.attempts) > 1 or not answer.ok


def publish(
    spool: Spool,
    claim: Claim,
    attachments: tuple[str, ...],
    file: str | None,
    *,
    ok: bool,
    renamed: bool,
    leftover: bool = True,
) -> None:
    """Move what is staged for a job that has left active/ to its places; the answer, which names `file`, comes last.

    `renamed`: the copy for failed/ asks for its attachments by their names there. `leftover`: without a `file`, there
    may still be the beginning of a body.
    """
    token, name = claim.token, claim.name
    if ok:
        spool.discard(claim, attachments)
    else:
        for attachment in attachments:
            spool.release(claim, attachment, failed_name(claim, attachment) if renamed else attachment)
        spool.publish_failed(claim, FAILED)
    if file is None and leftover:
        spool.unstage(token, BODY)
    elif file is not None:
        spool.publish(spool.staging(token, BODY), spool.outbox, file.removesuffix(BODY), BODY)
    spool.publish(spool.staging(token, ANSWER), spool.outbox, name, ANSWER)
    spool.leaving.discard(name)


def publish_batch(spool: Spool, claim: Claim) -> None:
    """Move what is staged for a batch that has left active/ to its places; the answers come last."""
    failed = spool.staging(claim.token, claim.kind + FAILED)
    attachments = spool.attachments_of(claim.token)
    if os.path.lexists(failed):
        for attachment in attachments:
            spool.release(claim, attachment, attachment)
        spool.publish_failed(claim, FAILED)
    else:
        spool.discard(claim, attachments)
    summary = spool.staging(claim.token, SUMMARY)
    # A crash may have come between the two; then the summary stands where the answers are to go.
    stem = spool.free_stem(claim.name, (LINES, SUMMARY) if os.path.lexists(summary) else (LINES,))
    spool.publish(summary, spool.outbox, stem, SUMMARY)
    spool.publish(spool.part(claim, PART), spool.outbox, stem, LINES)
    spool.leaving.discard(claim.name)


@dataclass(slots=True, eq=False)
class Deferral:
    """A job that has to wait longer than memory should hold it, with what has happened to it so far."""

    spool: Spool
    claim: Claim
    due: float
    request_id: str
    received: float
    tried: int
    attempts: list[dict[str, Any]]
    # Told when the file lies in deferred/: its name and its time.
    note: Callable[[str, float], None]

    def stage(self) -> list[str]:
        """Write the job with its trace, due at its time."""
        trace = trace_of(self.request_id, self.received, self.tried, self.attempts)
        copy = with_trace(self.spool, self.claim, trace)
        if copy is None:
            return []
        path = self.spool.stage(self.claim, DEFERRED, copy)
        self.spool.disk.set_mtime(path, self.due)
        return [path]

    def settle(self) -> None:
        """Put the job with its trace into deferred/, and only then take the one without out of active/."""
        self.spool.postpone(self.claim, DEFERRED)
        self.spool.unstage(self.claim.token, BODY)

    def settled(self) -> None:
        """Log until when the job waits."""
        fields = {"id": self.request_id, "name": self.claim.name, "due": isotime(self.due)}
        log.info("deferred", extra={"fields": fields})
        self.note(self.claim.filename, self.due)


def trace_of(request_id: str, received: float, tried: int, attempts: list[dict[str, Any]]) -> dict[str, Any]:
    """Give what a file carries of its own history, like the Received lines of a mail."""
    return {"id": request_id, "received": isotime(received), "tried": tried, "attempts": attempts}


def failed_name(claim: Claim, attachment: str) -> str:
    """Give the name in failed/ of an attachment: the job's own, or a second job's photo.png would take its place."""
    own = f"{claim.name}.{claim.token[-8:]}."
    bare = re.sub(rf"^{re.escape(claim.name)}\.[0-9a-f]{{8}}\.", "", attachment)
    return (own + bare)[:LONGEST_ATTACHMENT]


def _renamed(job: dict[str, Any], spool: Spool, claim: Claim) -> None:
    """Let a job ask for its attachments by their names in failed/."""
    parts: list[Any] = [job]
    if isinstance(job.get("multipart"), dict):
        for given in job["multipart"].values():
            parts.extend(given if isinstance(given, list) else [given])
    for part in parts:
        if isinstance(part, dict) and isinstance(part.get("file"), str):
            part["file"] = failed_name(claim, part["file"])
    if isinstance(job.get("with"), dict):
        # Which argument of a call names a file, its definition says; that such a file came along is enough here.
        taken = spool.attachments_of(claim.token)
        for name, value in job["with"].items():
            if isinstance(value, str) and value in taken:
                job["with"][name] = failed_name(claim, value)


def failed_copy(spool: Spool, claim: Claim, answer: Answer) -> bytes | None:
    """Give the dropped job with its trace, ready to be dropped again; None when it must stay as it was."""
    if answer.status == "rejected":
        return None
    return with_trace(spool, claim, trace_of(answer.id, answer.received, 0, answer.attempts), failed=True)


def with_trace(spool: Spool, claim: Claim, trace: dict[str, Any], *, failed: bool = False) -> bytes | None:
    """Read a claimed job and add its trace; None when it is gone by now, or no job any more: somebody wrote on."""
    try:
        text = spool.read(claim, LARGEST)[1].decode("utf-8-sig")
        job = json.loads(text)
    except (FileNotFoundError, Unfit, ValueError, RecursionError):
        return None
    if not isinstance(job, dict):
        return None
    job["trace"] = trace
    if failed:
        _renamed(job, spool, claim)
    # Written by hand on several lines, it stays readable; written by a program on one, it stays one.
    copy = json.dumps(job, ensure_ascii=False, indent=2 if "\n" in text.strip() else None)
    # Half a character can stand in JSON only as the escape that it came as.
    return copy.encode(errors="backslashreplace") + b"\n"


def log_answer(answer: Answer) -> None:
    """Write the last line of a job's life into the log."""
    log.info("answered", extra={"fields": answer_fields(answer)})


def answer_fields(answer: Answer) -> dict[str, Any]:
    """Give what the log says of an answer."""
    return {
        "id": answer.id,
        "name": answer.name,
        "line": answer.line,
        "api": answer.api,
        "status": answer.status,
        "http": (answer.response.status or None) if answer.response else None,
        "attempts": len(answer.attempts),
        "cache": answer.cache,
        "fault": answer.error.kind if answer.error else None,
        "error": answer.error.message if answer.error else None,
        "ms": round((answer.finished - answer.received) * 1000, 1),
    }
