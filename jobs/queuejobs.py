"""Jobs about queues: `{"queue": "orders", "publish": {…}}`, receive, confirm, extend and release.

A queue has a lane as any API has. What a job did is remembered under its token together with the deed itself, so a job
that is done again after a crash publishes no second message, and may confirm what it had confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import orjson

from inboxd.jobs.api import Api, Policy
from inboxd.jobs.faults import Invalid, QueueRefused
from inboxd.jobs.gathering import NO_STATUS
from inboxd.jobs.handlers import Bench
from inboxd.jobs.job import Job
from inboxd.jobs.message import Draft
from inboxd.jobs.messages import MessageQueue
from inboxd.jobs.queueerrors import QueueError
from inboxd.jobs.queues import NoQueue, Queues
from inboxd.jobs.reply import Bounds
from inboxd.jobs.result import Response

# Before the names of lanes.
LANE = "queue:"


@dataclass(frozen=True, slots=True)
class Deed:
    """Something to be done with a queue, as often as it takes."""

    queue: MessageQueue
    job: Job
    key: str | None

    @property
    def request(self) -> dict[str, str]:
        """What the job asks for, as its answer tells it."""
        return {"queue": self.queue.name, "deed": self.job.deed}

    def perform(self, _attempt: int, bounds: Bounds, _open_file: Callable[[str], BinaryIO]) -> Response:
        """Do it; raises QueueRefused, or the OSError of a disk that refuses."""
        try:
            shown = self._done(bounds.deadline)
        except QueueError as error:
            raise QueueRefused(str(error)) from None
        body = orjson.dumps(shown)
        return Response(NO_STATUS, {"Content-Type": "application/json"}, body, size=len(body))

    def _done(self, longest: float) -> Mapping[str, Any]:
        queue, job = self.queue, self.job
        match job.deed:
            case "publish":
                draft = Draft(job.publish, job.priority, lease=job.lease, key=self.key)
                return {"id": queue.publish_many([draft])[0]}
            case "receive":
                wait = queue.settings.wait if job.wait is None else job.wait
                found = queue.receive(job.receive or 1, wait=min(wait, longest), lease=job.lease, consumer=job.consumer)
                return {"messages": [message.to_dict() for message in found]}
            case "extend":
                return {"until": queue.extend(job.extend or "", job.lease or 0.0, consumer=job.consumer)}
            case "confirm":
                queue.confirm_all(_list(job.confirm), consumer=job.consumer, key=self.key)
            case _:
                for receipt in _list(job.release):
                    queue.release(receipt, consumer=job.consumer)
        return {}


def _list(said: str | list[str] | None) -> list[str]:
    return [said] if isinstance(said, str) else said or []


class QueueJobs:
    """Makes deeds of jobs. `defaults` say how often one is tried."""

    def __init__(self, queues: Queues | None, defaults: Policy) -> None:
        self._queues = queues
        self._defaults = defaults.model_dump(include={"attempts", "timeout", "backoff", "trip"}, exclude_unset=True)

    def call_of(self, job: Job, token: str) -> tuple[Job, Api, Deed]:
        """Give a job about a queue, its lane and its deed; raises Invalid."""
        if self._queues is None:
            raise Invalid("queue: this client was given no folder of queues")
        name = job.queue or ""
        try:
            queue = self._queues.create(name) if job.deed == "publish" else self._queues.get(name)
        except NoQueue as error:
            raise Invalid(f"queue: {error}") from None
        return job, Bench.model_validate({"name": LANE + name, **self._defaults}), Deed(queue, job, token or None)
