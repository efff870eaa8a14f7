"""One attempt of one task: sent over the right wires, judged by its lane, put on the task's record and into the log.

This is the function that the lanes decorate with their limiter and their backoff.
"""

from __future__ import annotations

import logging

from inboxd.jobs.clock import Clock
from inboxd.jobs.exchange import Redirected, exchange
from inboxd.jobs.faults import Fault
from inboxd.jobs.handlers import Work
from inboxd.jobs.lane import Lane
from inboxd.jobs.patience import Again
from inboxd.jobs.queuejobs import Deed
from inboxd.jobs.result import Attempt, Response
from inboxd.jobs.task import Task
from inboxd.jobs.transport import Bounds
from inboxd.jobs.trusted import trusted_exchange
from inboxd.jobs.wires import Wires

log = logging.getLogger("inboxd.jobs")


class Sender:
    """Makes attempts. A body may have `max_body` bytes, and `inline` of them stay in memory if the errand can spill."""

    def __init__(self, wires: Wires, clock: Clock, *, max_body: int, inline: int) -> None:
        self.wires = wires
        self._clock = clock
        self._max_body = max_body
        self._inline = inline

    def attempt(self, lane: Lane, task: Task) -> Response | Redirected:
        """Make one attempt; raises the Fault it ended in, with what the lane decided, or the OSError of a full disk."""
        at, began = self._clock.wall(), self._clock.mono()
        bounds = Bounds(task.timeout, self._max_body, self._inline, task.errand.spill)
        try:
            result = self._make(task, bounds, at)
        except Fault as fault:
            ended = self._clock.mono()
            counts = lane.failed(fault, task, ended)
            task.tried += counts
            task.probes += not counts
            wait = fault.decision.wait if isinstance(fault.decision, Again) else None
            _record(task, Attempt(at, (ended - began) * 1000, fault.status, fault.kind, fault.message, wait))
            raise
        lane.succeeded()
        redirect = result.call.shown if isinstance(result, Redirected) and not result.call.renewed else None
        _record(task, Attempt(at, (self._clock.mono() - began) * 1000, result.status or None, redirect=redirect))
        return result

    def _make(self, task: Task, bounds: Bounds, now: float) -> Response | Redirected:
        """Make the call, over the wire or of a handler's function."""
        if isinstance(task.call, Work | Deed):
            return task.call.perform(len(task.attempts) + 1, bounds, task.errand.open_file)
        session = self.wires.session(task.api, public=task.errand.public)
        send = exchange if task.call.credentials is None else trusted_exchange
        return send(session, task.call, bounds, ok=task.accepted, open_file=task.errand.open_file, now=now)


def _record(task: Task, attempt: Attempt) -> None:
    shown = attempt.to_dict()
    task.attempts.append(shown)
    # An only attempt that went well is told by its answer's line.
    plain = attempt.fault is None and attempt.redirect is None and len(task.attempts) == 1
    level = logging.DEBUG if plain else logging.WARNING if attempt.fault else logging.INFO
    if log.isEnabledFor(level):
        fields = {**task.log_fields, "attempt": len(task.attempts), **shown}
        log.log(level, "attempt", extra={"fields": fields})
