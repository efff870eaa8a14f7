"""Single jobs that other processes call: handed out while there are many, settled here like all others.

Their files stay claimed by this process, so nothing about a crash is different. Jobs that come back are for the intake
to take once more, and for this process to call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from inboxd.daemon.crew import Crew
from inboxd.daemon.helpful import Helpful
from inboxd.daemon.names import Claim
from inboxd.daemon.ready import Asked, Back, Ready
from inboxd.daemon.settlement import ANSWER, BODY, Consequence, publish
from inboxd.daemon.spool import Spool
from inboxd.daemon.worker import Worker
from inboxd.jobs.ids import time_of
from inboxd.jobs.result import Response


@dataclass(slots=True, eq=False)
class Plain:
    """The end of a single job that is done and whose answer is ready."""

    spool: Spool
    claim: Claim
    ready: Ready
    on_log: Callable[[list[str]], None]
    consequences: Sequence[Consequence]
    again: bool = False

    def stage(self) -> list[str]:
        """Give the answer, which its maker has staged, to be synced; write it if that was in vain."""
        noted = [path for consequence in self.consequences for path in consequence.stage(self.ready.data)]
        if self.again:
            self.spool.stage(self.claim, ANSWER, self.ready.data)
        self.again = True
        return [*noted, self.spool.staging(self.claim.token, ANSWER)]

    def settle(self) -> None:
        """Take the job out of active/ and publish."""
        self.spool.leaving.add(self.claim.name)
        self.spool.remove(self.claim)
        publish(self.spool, self.claim, (), None, ok=True, renamed=False, leftover=False)

    def settled(self) -> None:
        """Log the end of the job."""
        if self.ready.logged:
            self.on_log([self.ready.logged])
        for consequence in self.consequences:
            consequence.settled()
        self.spool.tell(self.claim.name, None, self.ready.data)


class Handed:
    """The single jobs that a crew has; `again` takes those back that the intake is to set to work here."""

    def __init__(self, worker: Worker, crew: Crew, again: deque[Claim]) -> None:
        self._worker = worker
        self._crew = crew
        self._again = again
        # Jobs that came back: not to be given away once more.
        self._ours: set[str] = set()
        # Jobs that wait to be given away together, and how many of them there is room for.
        self._pending: list[tuple[Claim, Asked]] = []
        self._room = 0
        self.count = 0
        self._helpful = Helpful()

    @property
    def helps(self) -> bool:
        """Tell whether other processes are to get what comes next: this one has as many jobs as it has workers."""
        queue = self._worker.client.queue
        return (self.count > 0 or queue.held >= queue.workers) and self._helpful.at(self._worker.clock.mono())

    @property
    def full(self) -> bool:
        """Tell whether they have no room, but soon will; until then this process has its own to do."""
        return not self._has_room() and self._crew.quick

    def _has_room(self) -> bool:
        if len(self._pending) >= self._room:
            self.hand_out()
            self._room = self._crew.room(self)
        return self._room > 0

    def take(self, claim: Claim) -> bool:
        """Take a claimed job for another process, if one has room for it; False when it is for this one."""
        worker = self._worker
        # A name with a ~ is that of a job in a tree, or of none.
        strange = claim.many or claim.trouble is not None or "~" in claim.name
        if claim.token in self._ours or claim.token in worker.crashes or strange or not self._has_room():
            self._ours.discard(claim.token)
            return False
        self.count += 1
        self._pending.append((claim, Asked(claim.token, claim.name, None, b"", [], 0)))
        return True

    def hand_out(self) -> None:
        """Give away what was taken."""
        self._room = 0
        if self._pending:
            pending, self._pending = self._pending, []
            self._crew.hand_out(self, pending)

    def came(self, answers: list[tuple[Claim, Ready]]) -> None:
        """Settle answers."""
        worker = self._worker
        plain = []
        for claim, ready in answers:
            if ready.answer is None:
                waited_for = worker.ties.ended(claim.name, ready.status, "")
                plain.append(Plain(worker.spool, claim, ready, self._crew.on_log, waited_for))
                continue
            answer = ready.answer
            if ready.body and answer.response is not None:
                answer.response = answer.response._replace(side=self._side(claim, answer.response))
            worker.settle(claim, (), answer)
        if plain:
            worker.outbox.put_all(plain)
        self.count -= len(answers)
        self._helpful.answered(len(answers))

    def _side(self, claim: Claim, response: Response) -> BinaryIO | None:
        """Open the staged body again, unless it came along."""
        return None if response.body else open(self._worker.spool.staging(claim.token, BODY), "rb")

    def came_back(self, claim: Claim, back: Back) -> None:
        """Take back a job that got no answer."""
        worker, now = self._worker, self._worker.clock.wall()
        self.count -= 1
        if back.lost:
            for suffix in (ANSWER, BODY):
                # What the disk does not let go now is replaced by the job's next answer.
                with suppress(OSError):
                    worker.spool.unstage(claim.token, suffix)
        if back.stopped and not back.attempts:
            worker.give_back(claim, ())
        elif back.attempts:
            trace = (back.id or claim.token, time_of(claim.token), back.tried, back.attempts)
            worker.postpone(claim, now + back.wait, *trace)
        else:
            self._helpful.untouched(worker.clock.mono())
            self._ours.add(claim.token)
            self._again.append(claim)
            worker.wake()
