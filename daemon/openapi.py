"""What `/openapi.json` says: the interface of the main port, for programs and for people who write some.

The shapes of jobs and answers are those of the models; everything else stands here beside the words for it.
"""

from __future__ import annotations

import json
from typing import Any

import inboxd
from inboxd.daemon.schemas import schema_of

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": _TEXT, "field": _TEXT},
}
_PROBLEM = {
    "type": "object",
    "required": ["title", "status", "detail", "error"],
    "properties": {"title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT, "error": _TEXT},
}
_FOUND = {
    "type": "object",
    "required": ["id", "name", "state"],
    "properties": {
        "id": _TEXT,
        "name": {**_TEXT, "description": "the name of its file"},
        "state": {
            **_TEXT,
            "description": "inbox, waiting, running or deferred; once it has its answer, the status of that",
        },
        "why": _TEXT,
        "due": {**_TEXT, "format": "date-time"},
        "api": _TEXT,
        "answer": {"type": "object"},
    },
}
_MESSAGE = {
    "type": "object",
    "required": ["id", "number", "body"],
    "properties": {"id": _TEXT, "number": {"type": "integer"}, "body": {}, "receipt": _TEXT, "receives": _COUNT},
}
_QUEUE = {
    "type": "object",
    "required": ["name", "ready", "leased", "delayed", "dead", "settings"],
    "properties": {
        "name": _TEXT,
        "ready": _COUNT,
        "leased": _COUNT,
        "delayed": _COUNT,
        "dead": _COUNT,
        "settings": {"type": "object"},
    },
}
_WORDS = {
    400: "what was sent is wrong, and how",
    404: "nothing is known by that name",
    408: "the body came too slowly",
    409: "too late for that",
    413: "too large",
    415: "no type that is read here",
    429: "no room now; Retry-After says when",
    503: "no room now; Retry-After says when",
}
# What can come of any request that looks at the disk, and of any that has a body.
_ANY = (503,)
_BODY = (400, 408, 413, 503)


def document(*, with_metrics: bool = True) -> dict[str, Any]:
    """Give the document."""
    about = _about()
    if not with_metrics:
        del about["/metrics"]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "inboxd",
            "version": inboxd.__version__,
            "description": "Jobs in, answers out: what is accepted is on the disk, and the call gets made.",
        },
        "paths": {**_jobs(), **_queues(), **about},
        "components": {
            "schemas": {"Error": _ERROR, "Found": _FOUND, "Message": _MESSAGE, "Queue": _QUEUE, **_of_models()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _of_models() -> dict[str, Any]:
    """Give the schema of a job, with its parts beside it."""
    schema = json.loads(json.dumps(schema_of("job")).replace("#/$defs/", "#/components/schemas/"))
    parts: dict[str, Any] = schema.pop("$defs", {})
    schema.pop("$schema", None)
    return {**parts, "Job": schema}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: dict[str, Any], words: str, **headers: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": words, "content": {"application/json": {"schema": schema}}}
    if headers:
        answer["headers"] = {name: {"schema": _TEXT, "description": text} for name, text in headers.items()}
    return answer


def _does(
    summary: str,
    good: dict[str, Any],
    *wrong: int,
    parameters: list[dict[str, Any]] | None = None,
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Describe an operation: `good` are its answers when all is well, `wrong` the statuses that say otherwise."""
    responses = {**good, **{str(status): _json(_ref("Error"), _WORDS[status]) for status in sorted({*wrong, *_ANY})}}
    said: dict[str, Any] = {"summary": summary, "responses": responses}
    if parameters:
        said["parameters"] = parameters
    if body is not None:
        said["requestBody"] = body
    return said


def _in(place: str, name: str, words: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    said = {"in": place, "name": name, "description": words, "schema": schema or _TEXT}
    return said | {"required": True} if place == "path" else said


_PREFER = _in(
    "header",
    "Prefer",
    "wait=N: wait up to N seconds (60 at most) for the answer",
    {**_TEXT, "pattern": r"^wait=\d{1,4}$"},
)
_KEY = _in(
    "header",
    "Idempotency-Key",
    "the same request with the same key is accepted once, another one with it is refused",
    {**_TEXT, "pattern": r"^[A-Za-z0-9._-]{1,100}$"},
)


def _number(name: str, words: str, low: float, high: float, kind: str = "number") -> dict[str, Any]:
    return _in("query", name, words, {"type": kind, "minimum": low, "maximum": high})


def _jobs() -> dict[str, Any]:
    one = _in(
        "path", "id", "the id that POST /jobs gave, or the name of a job dropped as a file", {**_TEXT, "minLength": 1}
    )
    name = _in("path", "name", "the name of a job", {**_TEXT, "minLength": 1})
    accepted = {
        "type": "object",
        "oneOf": [{"required": ["id"]}, {"required": ["ids"]}],
        "properties": {"id": _TEXT, "ids": {"type": "array", "items": _TEXT}},
    }
    binary = {"schema": {"type": "string", "format": "binary"}}
    body = {
        "required": True,
        "content": {
            "application/json": {"schema": {"oneOf": [_ref("Job"), {"type": "array", "items": _ref("Job")}]}},
            "application/x-ndjson": {"schema": {**_TEXT, "description": "one job a line, of any number"}},
            "application/octet-stream": binary,
        },
    }
    call = _in(
        "query",
        "call",
        "the named call that gets the body, whatever it is, as its argument `file`",
        {**_TEXT, "minLength": 1},
    )
    return {
        "/jobs": {
            "post": _does(
                "Accept one job, a list of jobs, or a body for a named call",
                {
                    "202": _json(accepted, "on the disk; the call gets made", Location="where to ask for the job"),
                    "200": _json(_ref("Found"), "the answer came within the time that the client prefers to wait"),
                    "422": {
                        "description": "the key, or the id, was used for something else before",
                        "content": {"application/problem+json": {"schema": _PROBLEM}},
                    },
                },
                *_BODY,
                415,
                429,
                parameters=[_PREFER, _KEY, call],
                body=body,
            )
        },
        "/jobs/{id}": {
            "get": _does(
                "Say where a job is, what it waits for, or its answer",
                {"200": _json(_ref("Found"), "what is known of it")},
                404,
                parameters=[one, _PREFER],
            ),
            "delete": _does(
                "Take a job back that is not being called yet",
                {"200": _json({"type": "object", "required": ["id", "state"]}, "it is answered as cancelled")},
                404,
                409,
                parameters=[one],
            ),
        },
        "/answers/{name}": {
            "get": _does(
                "Give an answer as it lies in the outbox",
                {"200": _json({"type": "object"}, "the answer; of a batch its summary")},
                404,
                parameters=[name],
            )
        },
        "/answers/{name}/body": {
            "get": _does(
                "Give the body that an answer names",
                {
                    status: {"description": words, "content": {"application/octet-stream": binary}}
                    for status, words in (("200", "the body"), ("206", "the part of it that was asked for"))
                },
                404,
                parameters=[name],
            )
        },
    }


def _queues() -> dict[str, Any]:
    queue = _in("path", "queue", "the name of a queue", {**_TEXT, "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$"})
    message = _in("path", "id", "the receipt, id or number of a message", {**_TEXT, "minLength": 1})
    consumer = _in("query", "consumer", "only who received it under this name holds it")
    lease = _number("lease", "seconds for which it is hidden from others", 0, 43200)
    amount = _number("amount", "how many at most", 1, 1000, "integer")
    place = _in("query", "in", "ready, leased or dead", {**_TEXT, "enum": ["ready", "leased", "dead"]})
    messages = {
        "type": "object",
        "required": ["messages"],
        "properties": {"messages": {"type": "array", "items": _ref("Message")}},
    }
    gone = {"204": {"description": "done, for good"}}
    any_json = {"required": True, "content": {"application/json": {"schema": {}}}}
    settings = {
        "content": {
            "application/json": {"schema": {"type": "object", "properties": {"lease": {}, "max_receives": _COUNT}}}
        }
    }
    base = "/queues/{queue}"
    return {
        "/queues": {
            "get": _does("Name all queues", {"200": _json({"type": "object", "required": ["queues"]}, "their names")})
        },
        base: {
            "get": _does(
                "Say what a queue holds", {"200": _json(_ref("Queue"), "its counts")}, 404, parameters=[queue]
            ),
            "put": _does(
                "Make a queue, unless it is there",
                {"200": _json(_ref("Queue"), "the queue")},
                *_BODY,
                404,
                parameters=[queue],
                body=settings,
            ),
            "delete": _does("Remove a queue with all its messages", gone, 404, parameters=[queue]),
        },
        f"{base}/messages": {
            "post": _does(
                "Publish any JSON as one message",
                {"201": _json({"type": "object", "required": ["id"], "properties": {"id": _TEXT}}, "durable")},
                *_BODY,
                404,
                parameters=[
                    queue,
                    _number("priority", "higher goes first", -1000, 1000, "integer"),
                    _number("delay", "seconds for which it is hidden at first", 0, 43200),
                    lease,
                    _KEY,
                ],
                body=any_json,
            ),
            "get": _does(
                "Show messages without taking them",
                {"200": _json(messages, "some of them")},
                400,
                404,
                parameters=[queue, amount, place],
            ),
            "delete": _does("Remove all messages", gone, 404, parameters=[queue, place]),
        },
        f"{base}/receive": {
            "post": _does(
                "Lease messages",
                {"200": _json(messages, "those that are yours now")},
                400,
                404,
                429,
                parameters=[queue, amount, lease, consumer, _number("wait", "seconds to wait for the first", 0, 60)],
            )
        },
        f"{base}/messages/{{id}}": {
            "patch": _does(
                "Let a lease end so many seconds from now; 0: at once",
                gone,
                400,
                404,
                parameters=[queue, message, lease, consumer],
            ),
            "delete": _does("Be done with a message", gone, 404, parameters=[queue, message, consumer]),
        },
        f"{base}/redrive": {
            "post": _does(
                "Bring dead letters back",
                {"200": _json({"type": "object", "required": ["moved"], "properties": {"moved": _COUNT}}, "how many")},
                404,
                parameters=[queue],
            )
        },
    }


def _about() -> dict[str, Any]:
    plain = {"content": {"text/plain": {"schema": _TEXT}}}
    return {
        "/healthz": {"get": _does("Tell whether the daemon lives", {"200": {"description": "it does", **plain}})},
        "/readyz": {"get": _does("Tell whether it takes jobs", {"200": {"description": "it does", **plain}})},
        "/metrics": {
            "get": _does("Give the metrics for Prometheus", {"200": {"description": "its text format", **plain}})
        },
    }
