"""The printed schemas: that they are JSON Schema at all, and that real answers keep to theirs."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.daemonkit import CountingServer, Daemon, inboxd

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}
# All that this check understands; a schema that says more would pass unseen.
_UNDERSTOOD = {"$schema", "title", "type", "required", "properties", "additionalProperties", "items", "enum", "format"}


def violations(value: Any, schema: dict[str, Any], at: str = "$") -> list[str]:
    """Say where `value` is not as `schema` wants it, or holds a key that the schema does not name."""
    assert schema.keys() <= _UNDERSTOOD, at
    found = []
    if "type" in schema and not isinstance(value, _TYPES[schema["type"]]):
        found.append(f"{at}: not of type {schema['type']}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is none of {schema['enum']}")
    if isinstance(value, dict) and schema:
        found += [f"{at}: no {key}" for key in schema.get("required", ()) if key not in value]
        for key, inner in value.items():
            known = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            found += [f"{at}.{key}: not named"] if known is None else violations(inner, known, f"{at}.{key}")
    if isinstance(value, list):
        found += [
            each
            for place, item in enumerate(value)
            for each in violations(item, schema.get("items", {}), f"{at}[{place}]")
        ]
    return found


def printed(what: str, folder: Path) -> Any:
    done = inboxd("schema", what, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.parametrize(("what", "key"), [("job", "url"), ("answer", "status"), ("config", "threads")])
def test_a_schema_is_printed_as_json(tmp_path: Path, what: str, key: str) -> None:
    schema = printed(what, tmp_path)
    assert schema["type"] == "object"
    assert key in schema["properties"]
    assert what == "answer" or schema["additionalProperties"] is False


def test_real_answers_keep_to_the_schema(tmp_path: Path) -> None:
    schema = printed("answer", tmp_path)
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        daemon.drop("done", {"url": server.url("/echo"), "json": {"a": [1, None]}, "cache": "5m"})
        daemon.drop("binary", {"url": server.url("/binary")})
        daemon.drop("failed", {"url": server.url("/status/503"), "attempts": 1})
        daemon.drop("rejected", "{")
        daemon.drop("again", {"url": server.url("/flaky/k?times=1&status=503"), "attempts": 3})
        daemon.drop("many", {"url": server.url("/ok")}, {"uri": "x"})
        answers = [daemon.answer(name) for name in ("done", "binary", "failed", "rejected", "again")]
        answers += daemon.batch("many")
    assert {answer["status"] for answer in answers} == {"done", "failed", "rejected"}
    assert [(answer["name"], violations(answer, schema)) for answer in answers if violations(answer, schema)] == []


@pytest.mark.parametrize(
    "change", [{"status": "fine"}, {"id": 3}, {"more": 1}, {"attempts": [{"at": "now"}]}, {"response": {"headers": []}}]
)
def test_the_check_sees_what_is_wrong(tmp_path: Path, change: dict[str, Any]) -> None:
    good = {"id": "a", "status": "done", "attempts": [], "received": "2026", "finished": "2026"}
    schema = printed("answer", tmp_path)
    assert violations(good, schema) == []
    assert len(violations({**good, **change}, schema)) == 1
