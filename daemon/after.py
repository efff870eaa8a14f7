"""Jobs that wait for others by name: who waits for whom, and how those have ended that somebody waits for.

A job that waits lies in deferred/ and is looked at again now and then; when the last one it waits for ends, at once. A
name that is waited for is a file in state/after/, empty until its job ends: then it says how, for whoever takes answers
away at once. What is in memory is only an index of this, and may be lost.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from inboxd.daemon import names
from inboxd.daemon.names import Claim
from inboxd.daemon.spool import Spool
from inboxd.jobs.faults import Invalid, Skipped

# Seconds after which a waiting job is looked at again, whatever the index says.
LOOK_AGAIN = 30.0
# Waiting jobs in the index; those beyond are found when they are looked at again.
INDEXED = 10_000
# How long the note of an end counts, for whoever may still wait for it; and how often old ones are looked for.
KEPT = 86400.0
SWEEP = 3600.0


FOLDER = "after"


class After:
    """Who waits for whom. The intake looks, the outbox tells of ends; `note` is told which files may go on."""

    def __init__(self, spool: Spool, note: Callable[[str], None], now: float) -> None:
        self._spool = spool
        self._note = note
        self._lock = threading.Lock()
        # By the name waited for: the files of those that wait. Of those from before a restart nothing is known yet.
        self._waiting: dict[str, set[str]] = {name: set() for name in os.listdir(spool.state(FOLDER))}
        self._sweep_at = now
        # By the name of a job that waits, and by its file: what is missing.
        self._missing: dict[str, dict[str, frozenset[str]]] = {}
        self._indexed = 0

    # -- the waiting side: on the intake's thread -----------------------------------------------------------

    def look(self, claim: Claim, wanted: Sequence[str]) -> list[str]:
        """Give the names that a job has still to wait for; it is told of later as soon as one of them has ended.

        Raises Skipped when one has ended otherwise than well, and Invalid when it would wait for itself.
        """
        self._forget(claim)
        missing = self._still_missing(claim, wanted)
        if missing:
            self._check_circle(claim, missing)
            self._await(claim, missing)
            # One may have ended just before somebody waited for it.
            missing = self._still_missing(claim, missing)
        if not missing:
            self._forget(claim)
        return missing

    def any_ended(self, missing: Sequence[str]) -> bool:
        """Tell whether one of those that were missing has ended by now."""
        return any(self._end_of(name) is not None for name in missing)

    def _still_missing(self, claim: Claim, wanted: Iterable[str]) -> list[str]:
        missing = []
        for name in dict.fromkeys(wanted):
            end = self._end_of(name)
            if end is None:
                missing.append(name)
            elif end[0] != "done":
                # Who asked over HTTP need not know why a job failed that did not come that way.
                status, why = end if names.is_posted(name) or not names.is_posted(claim.name) else (end[0], "")
                raise Skipped(f"{name}, which it waited for, {_words(status, why)}")
        return missing

    def _end_of(self, name: str) -> tuple[str, str] | None:
        """Say how the job of that name has ended, status and reason; None when it has not, or is about to end anew."""
        end = self._noted(name) or _answered(self._spool, name)
        return None if end is None or self._spool.is_pending(name) else end

    def _noted(self, name: str) -> tuple[str, str] | None:
        with suppress(OSError, ValueError):
            with open(self._path(name), "rb") as file:
                status, message = json.load(file)
            return status, message
        return None

    def _path(self, name: str) -> str:
        return os.path.join(self._spool.state(FOLDER), name)

    def _await(self, claim: Claim, missing: Sequence[str]) -> None:
        with self._lock:
            if self._indexed >= INDEXED:
                return
            self._indexed += 1
            self._missing.setdefault(claim.name, {})[claim.filename] = frozenset(missing)
            fresh = [name for name in missing if name not in self._waiting]
            for name in missing:
                self._waiting.setdefault(name, set()).add(claim.filename)
        for name in fresh:
            self._spool.disk.write(self._path(name), b"")

    def _forget(self, claim: Claim) -> None:
        with self._lock:
            for name in self._drop(claim.filename, claim.name):
                waiting = self._waiting.get(name)
                if waiting is not None:
                    waiting.discard(claim.filename)

    def _drop(self, filename: str, name: str) -> frozenset[str]:
        """Take a waiting job out of the index; gives what it waited for."""
        files = self._missing.get(name, {})
        missing = files.pop(filename, frozenset())
        self._indexed -= bool(missing)
        if not files:
            self._missing.pop(name, None)
        return missing

    def _check_circle(self, claim: Claim, missing: Sequence[str]) -> None:
        """Raise Invalid when one of those that are missing waits, over whatever others, for this job."""
        came_from: dict[str, str] = dict.fromkeys(missing, claim.name)
        todo = list(missing)
        while todo:
            name = todo.pop()
            if name == claim.name or names.is_below(name, claim.name):
                way = [name, came_from[name]]
                while way[-1] != claim.name:
                    way.append(came_from[way[-1]])
                raise Invalid(f"after: {', which waits for '.join(reversed(way))}; none of them could ever begin")
            fresh = [each for each in self._waited_for_by(name) if each not in came_from]
            came_from.update(dict.fromkeys(fresh, name))
            todo.extend(fresh)

    def _waited_for_by(self, name: str) -> list[str]:
        """Give what a job waits for, and what those above it in its tree do, which have to end before it begins."""
        with self._lock:
            return [
                wanted
                for above in names.and_above(name)
                for missing in self._missing.get(above, {}).values()
                for wanted in missing
            ]

    # -- the side that ends: on the outbox's thread -----------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Tell whether anybody waits for anything."""
        return bool(self._waiting)

    def stage(self, name: str, status: str, message: str) -> list[str]:
        """Note how a job ends, if somebody waits for it; gives the paths to be synced."""
        if name not in self._waiting:
            return []
        self._spool.disk.write(self._path(name), json.dumps([status, message]).encode())
        return [self._path(name)]

    def settled(self, name: str) -> None:
        """Let those go on that waited for a job which has ended; they look for themselves what else is missing."""
        with self._lock:
            woken = self._waiting.get(name, set())
            if name in self._waiting:
                self._waiting[name] = set()
            for filename in woken:
                claim = names.parse(filename)
                if claim is not None:
                    self._drop(filename, claim.name)
        for filename in woken:
            self._note(filename)

    def turn(self, now: float) -> None:
        """Forget the names that nobody has waited for in a long time; on the main thread."""
        if now < self._sweep_at:
            return
        self._sweep_at = now + SWEEP
        for name in os.listdir(self._spool.state(FOLDER)):
            with self._lock, suppress(OSError):
                if not self._waiting.get(name) and os.stat(self._path(name)).st_mtime < now - KEPT:
                    os.unlink(self._path(name))
                    self._waiting.pop(name, None)


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of one job, as a consequence of its answer, for those that wait for it."""

    after: After
    name: str
    status: str
    message: str

    def stage(self, _answer: bytes) -> list[str]:
        """Note the end where somebody waits for it."""
        return self.after.stage(self.name, self.status, self.message)

    def publish(self) -> None:
        """Leave it at that: the note is where it is looked for."""

    def settled(self) -> None:
        """Let those go on that waited."""
        self.after.settled(self.name)


def _answered(spool: Spool, name: str) -> tuple[str, str] | None:
    """Say how the newest answer of that name in the outbox reads; of a batch, its summary."""
    ends: list[tuple[str, str]] = []
    for data in spool.answers(name, batch=False):
        with suppress(ValueError, TypeError, KeyError):
            answer = json.loads(data)
            ends.append((str(answer["status"]), str((answer.get("error") or {}).get("message", ""))))
    for data in spool.answers(name, batch=True):
        with suppress(ValueError, TypeError, KeyError):
            bad = {status: count for status, count in json.loads(data)["statuses"].items() if status != "done"}
            ends.append(("failed" if bad else "done", ", ".join(f"{count} {status}" for status, count in bad.items())))
    return ends[-1] if ends else None


def _words(status: str, message: Any) -> str:
    return f"ended as {status}" + (f": {message}" if message else "")
