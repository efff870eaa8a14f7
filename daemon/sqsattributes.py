"""Attributes of queues as SQS has them, on our settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from inboxd.daemon.sqserrors import InvalidAttribute, InvalidAttributeValue
from inboxd.daemon.sqsmessages import LONGEST_DELAY, LONGEST_LEASE, arn, queue_in
from inboxd.jobs.messages import LONGEST_WAIT, MessageQueue

# Whole numbers: our name for each, and the largest that SQS takes.
_NUMBERS = {
    "VisibilityTimeout": ("lease", LONGEST_LEASE),
    "DelaySeconds": ("delay", LONGEST_DELAY),
    "MaximumMessageSize": ("max_message", 2**20),
    "ReceiveMessageWaitTimeSeconds": ("wait", int(LONGEST_WAIT)),
}
# What scripts set as a matter of course and what is so here anyway: we keep messages until they are confirmed.
_IGNORED = {"MessageRetentionPeriod", "SqsManagedSseEnabled"}
_MOST_RECEIVES = 1000


def read(said: Mapping[str, Any]) -> dict[str, Any]:
    """Give the settings that attributes stand for; raises InvalidAttribute, or InvalidAttributeValue."""
    settings: dict[str, Any] = {}
    for name, value in said.items():
        if name in _NUMBERS:
            key, most = _NUMBERS[name]
            settings[key] = _number(name, value, most)
        elif name == "RedrivePolicy":
            settings |= _redrive_policy(value)
        elif name == "FifoQueue" and str(value).lower() == "true":
            raise InvalidAttributeValue("FIFO queues are not supported; every queue is in order of arrival.")
        elif name not in _IGNORED:
            raise InvalidAttribute(f"Unknown Attribute {name}.")
    return settings


def _number(name: str, value: Any, most: int) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if not 0 <= number <= most:
        raise InvalidAttributeValue(f"Invalid value for the parameter {name}.")
    return number


def _redrive_policy(value: Any) -> dict[str, Any]:
    if value == "":
        return {"max_receives": 0, "dead_to": None}
    try:
        said = orjson.loads(value)
        receives, dead = int(said["maxReceiveCount"]), queue_in(said["deadLetterTargetArn"])
    except (TypeError, ValueError, KeyError, AttributeError):
        receives, dead = 0, ""
    if not 1 <= receives <= _MOST_RECEIVES or not dead:
        raise InvalidAttributeValue("Value for parameter RedrivePolicy is invalid.")
    return {"max_receives": receives, "dead_to": dead}


def show(queue: MessageQueue, names: Iterable[str]) -> dict[str, str]:
    """Give the attributes of a queue that are asked for."""
    settings, counts = queue.settings, queue.counts()
    shown = {
        "QueueArn": arn(queue.name),
        "ApproximateNumberOfMessages": str(counts.ready),
        "ApproximateNumberOfMessagesNotVisible": str(counts.leased),
        "ApproximateNumberOfMessagesDelayed": str(counts.delayed),
    }
    shown |= {name: str(int(getattr(settings, key))) for name, (key, _) in _NUMBERS.items()}
    if settings.max_receives and settings.dead_to:
        policy = {"deadLetterTargetArn": arn(settings.dead_to), "maxReceiveCount": settings.max_receives}
        shown["RedrivePolicy"] = orjson.dumps(policy).decode()
    asked = set(names)
    known = {*shown, *_IGNORED, "All", "RedrivePolicy", "CreatedTimestamp", "LastModifiedTimestamp", "Policy"}
    if unknown := asked - known:
        raise InvalidAttribute(f"Unknown Attribute {min(unknown)}.")
    return shown if "All" in asked else {name: value for name, value in shown.items() if name in asked}
