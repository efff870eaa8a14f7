"""What can be said about a queue, in the config or by who makes it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from inboxd.jobs.units import Duration, Size

# What a queue may be called: a folder's name that is also one for SQS.
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$"


class QueueSettings(BaseModel):
    """How a queue treats its messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    lease: Duration = Field(30.0, description="a received message is hidden from others for so long")
    max_receives: int = Field(
        0, ge=0, le=1_000_000, description="a message received so often and not confirmed is a dead letter; 0: never"
    )
    delay: Duration = Field(0.0, description="a published message is hidden for so long at first")
    wait: Duration = Field(0.0, le=20, description="a receiver that says nothing else waits so long for a message")
    expired: Literal["tail", "head"] = Field("tail", description="where a message goes whose lease ran out")
    dead_to: str | None = Field(
        None, pattern=NAME, description="the queue that gets the dead letters; absent: the folder dead/ of this one"
    )
    max_message: Size = Field(2**20, ge=1, description="the largest message")
    per_file: int = Field(
        1000, ge=1, le=1000, description="messages published at the same moment share a file; 1: each has its own"
    )
