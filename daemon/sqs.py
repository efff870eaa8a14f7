"""The SQS protocol (AWS JSON 1.0) on our queues: a request in, an answer out, so that unchanged SDKs can work here.

`handle` never waits for messages: who serves it asks `patience` how long an empty answer of ReceiveMessage may be
held back, and asks again when the queue says that there is something. It does wait for the disk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from inboxd.daemon import sqsattributes
from inboxd.daemon.sqserrors import (
    EmptyBatch,
    InvalidAttributeValue,
    InvalidEntryId,
    InvalidHandle,
    InvalidValue,
    NameExists,
    NoSuchQueue,
    NotDistinct,
    NotFound,
    NotInflight,
    OverLimit,
    SqsError,
    TooManyEntries,
    Unsupported,
)
from inboxd.daemon.sqsmessages import LONGEST_LEASE, draft_of, number, queue_in, received, sent, text
from inboxd.jobs.message import Draft, number_of
from inboxd.jobs.messages import MessageQueue, NotHeld, TooLarge, TooMany
from inboxd.jobs.queues import NoQueue, Queues

PREFIX = "AmazonSQS."
MEDIA_TYPE = "application/x-amz-json-1.0"
# What SQS allows in one request.
MOST, LONGEST_WAIT = 10, 20
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")

Said = Mapping[str, Any]
Reply = tuple[int, dict[str, str], dict[str, Any]]


def handle(queues: Queues, target: str, said: Any, base: str) -> Reply:
    """Answer a request: its header `X-Amz-Target`, its body, and the URL below which queues are told to be."""
    headers = {"Content-Type": MEDIA_TYPE}
    try:
        action = _ACTIONS.get(target.removeprefix(PREFIX))
        if action is None:
            raise Unsupported(f"{target}: no such operation here")
        if not isinstance(said, dict):
            raise InvalidValue("The body of the request must be a JSON object.")
        return 200, headers, action(_Call(queues, base.rstrip("/")), said)
    except SqsError as error:
        return 400, headers | {"x-amzn-query-error": error.header}, error.to_dict()


def patience(queues: Queues, target: str, said: Any) -> tuple[MessageQueue, float] | None:
    """Tell on which queue, and for how many seconds, an empty answer may be held back; None: not at all."""
    if target.removeprefix(PREFIX) != "ReceiveMessage" or not isinstance(said, dict):
        return None
    try:
        queue = _Call(queues, "").queue(said)
        asked = number(said, "WaitTimeSeconds", 0, LONGEST_WAIT)
    except SqsError:
        return None
    wait = queue.settings.wait if asked is None else float(asked)
    return (queue, wait) if wait else None


class _Call:
    """One request: the queues, and where they are told to be."""

    def __init__(self, queues: Queues, base: str) -> None:
        self.queues = queues
        self.base = base

    def queue(self, said: Said) -> MessageQueue:
        """Give the queue that a request is about."""
        return self.named(queue_in(text(said, "QueueUrl")))

    def named(self, name: str) -> MessageQueue:
        try:
            return self.queues.get(name)
        except NoQueue:
            raise NoSuchQueue("The specified queue does not exist.") from None

    def url(self, name: str) -> str:
        return f"{self.base}/{name}"


# -- queues -----------------------------------------------------------------------------------------------------


def _create(call: _Call, said: Said) -> dict[str, Any]:
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


def _url(call: _Call, said: Said) -> dict[str, Any]:
    return {"QueueUrl": call.url(call.named(text(said, "QueueName")).name)}


def _list(call: _Call, said: Said) -> dict[str, Any]:
    prefix = said.get("QueueNamePrefix") or ""
    most = number(said, "MaxResults", 1, 1000) or 1000
    after = said.get("NextToken") or ""
    names = [name for name in call.queues.names() if name.startswith(prefix) and name > after]
    shown: dict[str, Any] = {"QueueUrls": [call.url(name) for name in names[:most]]}
    if len(names) > most:
        shown["NextToken"] = names[most - 1]
    return shown


def _sources(call: _Call, said: Said) -> dict[str, Any]:
    dead = call.queue(said).name
    names = [name for name in call.queues.names() if call.queues.get(name).settings.dead_to == dead]
    return {"queueUrls": [call.url(name) for name in names]}


def _delete_queue(call: _Call, said: Said) -> dict[str, Any]:
    call.queues.remove(call.queue(said).name)
    return {}


def _purge(call: _Call, said: Said) -> dict[str, Any]:
    call.queue(said).purge()
    return {}


def _get_attributes(call: _Call, said: Said) -> dict[str, Any]:
    shown = sqsattributes.show(call.queue(said), said.get("AttributeNames") or ())
    return {"Attributes": shown} if shown else {}


def _set_attributes(call: _Call, said: Said) -> dict[str, Any]:
    name = call.queue(said).name
    call.queues.change(name, **sqsattributes.read(said.get("Attributes") or {}))
    return {}


def _move(call: _Call, said: Said) -> dict[str, Any]:
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


# -- messages ---------------------------------------------------------------------------------------------------


def _send(call: _Call, said: Said) -> dict[str, Any]:
    queue = call.queue(said)
    draft = draft_of(said)
    return sent(_published(queue, [draft])[0], draft)


def _published(queue: MessageQueue, drafts: list[Draft]) -> list[str]:
    try:
        return queue.publish_many(drafts)
    except TooLarge:
        most = queue.settings.max_message
        raise InvalidValue(
            f"One or more parameters are invalid. Reason: Message must be shorter than {most} bytes."
        ) from None


def _send_batch(call: _Call, said: Said) -> dict[str, Any]:
    queue = call.queue(said)
    # One flush for the whole batch.
    drafts: dict[str, Draft] = {}

    def one(entry: Said) -> dict[str, Any]:
        drafts[entry["Id"]] = draft_of(entry)
        return {}

    shown = _batch(said, one)
    ids = _published(queue, list(drafts.values()))
    shown["Successful"] = [
        {"Id": entry, **sent(identifier, draft)} for identifier, (entry, draft) in zip(ids, drafts.items(), strict=True)
    ]
    return shown


def _receive(call: _Call, said: Said) -> dict[str, Any]:
    queue = call.queue(said)
    most = number(said, "MaxNumberOfMessages", 1, MOST)
    lease = number(said, "VisibilityTimeout", 0, LONGEST_LEASE)
    number(said, "WaitTimeSeconds", 0, LONGEST_WAIT)
    try:
        messages = queue.receive(most or 1, lease=lease)
    except TooMany as error:
        raise OverLimit(str(error)) from None
    return {"Messages": [received(message, said) for message in messages]} if messages else {}


def _receipt(said: Said) -> str:
    receipt = text(said, "ReceiptHandle")
    try:
        number_of(receipt.partition(".")[0])
    except ValueError:
        receipt = ""
    if "." not in receipt:
        raise InvalidHandle("The input receipt handle is invalid.")
    return receipt


def _delete(call: _Call, said: Said) -> dict[str, Any]:
    queue = call.queue(said)
    _begin_delete(queue, said)
    queue.commit()
    return {}


def _begin_delete(queue: MessageQueue, said: Said) -> None:
    """Confirm a message; one that is not there was deleted before, which is no error to delete twice."""
    try:
        queue.begin_confirm(_receipt(said))
    except NotHeld as problem:
        if problem.known:
            handle = said["ReceiptHandle"]
            why = "Reason: The receipt handle has expired."
            raise InvalidValue(f"Value {handle} for parameter ReceiptHandle is invalid. {why}") from None


def _delete_batch(call: _Call, said: Said) -> dict[str, Any]:
    queue = call.queue(said)

    def one(entry: Said) -> dict[str, Any]:
        _begin_delete(queue, entry)
        return {}

    shown = _batch(said, one)
    queue.commit()
    return shown


def _change(call: _Call, said: Said) -> dict[str, Any]:
    return _change_one(call.queue(said), said)


def _change_one(queue: MessageQueue, said: Said) -> dict[str, Any]:
    lease = number(said, "VisibilityTimeout", 0, LONGEST_LEASE)
    if lease is None:
        text(said, "VisibilityTimeout")
    try:
        queue.extend(_receipt(said), lease or 0)
    except NotHeld:
        raise NotInflight("The message referred to is not in flight.") from None
    return {}


def _change_batch(call: _Call, said: Said) -> dict[str, Any]:
    queue = call.queue(said)
    return _batch(said, lambda entry: _change_one(queue, entry))


def _batch(said: Said, one: Callable[[Said], dict[str, Any]]) -> dict[str, Any]:
    """Do `one` for each entry of a batch; what is wrong with an entry harms no other."""
    entries = said.get("Entries") or []
    if not isinstance(entries, list) or not entries:
        raise EmptyBatch("There should be at least one entry in the request.")
    if len(entries) > MOST:
        raise TooManyEntries(f"Maximum number of entries per request are {MOST}. You have sent {len(entries)}.")
    ids = [entry.get("Id") if isinstance(entry, dict) else None for entry in entries]
    if not all(isinstance(one, str) and _ENTRY_ID.fullmatch(one) for one in ids):
        raise InvalidEntryId("A batch entry id can only contain alphanumeric characters, hyphens and underscores.")
    if len(set(ids)) != len(ids):
        raise NotDistinct("Two or more batch entries in the request have the same Id.")
    shown: dict[str, Any] = {"Successful": [], "Failed": []}
    for entry in entries:
        try:
            shown["Successful"].append({"Id": entry["Id"], **one(entry)})
        except SqsError as error:
            shown["Failed"].append(error.entry(entry["Id"]))
    return shown


_ACTIONS: dict[str, Callable[[_Call, Said], dict[str, Any]]] = {
    "CreateQueue": _create,
    "GetQueueUrl": _url,
    "ListQueues": _list,
    "ListDeadLetterSourceQueues": _sources,
    "DeleteQueue": _delete_queue,
    "PurgeQueue": _purge,
    "GetQueueAttributes": _get_attributes,
    "SetQueueAttributes": _set_attributes,
    "StartMessageMoveTask": _move,
    "SendMessage": _send,
    "SendMessageBatch": _send_batch,
    "ReceiveMessage": _receive,
    "DeleteMessage": _delete,
    "DeleteMessageBatch": _delete_batch,
    "ChangeMessageVisibility": _change,
    "ChangeMessageVisibilityBatch": _change_batch,
}
