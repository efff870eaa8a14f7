"""The paths of queues, as `/openapi.json` describes them."""

from __future__ import annotations

from typing import Any

from inboxd.daemon.openapi_words import BODY, COUNT, KEY, REUSED, TEXT, does, json_answer, number, param, ref
from inboxd.jobs.queuesettings import NAME

SHAPES: dict[str, Any] = {
    "Message": {
        "type": "object",
        "required": ["id", "number", "body"],
        "properties": {"id": TEXT, "number": {"type": "integer"}, "body": {}, "receipt": TEXT, "receives": COUNT},
    },
    "Queue": {
        "type": "object",
        "required": ["name", "ready", "leased", "delayed", "dead", "settings"],
        "properties": {
            "name": TEXT,
            "ready": COUNT,
            "leased": COUNT,
            "delayed": COUNT,
            "dead": COUNT,
            "settings": {"type": "object"},
        },
    },
}
_MESSAGES = {
    "type": "object",
    "required": ["messages"],
    "properties": {"messages": {"type": "array", "items": ref("Message")}},
}
_GONE = {"204": {"description": "done, for good"}}
_ANY_JSON = {"required": True, "content": {"application/json": {"schema": {}}}}
_SETTINGS = {
    "content": {"application/json": {"schema": {"type": "object", "properties": {"lease": {}, "max_receives": COUNT}}}}
}
_QUEUE = param("path", "queue", "the name of a queue", {**TEXT, "pattern": NAME})
_ID = param("path", "id", "the receipt, id or number of a message", {**TEXT, "minLength": 1})
_CONSUMER = param("query", "consumer", "only who received it under this name holds it")
_LEASE = number("lease", "seconds for which it is hidden from others", 0, 43200)
_AMOUNT = number("amount", "how many at most", 1, 1000, "integer")
_PLACE = param("query", "in", "ready, leased or dead", {**TEXT, "enum": ["ready", "leased", "dead"]})

_ALL = {"get": does("Name all queues", {"200": json_answer({"type": "object", "required": ["queues"]}, "their names")})}
_ONE = {
    "get": does("Say what a queue holds", {"200": json_answer(ref("Queue"), "its counts")}, 404, parameters=[_QUEUE]),
    "put": does(
        "Make a queue, unless it is there",
        {"200": json_answer(ref("Queue"), "the queue")},
        *BODY,
        404,
        parameters=[_QUEUE],
        body=_SETTINGS,
    ),
    "delete": does("Remove a queue with all its messages", _GONE, 404, parameters=[_QUEUE]),
}
_ITS_MESSAGES = {
    "post": does(
        "Publish any JSON as one message",
        {
            "201": json_answer({"type": "object", "required": ["id"], "properties": {"id": TEXT}}, "durable"),
            **REUSED,
        },
        *BODY,
        404,
        parameters=[
            _QUEUE,
            number("priority", "higher goes first", -1000, 1000, "integer"),
            number("delay", "seconds for which it is hidden at first", 0, 43200),
            _LEASE,
            KEY,
        ],
        body=_ANY_JSON,
    ),
    "get": does(
        "Show messages without taking them",
        {"200": json_answer(_MESSAGES, "some of them")},
        400,
        404,
        parameters=[_QUEUE, _AMOUNT, _PLACE],
    ),
    "delete": does("Remove all messages", _GONE, 404, parameters=[_QUEUE, _PLACE]),
}
_RECEIVE = does(
    "Lease messages",
    {"200": json_answer(_MESSAGES, "those that are yours now")},
    400,
    404,
    429,
    parameters=[
        _QUEUE,
        _AMOUNT,
        _LEASE,
        _CONSUMER,
        number("wait", "seconds to wait for the first (20 at most)", 0, 60),
    ],
)
_MESSAGE = {
    "patch": does(
        "Let a lease end so many seconds from now; 0: at once",
        _GONE,
        400,
        404,
        parameters=[_QUEUE, _ID, _LEASE, _CONSUMER],
    ),
    "delete": does("Be done with a message", _GONE, 404, parameters=[_QUEUE, _ID, _CONSUMER]),
}
_REDRIVE = does(
    "Bring dead letters back",
    {"200": json_answer({"type": "object", "required": ["moved"], "properties": {"moved": COUNT}}, "how many")},
    404,
    parameters=[_QUEUE],
)
PATHS: dict[str, Any] = {
    "/queues": _ALL,
    "/queues/{queue}": _ONE,
    "/queues/{queue}/messages": _ITS_MESSAGES,
    "/queues/{queue}/receive": {"post": _RECEIVE},
    "/queues/{queue}/messages/{id}": _MESSAGE,
    "/queues/{queue}/redrive": {"post": _REDRIVE},
}
