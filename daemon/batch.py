"""A batch: a .jsonl file as a lazy stream of jobs, and one appended answer file that is also its checkpoint.

Lines are read as there is room, answered in any order, and appended to outbox/.NAME~ID.jsonl.part; what stands there
needs no second call after a restart. When the last line is answered, failed lines, summary and answers appear. A line
that is wrong is answered as such and never stops the others. One byte of memory is kept for each line.
"""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any

from inboxd.daemon.crew import SOON
from inboxd.daemon.growing import whole_at
from inboxd.daemon.helpful import Helpful
from inboxd.daemon.lines import Line
from inboxd.daemon.names import Claim
from inboxd.daemon.ready import LONGEST, Asked, Back, Ready
from inboxd.daemon.score import Score
from inboxd.daemon.settlement import BODY, FAILED, PART, SUMMARY, leaves_a_body, log_answer, publish_batch
from inboxd.daemon.sheet import opened
from inboxd.daemon.spool import Unfit
from inboxd.daemon.worker import NotYet, Worker
from inboxd.jobs.calls import plain
from inboxd.jobs.faults import Invalid
from inboxd.jobs.ids import time_of
from inboxd.jobs.job import Job, parse
from inboxd.jobs.lanes import BATCH_SHARE, LaneFull
from inboxd.jobs.result import Answer
from inboxd.jobs.task import Errand, Postponed
from inboxd.jobs.tree import alone

log = logging.getLogger("inboxd.batch")

# Lines whose next attempt is far away are remembered by their place in the file; more of them than
# this, and the batch waits for some to be through.
REMEMBERED = 50_000
# Lines that are begun together while all are answered from what is known; else one by one, for who finds no room has
# to begin anew.
KNOWN_RUN = 32


