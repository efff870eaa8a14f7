"""Jobs that are dropped twice: one with a known id is answered from the first one's answer, and marked.

Known is an id under which a job was done within the window: its answer lies in state/seen/, stamped with its time. One
that did not end well is called again, which is what dropping it again is for. While the first is still on its way the
second waits for it; that is known in memory only, so that after a restart both may be called, under the same
Idempotency-Key.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from inboxd.cache.entry import Entry
from inboxd.cache.store import Store
from inboxd.daemon.names import Claim, is_posted
from inboxd.jobs.result import Answer

# Ids on their way that are remembered; of more, a second job may be called as well.
UNDER_WAY = 10_000

_STRING = rb'"(?:[^"\\]|\\.)*"'
# How an answer of ours begins: with what is its own, whoever gave it.
_HEAD = re.compile(rb'\{"id":' + _STRING + rb',"name":' + _STRING + rb',"claim":' + _STRING)


class Repeated(Answer):
    """The answer to a job that was answered before: the first one's but for name and claim, and marked."""

    first: bytes
    repeats: str

    def to_json(self, file: str | None = None) -> bytes:  # noqa: ARG002  # the first one's body is where it was
        """Give the first one's answer under another name."""
        own = {"id": self.id, "name": self.name, "claim": self.claim, "repeats": self.repeats}
        head = json.dumps(own, ensure_ascii=False, separators=(",", ":"))[:-1].encode()
        return _HEAD.sub(lambda _: head, self.first, count=1)


class Repeats:
    """What was done within the last `window` seconds, and what is on its way. `note` is told which files may go on."""

    def __init__(self, folder: str, window: float, note: Callable[[str], None]) -> None:
        self.window = window
        self._store = Store(folder)
        self._note = note
        self._lock = threading.Lock()
        # By key: the token of the one on its way, and the files of those that wait for its answer.
        self._under_way: dict[str, tuple[str, set[str]]] = {}

    def known(self, identifier: str, claim: Claim, now: float) -> Repeated | None:
        """Give the answer to a job of a known id, unless what is known is its own answer, which a crash has undone."""
        entry = self._store.get(_key(identifier, claim), now) if self.window else None
        if entry is None:
            return None
        answer: dict[str, Any] = json.loads(entry.body)
        if answer["claim"] == claim.token:
            return None
        found = Repeated(identifier, "done", api=answer.get("api"), received=now, finished=now)
        found.first, found.repeats = entry.body, answer["claim"]
        return found

    def begin(self, identifier: str, claim: Claim) -> bool:
        """Say whether a job may be called; if not, `note` is told when the one of its id on its way has ended."""
        key = _key(identifier, claim)
        with self._lock:
            token, waiting = self._under_way.get(key, (claim.token, set()))
            if token != claim.token:
                waiting.add(claim.filename)
                return False
            if self.window and len(self._under_way) < UNDER_WAY:
                self._under_way[key] = (token, waiting)
            return True

    def put(self, identifier: str, claim: Claim, answer: bytes, now: float) -> None:
        """Remember the answer of a job that was done."""
        about = {"id": identifier, "name": claim.name}
        self._store.put(_key(identifier, claim), Entry(now, now + self.window, about, 0, {}, answer))

    def end(self, identifier: str, claim: Claim) -> None:
        """Let those go on that waited for a job, which has ended."""
        key = _key(identifier, claim)
        with self._lock:
            if self._under_way.get(key, ("", set()))[0] != claim.token:
                return
            waiting = self._under_way.pop(key)[1]
        for filename in waiting:
            self._note(filename)


@dataclass(frozen=True, slots=True)
class Remembered:
    """The end of a job with an id of its own, as a consequence of its answer."""

    repeats: Repeats
    claim: Claim
    answer: Answer
    now: float

    def stage(self, answer: bytes) -> list[str]:
        """Remember the answer, if the job was done; a power cut may take that, and then it is called again."""
        if self.answer.ok:
            self.repeats.put(self.answer.id, self.claim, answer, self.now)
        return []

    def publish(self) -> None:
        """Leave it at that."""

    def settled(self) -> None:
        """Let others of the same id go on."""
        self.repeats.end(self.answer.id, self.claim)


def _key(identifier: str, claim: Claim) -> str:
    """Give what an id is known by: those of jobs that came over HTTP, which anybody may choose, are apart."""
    whose = "http" if is_posted(claim.name) else "file"
    return hashlib.sha256(f"{whose} {identifier}".encode()).hexdigest()
