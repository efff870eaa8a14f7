"""Jobs that came over HTTP in the same moment, for the same API, and share a file as the lines of a batch.

Each has the rights of a single job: its lane gives it as much room, it is asked for and taken back by itself, and
while there is no room for the first of them all wait in deferred/ as one job would, so that they hold up nobody else's.
"""

from __future__ import annotations

import heapq
from concurrent.futures import Future
from functools import partial
from math import inf
from typing import Literal, NamedTuple

from inboxd.daemon import names
from inboxd.daemon.batch import Batch
from inboxd.daemon.lines import Line
from inboxd.daemon.names import Claim
from inboxd.daemon.worker import Worker
from inboxd.jobs.ids import time_of
from inboxd.jobs.lanes import FILE_SHARE, LaneFull
from inboxd.jobs.result import Answer

Taken = Literal["cancelled", "running", "answered"]


class Waiting(NamedTuple):
    """A job that has no answer yet: its token, its line, and when it is due if it waits for its time (wall time)."""

    token: str
    data: bytes
    due: float | None


class Posted(Batch):
    """A batch of posted jobs."""

    share = FILE_SHARE

    def __init__(self, worker: Worker, claim: Claim) -> None:
        # Those in the window, by line.
        self._futures: dict[int, Future[Answer]] = {}
        # The ids of those that are being taken out of there.
        self._asked: dict[int, str] = {}
        super().__init__(worker, claim)

    def begin(self, now: float) -> None:
        """Set the first line to work; raises LaneFull when there is no room for it, and then the file is free again."""
        self.turn(now, 1)
        if self.stuck is not None and self._begun == 1 and not self._waiting:
            self._lines.close()
            raise self.stuck

    def turn(self, now: float, most: int) -> float:
        """Set up to `most` lines to work, as a batch does; while the lane of the next has no room, do nothing."""
        if self.stuck is not None and not self._worker.client.queue.room(self.stuck.lane):
            return inf
        return super().turn(now, most)

    @property
    def stuck(self) -> LaneFull | None:
        """Why the next line finds no room, if that is so."""
        return self.refused if self._in_hand else None

    def line_of(self, identifier: str) -> tuple[int, bytes] | None:
        """Give the job that has this id, and its line; after a retry it need not be the one that the id speaks of."""
        begins = names.id_first(identifier)
        with self._spool.open(self.claim) as file:
            return next(((number, line) for number, line in enumerate(file, 1) if line.startswith(begins)), None)

    def cancel(self, identifier: str) -> Taken | Future[bool] | None:
        """Take a job back, unless it is being called or answered; None when it is not here. On the intake's thread.

        Gives a future when another process has it: whether it came back from there, to be asked for once more.
        """
        found = self.line_of(identifier)
        if found is None:
            return None
        number, _ = found
        if self._settled(number):
            return "answered"
        if (future := self._futures.get(number)) is not None:
            self._asked[number] = identifier
            return "cancelled" if future.cancel() else "running"
        line = self._held(number)
        if line is None and number <= self._lines.read:
            crew = self._worker.crew
            return (crew.recall(f"{self.claim.token}:{number}") if crew is not None else None) or "running"
        if line is None:
            # Not read yet; it counts as begun here, and will be passed over there.
            line = Line(number, 0, b"")
            self._begun += 1
            self._score.pass_over(number)
        self._take_back(line, identifier)
        return "cancelled"

    def waiting(self, identifier: str) -> Waiting | None:
        """Give a job that is here and has no answer yet; None for any other."""
        found = self.line_of(identifier)
        if found is None or self._settled(found[0]):
            return None
        number, data = found
        due = next((due for due, waiting, _ in list(self._waiting) if waiting == number), None)
        return Waiting(f"{self.claim.token}:{number}", data, due)

    def _settled(self, number: int) -> bool:
        return self._score.knows(number)

    def _held(self, number: int) -> Line | None:
        """Take a line that was read out of where it waits for its time or for room."""
        while self._returned:
            self._wait(*self._returned.popleft())
        if (line := next((one for one in self._in_hand if one.number == number), None)) is not None:
            self._in_hand.remove(line)
            return line
        entry = next((entry for entry in self._waiting if entry[1] == number), None)
        if entry is None:
            return None
        self._waiting.remove(entry)
        heapq.heapify(self._waiting)
        return entry[2]

    def _take_back(self, line: Line, identifier: str) -> None:
        answer = self._worker.cancelled(identifier, time_of(self.claim.token))
        answer.attempts = line.attempts
        self._answer(line, answer)

    def _follow(self, line: Line, future: Future[Answer]) -> None:
        self._futures[line.number] = future
        future.add_done_callback(partial(self._ended_line, line))

    def _ended_line(self, line: Line, future: Future[Answer]) -> None:
        self._futures.pop(line.number, None)
        if future.cancelled():
            self._take_back(line, self._asked.pop(line.number))
        else:
            self._outcome(line, future)
