"""What can be wrong with what somebody asks of a queue."""

from __future__ import annotations


class QueueError(Exception):
    """What was asked of a queue cannot be done; the message says why."""


class NotHeld(QueueError):
    """The message is not leased to who asks: unknown, confirmed, its lease ran out, or somebody else has it.

    `known` tells that the message is still there, as far as can be told without reading the whole queue.
    """

    def __init__(self, message: str, *, known: bool) -> None:
        super().__init__(message)
        self.known = known


class TooMany(QueueError):
    """So many messages are leased that no more may be received."""


class KeyReused(QueueError):
    """Something else was published under the same key before."""


class TooLarge(QueueError):
    """The message is larger than the queue allows."""
