"""The SQS protocol (AWS JSON 1.0) on our queues: a request in, an answer out, so that unchanged SDKs can work here.

`handle` never waits for messages: who serves it asks `patience` how long an empty answer of ReceiveMessage may be
held back, and asks again when the queue says that there is something. It does wait for the disk.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from inboxd.daemon import sqsqueues
from inboxd.daemon.sqserrors import (
    EmptyBatch,
    InvalidEntryId,
    InvalidHandle,
    InvalidValue,
    NotDistinct,
    NotInflight,
    OverLimit,
    SqsError,
    TooManyEntries,
    Unsupported,
)
from inboxd.daemon.sqsmessages import LONGEST_LEASE, draft_of, number, received, sent, text
from inboxd.daemon.sqsqueues import Call, Said
from inboxd.jobs.message import Draft, number_of
from inboxd.jobs.messages import MessageQueue, NotHeld, TooLarge, TooMany
from inboxd.jobs.queues import Queues

PREFIX = "AmazonSQS."
MEDIA_TYPE = "application/x-amz-json-1.0"
# What SQS allows in one request.
MOST, LONGEST_WAIT = 10, 20
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")

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
        return 200, headers, action(Call(queues, base.rstrip("/")), said)
    except SqsError as error:
        return 400, headers | {"x-amzn-query-error": error.header}, error.to_dict()


def patience(queues: Queues, target: str, said: Any) -> tuple[MessageQueue, float] | None:
    """Tell on which queue, and for how many seconds, an empty answer may be held back; None: not at all."""
    if target.removeprefix(PREFIX) != "ReceiveMessage" or not isinstance(said, dict):
        return None
    try:
        queue = Call(queues, "").queue(said)
        asked = number(said, "WaitTimeSeconds", 0, LONGEST_WAIT)
    except SqsError:
        return None
    wait = queue.settings.wait if asked is None else float(asked)
    return (queue, wait) if wait else None


# -- messages ---------------------------------------------------------------------------------------------------


def _send(call: Call, said: Said) -> dict[str, Any]:
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


def _send_batch(call: Call, said: Said) -> dict[str, Any]:
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


def _receive(call: Call, said: Said) -> dict[str, Any]:
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


def _delete(call: Call, said: Said) -> dict[str, Any]:
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


def _delete_batch(call: Call, said: Said) -> dict[str, Any]:
    queue = call.queue(said)

    def one(entry: Said) -> dict[str, Any]:
        _begin_delete(queue, entry)
        return {}

    shown = _batch(said, one)
    queue.commit()
    return shown


def _change(call: Call, said: Said) -> dict[str, Any]:
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


def _change_batch(call: Call, said: Said) -> dict[str, Any]:
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


_ACTIONS: dict[str, Callable[[Call, Said], dict[str, Any]]] = {
    "CreateQueue": sqsqueues.create,
    "GetQueueUrl": sqsqueues.url,
    "ListQueues": sqsqueues.listing,
    "ListDeadLetterSourceQueues": sqsqueues.sources,
    "DeleteQueue": sqsqueues.delete,
    "PurgeQueue": sqsqueues.purge,
    "GetQueueAttributes": sqsqueues.get_attributes,
    "SetQueueAttributes": sqsqueues.set_attributes,
    "StartMessageMoveTask": sqsqueues.move,
    "SendMessage": _send,
    "SendMessageBatch": _send_batch,
    "ReceiveMessage": _receive,
    "DeleteMessage": _delete,
    "DeleteMessageBatch": _delete_batch,
    "ChangeMessageVisibility": _change,
    "ChangeMessageVisibilityBatch": _change_batch,
}
