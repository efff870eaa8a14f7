"""The paths of jobs and answers, as `/openapi.json` describes them."""

from __future__ import annotations

from typing import Any

from inboxd.daemon.openapi_words import BODY, KEY, PREFER, REUSED, TEXT, does, json_answer, param, ref

SHAPES: dict[str, Any] = {
    "Found": {
        "type": "object",
        "required": ["id", "name", "state"],
        "properties": {
            "id": TEXT,
            "name": {**TEXT, "description": "the name of its file"},
            "state": {
                **TEXT,
                "description": "inbox, waiting, running or deferred; once it has its answer, the status of that",
            },
            "why": TEXT,
            "due": {**TEXT, "format": "date-time"},
            "api": TEXT,
            "answer": {"type": "object"},
        },
    }
}
_ACCEPTED = {
    "type": "object",
    "oneOf": [{"required": ["id"]}, {"required": ["ids"]}],
    "properties": {"id": TEXT, "ids": {"type": "array", "items": TEXT}},
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_POSTED = {
    "required": True,
    "content": {
        "application/json": {"schema": {"oneOf": [ref("Job"), {"type": "array", "items": ref("Job")}]}},
        "application/x-ndjson": {"schema": {**TEXT, "description": "one job a line, of any number"}},
        "application/octet-stream": _BINARY,
    },
}
_ID = param(
    "path", "id", "the id that POST /jobs gave, or the name of a job dropped as a file", {**TEXT, "minLength": 1}
)
_NAME = param("path", "name", "the name of a job", {**TEXT, "minLength": 1})
_CALL = param(
    "query",
    "call",
    "the named call that gets the body, whatever it is, as its argument `file`",
    {**TEXT, "minLength": 1},
)
_ACCEPT = does(
    "Accept one job, a list of jobs, or a body for a named call",
    {
        "202": json_answer(_ACCEPTED, "on the disk; the call gets made", Location="where to ask for the job"),
        "200": json_answer(ref("Found"), "the answer came within the time that the client prefers to wait"),
        **REUSED,
    },
    *BODY,
    415,
    429,
    parameters=[PREFER, KEY, _CALL],
    body=_POSTED,
)
_FIND = does(
    "Say where a job is, what it waits for, or its answer",
    {"200": json_answer(ref("Found"), "what is known of it")},
    404,
    parameters=[_ID, PREFER],
)
_CANCEL = does(
    "Take a job back that is not being called yet",
    {"200": json_answer({"type": "object", "required": ["id", "state"]}, "it is answered as cancelled")},
    404,
    409,
    parameters=[_ID],
)
_ANSWER = does(
    "Give an answer as it lies in the outbox",
    {"200": json_answer({"type": "object"}, "the answer; of a batch its summary")},
    404,
    parameters=[_NAME],
)
_ANSWER_BODY = does(
    "Give the body that an answer names",
    {
        status: {"description": words, "content": {"application/octet-stream": _BINARY}}
        for status, words in (("200", "the body"), ("206", "the part of it that was asked for"))
    },
    404,
    parameters=[_NAME],
)
PATHS: dict[str, Any] = {
    "/jobs": {"post": _ACCEPT},
    "/jobs/{id}": {"get": _FIND, "delete": _CANCEL},
    "/answers/{name}": {"get": _ANSWER},
    "/answers/{name}/body": {"get": _ANSWER_BODY},
}