class Batch:
    """One batch on its way. The intake reads it, workers answer its lines, the outbox commits it as a Settlement."""

    share = BATCH_SHARE

    def __init__(self, worker: Worker, claim: Claim) -> None:
        self.claim = claim
        self.finished = False
        self.refused: LaneFull | None = None  # why the line in hand found no room
        self._worker = worker
        self._spool = worker.spool
        self._lines = opened(worker.spool, claim, worker.client.apis, worker.max_job)
        self._score = Score()
        # The reading side: lines that wait for their time, those that found no room or are just being begun, how many
        # of them are begun together, how many were begun.
        self._waiting: list[tuple[float, int, Line]] = []
        self._returned: deque[tuple[Line, float]] = deque()
        self._in_hand: deque[Line] = deque()
        self._run = 1
        self._begun = 0
        self._at_end = False
        self._helpful = Helpful()
        # Answers that this turn had at hand, which the outbox is told of together: each word to it is a wake-up.
        self._untold = 0
        # The answering side: made here or by another process, appended, and how many of those begun have ended.
        self._made: deque[Answer | Ready] = deque()
        self._appended: list[Answer | Ready] = []
        self._ended = 0
        self._summed_up = False
        self._size = self._score.recall(self._spool.read_part(claim, PART))

    # -- reading: on the intake's thread ------------------------------------------------------------------

    def turn(self, now: float, most: int) -> float:
        """Set up to `most` lines to work; gives when to come again: `now` for at once, inf for when there is room."""
        try:
            return self._work_on(now, most)
        finally:
            if self._untold:
                self._worker.outbox.put(self, self._untold)
                self._untold = 0

    def _work_on(self, now: float, most: int) -> float:
        self._take_in_returned()
        while most > 0:
            if not self._in_hand and (again := self._share_out(now)) is not None:
                return again
            run = min(self._run, most)
            while len(self._in_hand) < run and (line := self._next(now)) is not None:
                self._in_hand.append(line)
            if not self._in_hand:
                return self._when_next(now)
            most -= len(self._in_hand)
            self._begin(now)
            if self._in_hand:
                return inf
        return now

    def _share_out(self, now: float) -> float | None:
        """Give lines to other processes; gives when to come again, or None when the next one is for us to call."""
        crew = self._worker.crew
        if crew is None or not self._helpful.at(self._worker.clock.mono()):
            return None
        while room := crew.room(self):
            jobs: list[tuple[Line, Asked]] = []
            while len(jobs) < room and (line := self._next(now)) is not None:
                token = f"{self.claim.token}:{line.number}"
                if line.ours or len(line.data) > LONGEST or token in self._worker.crashes:
                    self._in_hand.append(line)
                    break
                jobs.append((line, Asked(token, self.claim.name, line.number, line.data, line.attempts, line.tried)))
            if jobs:
                crew.hand_out(self, jobs)
            if len(jobs) < room:
                return None
        # What this process called until they have room, it would take from what it has to do for them.
        return now + SOON if crew.quick else None

    def came_back(self, line: Line, back: Back) -> None:
        """Take back a line that another process was given."""
        line.attempts, line.tried, line.ours = back.attempts, back.tried, True
        if not (back.attempts or back.stopped):
            self._helpful.untouched(self._worker.clock.mono())
        self._returned.append((line, self._worker.clock.wall() + back.wait))

    def came(self, answers: list[tuple[Line, Ready]]) -> None:
        """Take answers that another process has made."""
        self._helpful.answered(len(answers))
        self._made.extend(ready for _, ready in answers)
        self._worker.outbox.put(self)

    def _take_in_returned(self) -> None:
        while self._returned:
            self._wait(*self._returned.popleft())

    def _wait(self, line: Line, due: float) -> None:
        line.data = b""
        heapq.heappush(self._waiting, (due, line.number, line))

    def _next(self, now: float) -> Line | None:
        """Give the next line to be worked on: one whose wait is over, or else the next of the file."""
        if self._waiting and self._waiting[0][0] <= now:
            line = heapq.heappop(self._waiting)[2]
            self._lines.read_again(line)
            return line
        while not self._at_end and len(self._waiting) < REMEMBERED:
            fresh = self._lines.next()
            if fresh is None:
                return None
            if not fresh.whole and self._whole_at(now) > now:
                self._lines.put_back(fresh)
                return None
            if not self._score.knows(fresh.number) and not fresh.blank:
                self._begun += 1
                return fresh
        return None

    def _when_next(self, now: float) -> float:
        if not self._at_end and len(self._waiting) < REMEMBERED:
            if (whole := self._whole_at(now)) > now:
                return whole
            self._at_end = True
            # The last answer may be in already; somebody has to look.
            self._untold += 1
        return self._waiting[0][0] if self._waiting else inf

    def _whole_at(self, now: float) -> float:
        """Give when the end of the file is to be believed: it was whole when claimed, or seemed to be."""
        status = self._lines.status
        # Tokens count whole milliseconds.
        since = status.st_mtime > time_of(self.claim.token) + 0.001
        return whole_at(status, now, self._worker.quiet) if since else -inf

    def _begin(self, now: float) -> None:
        """Set the lines in hand to work; those that find no room stay there, as all do that an error comes before."""
        asked = []
        for _ in range(len(self._in_hand)):
            one = self._errand_of(self._in_hand[0], now)
            line = self._in_hand.popleft()
            if one is not None:
                self._in_hand.append(line)
                asked.append(one)
        self._run = KNOWN_RUN
        for outcome in self._worker.client.take(asked):
            line = self._in_hand.popleft()
            if isinstance(outcome, Answer):
                self._had_at_hand(line, outcome)
                continue
            self._run = 1
            if isinstance(outcome, LaneFull):
                self.refused = outcome
                self._in_hand.append(line)
            else:
                line.data = b""
                self._follow(line, outcome)

    def _errand_of(self, line: Line, now: float) -> tuple[Job, Errand] | None:
        """Give what a line asks for, and how it is to be handled; None when it is answered, or has to wait."""
        token = f"{self.claim.token}:{line.number}"
        try:
            job = self._parse(line)
            self._worker.attach(self.claim, job.attachments, now)
        except NotYet as missing:
            self._wait(line, missing.at)
            return None
        except (Invalid, Unfit) as error:
            fault = Invalid(str(error))
            self._had_at_hand(line, self._worker.ended(token, "rejected", fault, time_of(self.claim.token), now))
            return None
        errand = self._worker.errand(self.claim, job, token, line.attempts, line.tried, self.share)
        ended = self._worker.ended_before(errand, now)
        if ended is not None:
            self._had_at_hand(line, ended)
            return None
        return job, errand

    def _parse(self, line: Line) -> Job:
        if line.trouble is not None:
            raise Invalid(line.trouble)
        if len(line.data) > self._worker.max_job and not line.data.endswith(b"\n"):
            raise Invalid(f"the line is longer than {self._worker.max_job} bytes")
        return plain(alone(parse(line.data)), self._worker.client.apis)

    # -- answering: on the workers' threads, then on the outbox's ------------------------------------------

    def _follow(self, line: Line, future: Future[Answer]) -> None:
        future.add_done_callback(partial(self._outcome, line))

    def _outcome(self, line: Line, future: Future[Answer]) -> None:
        postponed = future.exception()
        if postponed is None:
            self._answer(line, future.result())
            return
        assert isinstance(postponed, Postponed)
        line.attempts, line.tried = postponed.attempts, postponed.tried
        self._returned.append((line, self._worker.clock.wall() + postponed.wait))
        self._worker.wake()

    def _answer(self, line: Line, answer: Answer) -> None:
        self._make(line, answer)
        self._worker.outbox.put(self)

    def _had_at_hand(self, line: Line, answer: Answer) -> None:
        self._make(line, answer)
        self._untold += 1

    def _make(self, line: Line, answer: Answer) -> None:
        answer.name = self.claim.name
        answer.line = line.number
        self._worker.count(answer)
        self._made.append(answer)

    def stage(self) -> list[str]:
        """Append the answers made so far to the checkpoint, in one write."""
        made = []
        while self._made:
            made.append(self._made.popleft())
        if made:
            try:
                data = b"".join(map(self._line_of, made))
                self._size = self._spool.append_part(self.claim, PART, data, self._size)
            except BaseException:
                self._made.extendleft(reversed(made))
                raise
            self._appended.extend(made)
        return []

    def _line_of(self, made: Answer | Ready) -> bytes:
        if isinstance(made, Ready):
            if made.body:
                self._spool.publish_staged_body(self.claim, made.line or 0)
            return made.data
        return made.to_json(self._body(made)) + b"\n"

    def _body(self, answer: Answer) -> str | None:
        """Publish the body of a line that has no place in the answer; gives its file name."""
        response, line = answer.response, answer.line or 0
        if response is None or not (response.side or response.binary):
            if leaves_a_body(answer):
                self._spool.unstage(f"{self.claim.token}:{line}", BODY)
            return None
        return self._spool.publish_body(self.claim, line, response.side, response.body)

    def settle(self) -> None:
        """Count what was appended, and end the batch when that was the last of it."""
        answers, self._appended = self._appended, []
        for answer in answers:
            data = answer.data if isinstance(answer, Ready) else b"" if answer.ok else answer.to_json()
            self._score.note(answer.line or 0, answer.status, data)
            self._ended += 1
            if isinstance(answer, Answer):
                log_answer(answer)
            self._spool.tell(self.claim.name, answer.line, answer.data if isinstance(answer, Ready) else answer)
        lines = [one.logged for one in answers if isinstance(one, Ready) and one.logged]
        if lines and self._worker.crew is not None:
            self._worker.crew.on_log(lines)
        if self._at_end and self._ended == self._begun and not self.finished:
            self._finish()

    def settled(self) -> None:
        """Tell the intake when the batch is over."""
        if self.finished:
            self._worker.ties.after.settled(self.claim.name)
            self._worker.wake()

    def _finish(self) -> None:
        """Let the batch leave active/ and its answers appear."""
        if not self._summed_up:
            # Once only: what is staged may be out already when the disk refuses one of the moves that follow.
            self._sum_up()
            self._summed_up = True
        self._spool.leaving.add(self.claim.name)
        self._spool.remove(self.claim)
        publish_batch(self._spool, self.claim)
        self.finished = True
        self._lines.close()
        log.info("batch answered", extra={"fields": {**self.progress, "id": self.claim.token}})

    def _sum_up(self) -> None:
        """Stage what the batch leaves behind beside its answers."""
        all_done = self._score.all_done
        paths = [self._spool.stage(self.claim, SUMMARY, self._score.summary(self.claim, self._worker.clock.wall()))]
        paths += self._worker.ties.after.stage(self.claim.name, "done" if all_done else "failed", "")
        if not all_done:
            paths.append(self._spool.stage_lines(self.claim, self.claim.kind + FAILED, self._failed_lines()))
        self._size = self._spool.append_part(self.claim, PART, b"", self._size)
        self._spool.disk.sync(paths, self._spool.staged)

    def _failed_lines(self) -> Iterator[bytes]:
        yield from self._lines.head
        self._lines.again()
        while (line := self._lines.next()) is not None:
            if self._score.failed(line.number):
                yield from self._lines.copy(line)

    def comes_to_rest(self) -> bool:
        """Take in what returned, and tell whether no line is under way and something is left to do.

        On the intake's thread, between two turns.
        """
        self._take_in_returned()
        put_off = len(self._waiting) + len(self._in_hand)
        return self._begun - put_off == self._ended and not (self._at_end and not put_off)

    @property
    def read(self) -> bool:
        """Tell whether the whole file has been read."""
        return self._at_end

    @property
    def progress(self) -> dict[str, Any]:
        """What there is to say about the batch so far."""
        return self._score.progress(self.claim.name)

    def stop(self) -> None:
        """Leave the batch as it is, to be gone on with at the next start."""
        self._lines.close()
        if not self.finished:
            # From active/ it would be gone on with as well.
            with suppress(OSError):
                self._spool.park(self.claim, self._worker.clock.wall())

    def put_aside(self) -> None:
        """Leave the batch, which has come to rest, as it is, and put it into hold/. Raises OSError."""
        self._spool.hold(self._spool.active, self.claim)
        self._lines.close()
        log.info("put aside", extra={"fields": {**self.progress, "id": self.claim.token}})
