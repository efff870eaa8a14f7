"""`select`: what of a response becomes the answer's value."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from inboxd.jobs.client import ApiClient
from inboxd.jobs.result import Answer, Response
from inboxd.jobs.task import Errand
from tests.faultserver import FaultServer
from tests.jobskit import api, task

ITEMS = {"items": [{"id": 1, "name": "lamp"}, {"id": 2, "name": "chair"}]}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


def answered(body: bytes, select: str, side: BinaryIO | None = None) -> Answer:
    response = Response(200, {"Content-Type": "application/json"}, b"" if side else body, side, len(body))
    return task(api(), select=select).answer("done", 1.0, response)


@pytest.mark.parametrize(
    ("select", "value"),
    [("items[].name", ["lamp", "chair"]), ("items[0]", {"id": 1, "name": "lamp"}), ("nothing.here", None)],
)
def test_the_value_stands_in_the_answer(select: str, value: Any) -> None:
    answer = answered(json.dumps(ITEMS).encode(), select)
    assert (answer.status, answer.value) == ("done", value)
    assert json.loads(answer.to_json())["value"] == value


def test_an_answer_without_select_has_no_value() -> None:
    answer = task(api()).answer("done", 1.0, Response(200, {}, b"{}"))
    assert "value" not in json.loads(answer.to_json())


def test_a_body_in_a_side_file_is_selected_from_and_stays() -> None:
    side = io.BytesIO(json.dumps(ITEMS).encode())
    assert answered(side.getvalue(), "items[1].id", side).value == 2
    assert json.loads(side.getvalue()) == ITEMS


@pytest.mark.parametrize("body", [b"<html>", b"", b"[" * 5000, b'{"a": ' * 600 + b"1" + b"}" * 600])
def test_what_is_not_json_fails_the_job_that_selects(body: bytes) -> None:
    answer = answered(body, "@")
    assert (answer.status, answer.ok) == ("failed", False)
    assert answer.error is not None
    assert answer.error.kind == "bad_response"
    assert answer.error.message.startswith("select: ")
    assert "value" not in json.loads(answer.to_json())


def test_an_expression_that_does_not_fit_says_so() -> None:
    answer = answered(b'{"a": 1}', "length(a)")
    assert answer.error is not None
    assert "'length(a)' cannot be evaluated" in answer.error.message


def test_a_kept_answer_is_selected_from_by_each_job_in_its_own_way(server: FaultServer, tmp_path: Path) -> None:
    job = {"url": server.url("/echo"), "cache": "5m"}
    with ApiClient(threads=2, cache=str(tmp_path)) as client:
        first = client.submit({**job, "select": "method"}).result(20)
        second = client.submit({**job, "select": "path"}, Errand()).result(20)
    assert (first.value, first.cache) == ("GET", "miss")
    assert (second.value, second.cache) == ("/echo", "hit")
