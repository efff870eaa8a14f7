"""Dropping a job as any program may, only more carefully; and waiting for its answer.

Nothing is imported here that takes time to load: people call `inboxd drop` in loops.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from dataclasses import dataclass
from typing import Any

from inboxd.daemon import names
from inboxd.daemon.spool import Spool
from inboxd.jobs.ids import uuid7

# Seconds between two looks at the outbox: as short as is polite, for the answer may be there in milliseconds.
FIRST_LOOK, LAST_LOOK = 0.002, 0.05
# Exit status by the answer's status; any other ended badly.
EXIT = {"done": 0, "rejected": 2}
LATE = 3
NO_SPOOL = "no spool here; start `inboxd run` once, or name one with --spool"


class DropError(Exception):
    """The job could not be dropped; the message says why."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """What was dropped: where, under which name, of which kind, and when (wall time)."""

    spool: Spool
    name: str
    kind: str
    at: float


def drop_file(folder: str, path: str, name: str | None) -> Dropped:
    """Put the file at `path` (- for standard input) into the inbox, complete or not at all; raises DropError."""
    spool = Spool(folder)
    stem, kind = os.path.splitext(os.path.basename(path))
    kind = kind.lower() if kind.lower() in {".json", ".jsonl"} else ".json"
    name = name or (f"job-{uuid7()}" if path == "-" else stem)
    trouble = names.trouble(name)
    if trouble is None and ("/" in name or not names.is_job(name + kind)):
        trouble = 'a name that holds a "/" or begins with a dot is passed over; choose another with --name'
    if trouble:
        raise DropError(f"{name}: {trouble}")
    data = _read(path)
    # Taken as late as can be: an answer counts as ours from here on, and standard input may take its time.
    at = time.time()
    try:
        spool.drop(name + kind, data)
    except FileExistsError:
        raise DropError(f"a job called {name} is still in the inbox; wait for it, or choose another --name") from None
    except FileNotFoundError:
        raise DropError(f"{folder}: {NO_SPOOL}") from None
    except OSError as error:
        raise DropError(f"{spool.inbox}: cannot be dropped into: {error.strerror}") from None
    return Dropped(spool, name, kind, at)


def _read(path: str) -> bytes:
    try:
        if path == "-":
            return sys.stdin.buffer.read()
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise DropError(f"{path}: cannot be read: {error.strerror}") from None


def wait_for(dropped: Dropped, timeout: float | None) -> tuple[bytes | None, int]:
    """Wait for the answer; gives it, or None when it is late, and the exit status. Raises OSError."""
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    pause = FIRST_LOOK
    while True:
        found = _find(dropped)
        if found is not None:
            return found
        left = deadline - time.monotonic()
        if left <= 0:
            return None, LATE
        time.sleep(min(pause, left))
        pause = min(pause * 1.2, LAST_LOOK)


def _find(dropped: Dropped) -> tuple[bytes, int] | None:
    """Look for the answer of just this drop, not an older one of the same name."""
    spool = dropped.spool
    for data in spool.answers(dropped.name, batch=False):
        answer = _decode(data)
        if _is_ours(answer.get("claim"), dropped):
            return data, EXIT.get(answer["status"], 1)
    # A .json file that holds an array of jobs is a batch too, and a .jsonl that cannot be read is none.
    for data in spool.answers(dropped.name, batch=True):
        summary = _decode(data)
        token = summary.get("id") if "statuses" in summary else None
        # The summary appears a moment before the answers that it sums up.
        if _is_ours(token, dropped) and not any(part.token == token for part in spool.parts()):
            return data, EXIT["done"] if set(summary["statuses"]) <= {"done"} else 1
    return None


def _decode(data: bytes) -> dict[str, Any]:
    """Read an answer; what somebody else put into the outbox under its name is none."""
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _is_ours(token: object, dropped: Dropped) -> bool:
    """Tell whether a job of this token was claimed after the drop; tokens count in whole milliseconds."""
    try:
        return names.claimed_at(str(token)) >= dropped.at - 0.001
    except ValueError:
        return False
