"""The JSON Schemas of what goes in and out, made from the models themselves."""

from __future__ import annotations

from typing import Any

from inboxd.daemon import config
from inboxd.jobs.job import Job
from inboxd.jobs.result import answer_schema


def schema_of(what: str) -> dict[str, Any]:
    """Give the schema of a `job`, an `answer` or the `config`."""
    match what:
        case "job":
            return Job.model_json_schema()
        case "answer":
            return answer_schema()
        case _:
            return config.schema()
