"""What follows a job, as files: staged beside its answer, and at their places before the answer is.

A staged child is called TOKEN~2~TOKEN.child, by its parent's token, its place in the tree and its own token; the latter
comes from the first two and the parent's end, so that whoever stages it again stages the same. What will never run is
staged in the same way as the answer that it gets. Nothing of it counts before the parent has left active/.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from inboxd.daemon.after import After
from inboxd.daemon.names import TOKEN, Claim
from inboxd.daemon.spool import Spool
from inboxd.jobs.ids import uuid7
from inboxd.jobs.job import Job, instant
from inboxd.jobs.result import Answer
from inboxd.jobs.tree import Child, follow

CHILD, ENDED = ".child", ".ended"
_STAGED = re.compile(rf"{TOKEN}(?P<suffix>~.+)~(?P<own>[0-9a-f-]{{36}})(?P<kind>{CHILD}|{ENDED})")


@dataclass(slots=True, eq=False)
class Children:
    """Those that follow one job. `born` is told of each that is to run, when it lies where it waits."""

    spool: Spool
    claim: Claim
    job: Job
    born: Callable[[Claim], None]
    after: After
    staged: list[str] = field(default_factory=list)

    def stage(self, answer: bytes) -> list[str]:
        """Write everything that follows from the JSON of an answer; gives the paths, to be synced."""
        self.staged = stage(self.spool, self.claim, self.job, json.loads(answer))
        notes = [path for filename in self.staged for path in self._note(filename)]
        return [*notes, *(os.path.join(self.spool.staged, filename) for filename in self.staged)]

    def _note(self, filename: str) -> list[str]:
        """Note the end of a child that will not run, where somebody waits for it."""
        child, runs = _read(filename, self.claim.name)
        return [] if runs else self.after.stage(child.name, "skipped", f"it follows {self.claim.name}")

    def publish(self) -> None:
        """Put all of it to its places; the job has left active/."""
        publish(self.spool, self.claim.name, self.staged)

    def settled(self) -> None:
        """Tell of those that are to run."""
        for filename in self.staged:
            child, runs = _read(filename, self.claim.name)
            if runs:
                self.born(child)
            else:
                self.after.settled(child.name)


def stage(spool: Spool, claim: Claim, job: Job, answer: dict[str, Any]) -> list[str]:
    """Write everything that follows from an answer into state/staged/; gives the file names."""
    at = instant(answer["finished"])
    root = job.tree.root if job.tree is not None else claim.token
    filenames = []
    for child in follow(job, answer):
        token = child_token(claim.token, child.suffix, at)
        filename = f"{claim.token}{child.suffix}~{token}{ENDED if child.job is None else CHILD}"
        data = _answer(claim.name, child, token, root, at) if child.job is None else _written(child.job)
        spool.disk.write(os.path.join(spool.staged, filename), data + b"\n")
        filenames.append(filename)
    return filenames


def _written(job: dict[str, Any]) -> bytes:
    """Write a job as ASCII: numbers of any size and halves of characters, which others wrote, must come through."""
    return json.dumps(job, separators=(",", ":")).encode()


def _answer(name: str, child: Child, token: str, root: str, at: float) -> bytes:
    answer = Answer(child.id or token, child.status, name + child.suffix, claim=token, root=root)
    answer.received = answer.finished = at
    answer.error = child.problem
    return answer.to_json()


def publish(spool: Spool, name: str, filenames: Sequence[str]) -> None:
    """Put what is staged under these names to its places; what is not there any more is there already."""
    for filename in filenames:
        child, runs = _read(filename, name)
        folder, stem = (spool.deferred, f"{child.name}~{child.token}") if runs else (spool.outbox, child.name)
        spool.publish(os.path.join(spool.staged, filename), folder, stem, child.kind)


def left_behind(spool: Spool) -> dict[str, list[str]]:
    """Give the names of all staged children by the token of their parent."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for filename in sorted(os.listdir(spool.staged)):
        match = _STAGED.fullmatch(filename)
        if match is not None:
            found[match["token"]].append(filename)
    return found


def _read(filename: str, name: str) -> tuple[Claim, bool]:
    """Give the claim that a staged file is to have as a child of `name`, and whether it is a job to be carried out."""
    match = _STAGED.fullmatch(filename)
    assert match is not None
    return Claim(name + match["suffix"], match["own"], ".json"), match["kind"] == CHILD


def child_token(parent: str, suffix: str, at: float) -> str:
    """Give the token of a child whose parent ended at `at` (wall time): always the same for the same."""
    return uuid7(at, hashlib.sha256(f"{parent}{suffix}".encode()).digest())
