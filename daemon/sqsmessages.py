"""Messages as SQS has them: bodies that are text, typed attributes, and the MD5s by which clients check both."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from inboxd.daemon.sqserrors import InvalidContents, InvalidValue, Missing
from inboxd.jobs.message import Draft, Message

# Half a day; fifteen minutes.
LONGEST_LEASE, LONGEST_DELAY = 43_200, 900
# XML 1.0's characters, which is what SQS takes.
_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TYPES = ("String", "Number", "Binary")
_ACCOUNT = "000000000000"


def md5(text: str) -> str:
    """Give the MD5 of a text in UTF-8."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def md5_of(attributes: Mapping[str, Mapping[str, str]]) -> str:
    """Give the MD5 of message attributes: each name, type and value with its length, sorted by name.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
    """
    digest = hashlib.md5(usedforsecurity=False)
    for name, attribute in sorted(attributes.items()):
        for part in (name, attribute["DataType"]):
            digest.update(struct.pack("!I", len(part.encode())) + part.encode())
        binary = attribute["DataType"].startswith("Binary")
        value = base64.b64decode(attribute["BinaryValue"]) if binary else attribute["StringValue"].encode()
        digest.update((b"\x02" if binary else b"\x01") + struct.pack("!I", len(value)) + value)
    return digest.hexdigest()


def number(said: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    """Give a whole number among the parameters, None when it is not there; raises InvalidValue."""
    value = said.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidValue(f"Value {value} for parameter {name} is invalid. Reason: Must be between {low} and {high}.")
    return value


def text(said: Mapping[str, Any], name: str) -> str:
    """Give a text among the parameters; raises Missing, or InvalidValue."""
    value = said.get(name)
    if value is None or value == "":
        raise Missing(f"The request must contain the parameter {name}.")
    if not isinstance(value, str):
        raise InvalidValue(f"Value for parameter {name} is invalid. Reason: Must be a string.")
    return value


def draft_of(said: Mapping[str, Any]) -> Draft:
    """Read what SendMessage, or an entry of its batch, says."""
    body = text(said, "MessageBody")
    if _FORBIDDEN.search(body):
        raise InvalidContents("The message contains characters outside the allowed set.")
    delay = number(said, "DelaySeconds", 0, LONGEST_DELAY)
    attributes = _attributes(said.get("MessageAttributes") or {})
    return Draft(body, delay=delay, attributes=attributes or None)


def _attributes(said: Any) -> dict[str, dict[str, str]]:
    if not isinstance(said, dict) or len(said) > 10:  # noqa: PLR2004  # SQS's own bound
        raise InvalidValue("Number of message attributes exceeds the allowed maximum: 10.")
    return {name: _attribute(name, value) for name, value in said.items()}


def _attribute(name: str, said: Any) -> dict[str, str]:
    kind = said.get("DataType") if isinstance(said, dict) else None
    if not isinstance(kind, str) or kind.partition(".")[0] not in _TYPES:
        raise InvalidValue(f"The message attribute '{name}' must contain a type: String, Number or Binary.")
    key = "BinaryValue" if kind.startswith("Binary") else "StringValue"
    value = said.get(key)
    if not isinstance(value, str) or not value:
        raise InvalidValue(f"The message attribute '{name}' must contain a non-empty {key} for its type '{kind}'.")
    try:
        if key == "BinaryValue":
            base64.b64decode(value, validate=True)
        elif kind.startswith("Number"):
            float(value)
    except (binascii.Error, ValueError):
        raise InvalidValue(f"Can't cast the value of message attribute '{name}' to its type {kind}.") from None
    return {"DataType": kind, key: value}


def sent(identifier: str, draft: Draft) -> dict[str, Any]:
    """Give what is answered about a message that was sent."""
    shown = {"MessageId": identifier, "MD5OfMessageBody": md5(draft.body)}
    if draft.attributes:
        shown["MD5OfMessageAttributes"] = md5_of(draft.attributes)
    return shown


def received(message: Message, said: Mapping[str, Any]) -> dict[str, Any]:
    """Give a message as ReceiveMessage does, with the attributes that `said` asks for."""
    body = message.body if isinstance(message.body, str) else orjson.dumps(message.body).decode()
    shown: dict[str, Any] = {
        "MessageId": message.id,
        "ReceiptHandle": message.receipt,
        "MD5OfBody": md5(body),
        "Body": body,
    }
    names = [*(said.get("AttributeNames") or ()), *(said.get("MessageSystemAttributeNames") or ())]
    system = _system(message)
    if chosen := system if "All" in names else {name: system[name] for name in names if name in system}:
        shown["Attributes"] = chosen
    typed = {name: one for name, one in message.attributes.items() if isinstance(one, dict) and "DataType" in one}
    asked = said.get("MessageAttributeNames") or ()
    if told := {name: one for name, one in typed.items() if _is_asked(name, asked)}:
        shown["MessageAttributes"] = told
        shown["MD5OfMessageAttributes"] = md5_of(told)
    return shown


def _system(message: Message) -> dict[str, str]:
    shown = {
        "SenderId": _ACCOUNT,
        "SentTimestamp": str(int(message.published * 1000)),
        "ApproximateReceiveCount": str(message.receives),
        "ApproximateFirstReceiveTimestamp": str(int((message.first or 0.0) * 1000)),
    }
    if message.dead:
        shown["DeadLetterQueueSourceArn"] = arn(str(message.dead.get("queue")))
    return shown


def _is_asked(name: str, asked: Iterable[str]) -> bool:
    return any(one in {"All", ".*", name} or (one.endswith(".*") and name.startswith(one[:-1])) for one in asked)


def arn(queue: str) -> str:
    """Give the ARN of a queue."""
    return f"arn:aws:sqs:us-east-1:{_ACCOUNT}:{queue}"


def queue_in(value: str) -> str:
    """Give the queue that an ARN or a URL names."""
    return value.rpartition("/" if "/" in value else ":")[2]
