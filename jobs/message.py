"""A message: what a queue holds for other programs, and how it stands in a file, one line each.

A message's id is a UUIDv7 to the microsecond (RFC 9562 6.2, method 3), so that the whole number of microseconds in it
is a name as well: unique within its queue, and exact even where all numbers are floats. A line that is not ours,
because somebody wrote it with an editor, is a message too: its body is what stands there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

# What a draft and a line may say besides the body; everything else in a line of ours is somebody else's.
_OURS = frozenset({"id", "body", "attributes", "lease", "receives", "first", "dead"})
_UUID_LENGTH = 36


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be published. `body` is any JSON value (or an `orjson.Fragment` of JSON bytes).

    `lease` is this message's own, in seconds; the queue's when None. `delay` hides it for so many seconds, likewise. Of
    two drafts with the same `key`, the second gives the message of the first; or raises KeyReused when both have a
    `digest`, which says what was asked for, and these differ.
    """

    body: Any
    priority: int = 0
    delay: float | None = None
    lease: float | None = None
    attributes: Mapping[str, Any] | None = None
    key: str | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it is handed out. Times are epoch seconds.

    `receipt` is what a received message is confirmed with, `until` when its lease ends, `receives` how often it was
    received, this time included, `first` when for the first time. `dead` says why it became a dead letter.
    """

    id: str
    body: Any
    priority: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)
    lease: float | None = None
    receives: int = 0
    first: float | None = None
    receipt: str | None = None
    until: float | None = None
    consumer: str | None = None
    dead: Mapping[str, Any] | None = None

    @property
    def number(self) -> int:
        """The message's other name: a whole number below 2**53."""
        return number_of(self.id)

    @property
    def published(self) -> float:
        """When it was published."""
        return self.number / 1e6

    def to_dict(self) -> dict[str, Any]:
        """Give the message as it stands in an answer."""
        shown: dict[str, Any] = {"id": self.id, "number": self.number, "body": self.body}
        for name in ("attributes", "priority", "receives", "receipt", "until", "consumer", "dead"):
            if value := getattr(self, name):
                shown[name] = value
        return shown


def new_ids(first: int, count: int) -> list[str]:
    """Make the ids of the messages numbered from `first`."""
    chance = os.urandom(8 * count)
    return [_id(first + n, int.from_bytes(chance[8 * n : 8 * n + 8], "big")) for n in range(count)]


def _id(number: int, chance: int) -> str:
    millis, micros = divmod(number, 1000)
    tail = f"{chance & (1 << 62) - 1 | 1 << 63:016x}"
    head = f"{millis:012x}"
    return f"{head[:8]}-{head[8:]}-7{micros:03x}-{tail[:4]}-{tail[4:]}"


def number_of(identifier: str) -> int:
    """Give the number in an id; raises ValueError when it is none of ours."""
    if len(identifier) != _UUID_LENGTH:
        raise ValueError(f"{identifier[:80]!r} is not the id of a message")
    return int(identifier[:8] + identifier[9:13], 16) * 1000 + int(identifier[15:18], 16)


def encode(draft: Draft) -> bytes:
    """Give the line of a message without its id; raises ValueError when the body is not JSON."""
    shown: dict[str, Any] = {"body": draft.body}
    if draft.attributes:
        shown["attributes"] = draft.attributes
    if draft.lease is not None:
        shown["lease"] = draft.lease
    return _dumps(shown)[1:] + b"\n"


def named(identifier: str, encoded: bytes) -> bytes:
    """Give the whole line of a message that now has an id."""
    return b'{"id":"%s",%s' % (identifier.encode(), encoded)


def _dumps(shown: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(shown)
    except TypeError as error:
        try:
            # Whole numbers beyond 64 bits are JSON too.
            return json.dumps(shown, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError):
            raise ValueError(f"the message is not JSON: {error}") from None


def decode(line: bytes, priority: int, number: int) -> Message:
    """Read a line; `number` names the message of a line that is not ours."""
    try:
        said = json.loads(line)
    except ValueError:
        return _foreign(line.decode("utf-8", "replace").strip(), priority, number)
    if not isinstance(said, dict) or not {"id", "body"} <= said.keys() <= _OURS or not isinstance(said["id"], str):
        return _foreign(said, priority, number)
    try:
        number_of(said["id"])
    except ValueError:
        return _foreign(said, priority, number)
    dead = said.get("dead")
    return Message(
        said["id"],
        said["body"],
        priority,
        said.get("attributes") or {},
        said.get("lease"),
        # Who brings a dead letter back gives it a new life.
        0 if dead else said.get("receives", 0),
        None if dead else said.get("first"),
        dead=dead,
    )


def _foreign(body: Any, priority: int, number: int) -> Message:
    # The same id each time that it is read, by whichever process.
    return Message(_id(number, 0), body, priority)


def carried(message: Message, dead: Mapping[str, Any] | None = None) -> bytes:
    """Give the line of a message that goes into another file with its past."""
    shown: dict[str, Any] = {"id": message.id, "body": message.body}
    if message.attributes:
        shown["attributes"] = message.attributes
    if message.lease is not None:
        shown["lease"] = message.lease
    if message.receives:
        shown |= {"receives": message.receives, "first": message.first}
    if dead is not None:
        shown["dead"] = dead
    return _dumps(shown) + b"\n"
