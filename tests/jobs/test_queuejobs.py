"""Jobs about queues, as a program submits them and as the daemon does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inboxd.jobs.client import ApiClient
from inboxd.jobs.faults import Invalid
from inboxd.jobs.job import parse_object
from inboxd.jobs.queues import Queues
from inboxd.jobs.queuesettings import QueueSettings
from inboxd.jobs.result import Answer
from inboxd.jobs.task import Errand


@pytest.fixture
def queues(tmp_path: Path) -> Iterator[Queues]:
    with Queues(str(tmp_path), {"orders": QueueSettings(lease=300)}) as queues:
        yield queues


@pytest.fixture
def client(queues: Queues) -> Iterator[ApiClient]:
    with ApiClient(threads=2, attempts=1, queues=queues) as client:
        yield client


def ask(client: ApiClient, token: str = "", **job: Any) -> Answer:
    return client.submit({"queue": "orders", **job}, Errand(token=token)).result(20)


def said(answer: Answer) -> Any:
    assert answer.error is None, answer.error
    assert answer.response is not None
    return answer.response.json()


def test_a_message_goes_through_publish_receive_and_confirm(client: ApiClient, queues: Queues) -> None:
    published = ask(client, publish={"n": 1}, priority=5)
    shown = json.loads(published.to_json())
    assert shown["request"] == {"queue": "orders", "deed": "publish"}
    assert "status" not in shown["response"]
    (message,) = said(ask(client, receive=10, consumer="7", lease="1m"))["messages"]
    assert (message["id"], message["body"], message["priority"]) == (said(published)["id"], {"n": 1}, 5)
    assert said(ask(client, extend=message["receipt"], lease="2h"))["until"] > message["until"] + 7000
    assert said(ask(client, confirm=message["receipt"])) == {}
    assert said(ask(client, receive=1)) == {"messages": []}
    assert queues.get("orders").counts().leased == 0


def test_a_job_done_again_after_a_crash_publishes_once(client: ApiClient, queues: Queues) -> None:
    first = said(ask(client, token="claim-1", publish=None))
    assert said(ask(client, token="claim-1", publish=None)) == first
    assert said(ask(client, token="claim-2", publish=None)) != first
    assert queues.get("orders").counts().ready == 2


def test_a_job_done_again_after_a_crash_may_confirm_what_it_confirmed(client: ApiClient) -> None:
    ask(client, publish=1)
    ask(client, publish=2)
    receipts = [message["receipt"] for message in said(ask(client, receive=2))["messages"]]
    assert said(ask(client, token="claim-1", confirm=receipts)) == {}
    assert said(ask(client, token="claim-1", confirm=receipts)) == {}
    refused = ask(client, token="claim-2", confirm=receipts)
    assert (refused.status, refused.error and refused.error.kind) == ("failed", "queue")


def test_of_several_receipts_all_are_confirmed_or_none(client: ApiClient, queues: Queues) -> None:
    ask(client, publish=1)
    (message,) = said(ask(client, receive=1))["messages"]
    assert ask(client, confirm=[message["receipt"], "unknown"]).status == "failed"
    assert queues.get("orders").counts().leased == 1
    assert said(ask(client, release=[message["receipt"]])) == {}
    assert queues.get("orders").counts().ready == 1


def test_a_queue_that_is_not_there_is_told(client: ApiClient) -> None:
    answer = client.submit({"queue": "absent", "receive": 1}).result(20)
    assert (answer.status, answer.error and answer.error.message) == (
        "rejected",
        'queue: there is no queue "absent"',
    )
    assert client.submit({"queue": "new", "publish": 1}).result(20).ok


def test_without_a_folder_of_queues_there_are_none() -> None:
    with ApiClient(threads=1) as client:
        assert client.submit({"queue": "orders", "publish": 1}).result(20).status == "rejected"


@pytest.mark.parametrize(
    ("job", "why"),
    [
        ({"queue": "orders"}, "expected one of publish, receive"),
        ({"queue": "orders", "publish": 1, "receive": 1}, "found publish and receive"),
        ({"queue": "orders", "receive": None}, "expected one of"),
        ({"queue": "orders", "receive": 0}, "greater than or equal to 1"),
        ({"queue": "orders", "receive": 1, "wait": "21s"}, "20"),
        ({"queue": "orders", "publish": 1, "wait": "1s"}, "wait: does not go with publish"),
        ({"queue": "orders", "extend": "r"}, "lease is missing"),
        ({"queue": "../etc", "publish": 1}, "queue"),
        ({"queue": "orders", "publish": 1, "json": 1}, "a queue has none"),
        ({"queue": "orders", "publish": 1, "file": "a"}, "a queue has none"),
        ({"queue": "orders", "publish": 1, "url": "http://a.example/"}, "expected one of them"),
        ({"url": "http://a.example/", "publish": 1}, "publish: expected only beside a queue"),
    ],
)
def test_keys_that_do_not_go_together_are_told(job: dict[str, Any], why: str) -> None:
    with pytest.raises(Invalid) as raised:
        parse_object(job)
    assert why in raised.value.message.replace("at least 1", "greater than or equal to 1")
