"""The answer: one line of JSON, whatever the server sent."""

import io
import json
from typing import Any

import pytest

from inboxd.jobs.result import Answer, Attempt, Problem, Response, isotime


def shown(response: Response, file: str | None = None) -> dict[str, Any]:
    line = Answer("i", "done", response=response).to_json(file)
    assert b"\n" not in line
    found: dict[str, Any] = json.loads(line)["response"]
    return found


@pytest.mark.parametrize(
    ("content_type", "body", "part"),
    [
        ("application/json", b'{"a": 1}', {"json": {"a": 1}}),
        ("application/problem+json; charset=utf-8", b"[1]", {"json": [1]}),
        ("application/json", b'{\r\n "a": [\n1]\r\n}', {"json": {"a": [1]}}),
        ("application/json", b"not json", {"text": "not json"}),
        ("application/json", b"", {}),
        ("text/plain", b"hello", {"text": "hello"}),
        ("", b"hello", {"text": "hello"}),
        ("text/plain; charset=ISO-8859-1", b"\xe4", {"text": "ä"}),
        ('text/plain; charset="utf-8"; x=y', "ä".encode(), {"text": "ä"}),
        ("text/plain", b"\xff\xfe\x00", {"text": None}),
        ("text/plain; charset=nonsense", b"a", {"text": None}),
        ("text/plain; charset=hex", b"61", {"text": None}),
        ("text/plain; charset=undefined", b"a", {"text": None}),
        ("text/plain; charset=unicode_escape", rb"\ud800", {"text": None}),
        ("text/plain; charset=utf-7", b"+2AA-", {"text": None}),
    ],
)
def test_the_body_stands_as_what_it_is(content_type: str, body: bytes, part: dict[str, Any]) -> None:
    given = shown(Response(200, {"Content-Type": content_type}, body))
    assert given == {"status": 200, "headers": {"Content-Type": content_type}} | part


@pytest.mark.parametrize("body", [b"[%d]" % 10**30, b"[\n1.00000000000000000001\n]", b"[" * 400 + b"\n" + b"]" * 400])
def test_the_servers_json_is_handed_on_as_it_was_written(body: bytes) -> None:
    line = Answer("i", "done", response=Response(200, {"Content-Type": "application/json"}, body)).to_json()
    assert body.replace(b"\n", b" ") in line


def test_credentials_and_cookies_are_hidden() -> None:
    headers = {"Set-Cookie": "s=1", "X-Api-Token": "t", "Authorization": "Basic", "Date": "now"}
    given = shown(Response(200, headers))["headers"]
    assert given == {"Set-Cookie": "***", "X-Api-Token": "***", "Authorization": "***", "Date": "now"}


def test_a_body_in_a_side_file_is_named_with_its_size_and_digest() -> None:
    response = Response(200, {}, side=io.BytesIO(), size=5, sha256="ab")
    assert shown(response, "x.body") == {"status": 200, "headers": {}, "file": "x.body", "bytes": 5, "sha256": "ab"}
    assert response.text is None


@pytest.mark.parametrize(("body", "binary"), [(b"", False), (b"text", False), (b"\xff", True)])
def test_only_what_is_no_text_is_binary(body: bytes, binary: bool) -> None:
    assert Response(200, {}, body).binary is binary


def test_an_answer_says_no_more_than_there_is_to_say() -> None:
    answer = Answer("i", "failed", error=Problem("client", "no"))
    assert json.loads(answer.to_json()) == {
        "id": "i",
        "status": "failed",
        "attempts": [],
        "received": "1970-01-01T00:00:00.000Z",
        "finished": "1970-01-01T00:00:00.000Z",
        "error": {"kind": "client", "message": "no"},
    }
    assert not answer.ok


def test_an_answer_says_all_there_is_to_say_in_order() -> None:
    answer = Answer(
        "i",
        "done",
        name="n",
        line=3,
        api="shop",
        request={"method": "GET", "url": "http://h/"},
        response=Response(204, {}),
        cache="miss",
        attempts=[Attempt(0.0, 1.23456, 503, "server", "the server answered 503", 1.5).to_dict()],
        received=1.5,
        finished=2.0,
        error=Problem("timeout", "late", uncertain=True),
    )
    found = json.loads(answer.to_json())
    keys = "id name line status api request response cache attempts received finished error"
    assert " ".join(found) == keys
    assert found["attempts"] == [
        {
            "at": "1970-01-01T00:00:00.000Z",
            "ms": 1.235,
            "status": 503,
            "fault": "server",
            "message": "the server answered 503",
            "wait": 1.5,
        }
    ]
    assert found["error"]["uncertain"] is True
    assert answer.ok


def test_instants_are_told_in_utc_with_milliseconds() -> None:
    assert isotime(1_800_000_000.1239) == "2027-01-15T08:00:00.123Z"
