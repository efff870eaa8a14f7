"""What a job may say about a queue of messages: the queue, one deed, and what belongs to that deed."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from inboxd.jobs.messages import LONGEST_WAIT, MOST
from inboxd.jobs.queuesettings import NAME
from inboxd.jobs.units import Duration

# What can be done with a queue, each with the keys that may stand beside it.
DEEDS = {
    "publish": {"lease"},
    "receive": {"wait", "lease", "consumer"},
    "confirm": {"consumer"},
    "extend": {"lease", "consumer"},
    "release": {"consumer"},
}
_BESIDE = {"wait", "lease", "consumer"}
_ALL = DEEDS.keys() | _BESIDE

Receipt = Annotated[str, Field(min_length=1, max_length=200)]


class QueueFields(BaseModel):
    """The keys of a job that is about a queue."""

    queue: str | None = Field(None, pattern=NAME, description="a queue of messages; one deed stands beside it")
    publish: Any = Field(None, description="a message: any JSON")
    receive: int | None = Field(None, ge=1, le=MOST, description="lease so many messages at most")
    confirm: Receipt | list[Receipt] | None = Field(None, description="receipts of messages that are done")
    extend: Receipt | None = Field(None, description="the receipt of a message that takes longer")
    release: Receipt | list[Receipt] | None = Field(None, description="receipts of messages to be given back")
    wait: Duration | None = Field(None, le=LONGEST_WAIT, description="receive: wait so long for the first")
    lease: Duration | None = Field(None, description="publish, receive, extend: for how long a receiver has it")
    consumer: str | None = Field(None, max_length=200, description="who receives; who alone may confirm")

    @property
    def deed(self) -> str:
        """What is to be done with the queue."""
        return next(iter(self.model_fields_set & DEEDS.keys()))

    def check_queue(self) -> None:
        """Raise ValueError for keys that do not go together."""
        given = self.model_fields_set
        if self.queue is None:
            if not given.isdisjoint(_ALL):
                raise ValueError(f"{min(given & _ALL)}: expected only beside a queue")
            return
        deeds = sorted(given & DEEDS.keys())
        if len(deeds) != 1 or (deeds[0] != "publish" and getattr(self, deeds[0]) is None):
            found = f", found {' and '.join(deeds)}" if deeds else ""
            raise ValueError(f"expected one of {', '.join(DEEDS)} beside a queue{found}")
        if stray := sorted((given & _BESIDE) - DEEDS[deeds[0]]):
            raise ValueError(f"{stray[0]}: does not go with {deeds[0]}")
        if deeds == ["extend"] and self.lease is None:
            raise ValueError("lease is missing: for how long to extend it")
