"""What SQS can do with whole queues."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from inboxd.daemon import sqsattributes
from inboxd.daemon.sqserrors import InvalidAttributeValue, InvalidValue, NameExists, NoSuchQueue, NotFound
from inboxd.daemon.sqsmessages import LONGEST_LEASE, number, queue_in, text
from inboxd.jobs.message import Draft
from inboxd.jobs.messages import MessageQueue
from inboxd.jobs.queues import NoQueue, Queues

Said = Mapping[str, Any]


class Call:
    """One request: the queues, and where they are told to be."""

    def __init__(self, queues: Queues, base: str) -> None:
        self.queues = queues
        self.base = base

    def queue(self, said: Said) -> MessageQueue:
        """Give the queue that a request is about."""
        return self.named(queue_in(text(said, "QueueUrl")))

    def named(self, name: str) -> MessageQueue:
        """Give a queue by its name."""
        try:
            return self.queues.get(name)
        except NoQueue:
            raise NoSuchQueue("The specified queue does not exist.") from None

    def url(self, name: str) -> str:
        """Give the URL of a queue."""
        return f"{self.base}/{name}"


def create(call: Call, said: Said) -> dict[str, Any]:
    """CreateQueue; one that is there with the same attributes is given as it is."""
    name = text(said, "QueueName")
    settings = sqsattributes.read(said.get("Attributes") or {})
    existed = name in call.queues.names()
    try:
        queue = call.queues.create(name, **settings)
    except NoQueue as error:
        raise InvalidValue(str(error)) from None
    except ValidationError:
        raise InvalidAttributeValue("Invalid value for an attribute of the queue.") from None
    if existed and any(getattr(queue.settings, key) != value for key, value in settings.items()):
        raise NameExists("A queue already exists with the same name and a different value for an attribute.")
    return {"QueueUrl": call.url(name)}


def url(call: Call, said: Said) -> dict[str, Any]:
    """GetQueueUrl."""
    return {"QueueUrl": call.url(call.named(text(said, "QueueName")).name)}


def listing(call: Call, said: Said) -> dict[str, Any]:
    """ListQueues."""
    prefix = said.get("QueueNamePrefix") or ""
    most = number(said, "MaxResults", 1, 1000) or 1000
    after = said.get("NextToken") or ""
    names = [name for name in call.queues.names() if name.startswith(prefix) and name > after]
    shown: dict[str, Any] = {"QueueUrls": [call.url(name) for name in names[:most]]}
    if len(names) > most:
        shown["NextToken"] = names[most - 1]
    return shown


def sources(call: Call, said: Said) -> dict[str, Any]:
    """ListDeadLetterSourceQueues."""
    dead = call.queue(said).name
    names = [name for name in call.queues.names() if call.queues.get(name).settings.dead_to == dead]
    return {"queueUrls": [call.url(name) for name in names]}


def delete(call: Call, said: Said) -> dict[str, Any]:
    """DeleteQueue."""
    call.queues.remove(call.queue(said).name)
    return {}


def purge(call: Call, said: Said) -> dict[str, Any]:
    """PurgeQueue."""
    call.queue(said).purge()
    return {}


def get_attributes(call: Call, said: Said) -> dict[str, Any]:
    """GetQueueAttributes."""
    shown = sqsattributes.show(call.queue(said), said.get("AttributeNames") or ())
    return {"Attributes": shown} if shown else {}


def set_attributes(call: Call, said: Said) -> dict[str, Any]:
    """SetQueueAttributes."""
    name = call.queue(said).name
    call.queues.change(name, **sqsattributes.read(said.get("Attributes") or {}))
    return {}


def move(call: Call, said: Said) -> dict[str, Any]:
    """Bring dead letters back to where they came from, or to where the request says; all of them, before it answers."""
    try:
        source = call.named(queue_in(text(said, "SourceArn")))
        given = said.get("DestinationArn")
        chosen = call.named(queue_in(given)) if given else None
        while messages := source.receive(1000, lease=LONGEST_LEASE):
            for message in messages:
                target = chosen or call.named(str((message.dead or {}).get("queue")))
                # The same key again after a crash: it is there once.
                draft = Draft(message.body, message.priority, attributes=message.attributes, key=f"moved:{message.id}")
                target.publish_many([draft])
            source.begin_confirm_many([message.receipt or "" for message in messages])
            source.commit()
    except NoSuchQueue:
        raise NotFound("The resource that you specified for the SourceArn or DestinationArn does not exist.") from None
    return {"TaskHandle": f"done:{source.name}"}
