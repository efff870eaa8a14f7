"""The words of which the description of the interface is made: operations, parameters, answers."""

from __future__ import annotations

from typing import Any

TEXT = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
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
BODY = (400, 408, 413, 503)


def ref(name: str) -> dict[str, Any]:
    """Refer to a shape by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def json_answer(schema: dict[str, Any], words: str, **headers: str) -> dict[str, Any]:
    """Describe an answer that is JSON."""
    answer: dict[str, Any] = {"description": words, "content": {"application/json": {"schema": schema}}}
    if headers:
        answer["headers"] = {name: {"schema": TEXT, "description": text} for name, text in headers.items()}
    return answer


def does(
    summary: str,
    good: dict[str, Any],
    *wrong: int,
    parameters: list[dict[str, Any]] | None = None,
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Describe an operation: `good` are its answers when all is well, `wrong` the statuses that say otherwise."""
    responses = {
        **good,
        **{str(status): json_answer(ref("Error"), _WORDS[status]) for status in sorted({*wrong, *_ANY})},
    }
    said: dict[str, Any] = {"summary": summary, "responses": responses}
    if parameters:
        said["parameters"] = parameters
    if body is not None:
        said["requestBody"] = body
    return said


def param(place: str, name: str, words: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    """Describe a parameter; one in a path must be there."""
    said = {"in": place, "name": name, "description": words, "schema": schema or TEXT}
    return said | {"required": True} if place == "path" else said


PREFER = param(
    "header",
    "Prefer",
    "wait=N: wait up to N seconds (60 at most) for the answer",
    {**TEXT, "pattern": r"^wait=\d{1,4}$"},
)
KEY = param(
    "header",
    "Idempotency-Key",
    "the same request with the same key is accepted once",
    {**TEXT, "pattern": r"^[A-Za-z0-9._-]{1,100}$"},
)
_PROBLEM = {
    "type": "object",
    "required": ["title", "status", "detail", "error"],
    "properties": {"title": TEXT, "status": {"type": "integer"}, "detail": TEXT, "error": TEXT},
}
# What comes of it when it is not the same request.
REUSED = {
    "422": {
        "description": "the key, or the id, was used for something else before",
        "content": {"application/problem+json": {"schema": _PROBLEM}},
    }
}


def number(name: str, words: str, low: float, high: float, kind: str = "number") -> dict[str, Any]:
    """Describe a number in the query."""
    return param("query", name, words, {"type": kind, "minimum": low, "maximum": high})
