"""What `/openapi.json` says: the interface of the main port, for programs and for people who write some.

The shape of a job is that of the model; the others, and all paths, stand in `openapi_jobs` and `openapi_queues`.
"""

from __future__ import annotations

import json
from typing import Any

import inboxd
from inboxd.daemon import openapi_jobs, openapi_queues
from inboxd.daemon.openapi_words import TEXT, does
from inboxd.daemon.schemas import schema_of

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": TEXT, "field": TEXT},
}


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
        "paths": {**openapi_jobs.PATHS, **openapi_queues.PATHS, **about},
        "components": {
            "schemas": {"Error": _ERROR, **openapi_jobs.SHAPES, **openapi_queues.SHAPES, **_of_models()},
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


def _about() -> dict[str, Any]:
    plain = {"content": {"text/plain": {"schema": TEXT}}}
    return {
        "/healthz": {"get": does("Tell whether the daemon lives", {"200": {"description": "it does", **plain}})},
        "/readyz": {"get": does("Tell whether it takes jobs", {"200": {"description": "it does", **plain}})},
        "/metrics": {
            "get": does("Give the metrics for Prometheus", {"200": {"description": "its text format", **plain}})
        },
    }
