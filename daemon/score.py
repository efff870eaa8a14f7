"""The score of a batch: which of its lines are answered, and how; from it comes the summary.

One byte of memory is kept for each line. What stands in the answers of an earlier run is counted again at a start.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import orjson

from inboxd.daemon.names import Claim
from inboxd.jobs.ids import time_of
from inboxd.jobs.result import isotime

FIRST_ERRORS = 10
_UNANSWERED, _DONE, _NOT_DONE = 0, 1, 2

# Our own answers, of which only this is needed; quotes inside values are escaped, so nothing else can look like it.
_ANSWERED = re.compile(rb'"line":(\d+),"status":"(\w+)"')


class Score:
    """How it stands. Lines count from 1, as editors count them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._by_line = bytearray(1)
        self._first_errors: list[dict[str, Any]] = []

    def recall(self, answers: Iterable[bytes]) -> int:
        """Count the answers of earlier runs; gives the size up to which they are whole."""
        size = 0
        for data in answers:
            match = _ANSWERED.search(data)
            if not data.endswith(b"\n") or match is None:
                # Torn by a crash; it is cut off before the next answer is appended.
                break
            size += len(data)
            self.note(int(match[1]), match[2].decode(), data)
        return size

    def note(self, number: int, status: str, answer: bytes) -> None:
        """Count the answer to one line."""
        self._mark(number, _DONE if status == "done" else _NOT_DONE)
        self.counts[status] += 1
        if status != "done" and len(self._first_errors) < FIRST_ERRORS:
            told = orjson.loads(answer)
            self._first_errors.append({key: told.get(key) for key in ("line", "id", "status", "error")})

    def pass_over(self, number: int) -> None:
        """Take a line for one that will be answered without being called."""
        self._mark(number, _NOT_DONE)

    def _mark(self, number: int, mark: int) -> None:
        if number >= len(self._by_line):
            self._by_line.extend(bytes(number + 1 - len(self._by_line)))
        self._by_line[number] = mark

    def knows(self, number: int) -> bool:
        """Tell whether a line needs no call any more."""
        return number < len(self._by_line) and self._by_line[number] != _UNANSWERED

    def failed(self, number: int) -> bool:
        """Tell whether a line has not ended well."""
        return number < len(self._by_line) and self._by_line[number] == _NOT_DONE

    @property
    def all_done(self) -> bool:
        """Tell whether all that is answered has ended well."""
        return self.counts.total() == self.counts["done"]

    def progress(self, name: str) -> dict[str, Any]:
        """Say how it stands so far."""
        return {"name": name, "answered": self.counts.total(), **self.counts}

    def summary(self, claim: Claim, now: float) -> bytes:
        """Give the text of the summary; `now` is wall time."""
        received = time_of(claim.token)
        summary = {
            "id": claim.token,
            "name": claim.name,
            "lines": self.counts.total(),
            "statuses": dict(sorted(self.counts.items())),
            "first_errors": self._first_errors,
            "received": isotime(received),
            "finished": isotime(now),
            "seconds": round(now - received, 3),
        }
        return orjson.dumps(summary, option=orjson.OPT_INDENT_2) + b"\n"
