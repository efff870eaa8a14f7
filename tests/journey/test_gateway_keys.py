"""An Idempotency-Key stands for one request: another one under it is refused, across restarts too."""

from pathlib import Path
from typing import Any

import pytest

from tests.daemonkit import CountingServer, wait_until
from tests.gatewaykit import Served

pytestmark = pytest.mark.journey

HANDLERS = '[handlers]\ntext = "tests.handlerkit:text"\nsize_of = "tests.handlerkit:size_of"\n'


def test_a_key_that_comes_with_another_body_is_refused_also_after_a_restart(
    tmp_path: Path,
) -> None:
    with CountingServer() as server, Served(tmp_path) as served:
        job, another = ({"url": server.url(f"/ok?body={number}")} for number in range(2))
        requests = {
            "one": ([job], [another]),
            "own": ([{**job, "id": "own"}], [{**another, "id": "own"}]),
            "list": ([job, job], [job, another]),
            "list-elsewhere": ([job, job], [{"url": "http://127.0.0.2:9/"}, job]),
            "one-then-list": ([job], [job, job]),
            "list-then-one": ([job, job], [job]),
        }

        def send(key: str, jobs: list[Any]) -> int:
            reply = served.post(*jobs, **({} if key == "own" else {"Idempotency_Key": key}))
            if reply.status == 422:
                assert reply.headers["Content-Type"] == "application/problem+json"
                assert reply.json["title"] == "Idempotency-Key is already used"
            return reply.status

        found = [(send(key, first), send(key, other)) for key, (first, other) in requests.items()]
        assert found == [(202, 422)] * len(requests)
        wait_until(lambda: not served.files("inbox") | served.files("active"), "the answers")
        served.stop()
        served.start()
        found = [(send(key, other), send(key, first)) for key, (first, other) in requests.items()]
        assert found == [(422, 202)] * len(requests)
        # Once nothing is left of it, a key is free again.
        for path in (served.spool / "outbox").iterdir():
            path.unlink()
        assert send("one", [another]) == 202


def test_bodies_and_lines_that_differ_are_told_apart_by_their_keys_too(tmp_path: Path) -> None:
    with Served(tmp_path, more=HANDLERS) as served:

        def upload(query: str, body: bytes) -> int:
            return served.ask(
                "POST", f"/jobs?call=size_of&{query}", data=body, headers={"Idempotency-Key": "up"}
            ).status

        def lines(body: bytes) -> int:
            headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "lines"}
            return served.ask("POST", "/jobs", data=body, headers=headers).status

        sent = [upload("unit=1", b"x"), upload("unit=1", b"x"), upload("unit=1", b"y"), upload("unit=2", b"x")]
        assert sent == [202, 202, 422, 422]
        one = b'{"do": "text", "with": {"of": "a"}}\n'
        assert [lines(one), lines(one), lines(one + one)] == [202, 202, 422]
        wait_until(lambda: not served.files("state/staged"), "nothing to be left of what was refused")


def test_a_key_of_a_message_that_comes_with_something_else_is_refused_also_after_a_restart(tmp_path: Path) -> None:
    with Served(tmp_path) as served:
        assert served.ask("PUT", "/queues/q").status == 200

        def publish(body: bytes, query: str = "", key: str = "k") -> tuple[int, str]:
            path = f"/queues/q/messages{query}"
            reply = served.ask("POST", path, data=body, headers={"Idempotency-Key": key})
            if reply.status == 422:
                assert reply.headers["Content-Type"] == "application/problem+json"
                assert reply.json["title"] == "Idempotency-Key is already used"
            return reply.status, reply.json.get("id", "")

        first = publish(b'{"a": 1}')
        assert first[0] == 201
        for _ in range(2):
            assert publish(b' {"a": 1}\n') == first
            assert [publish(b'{"a": 2}')[0], publish(b'{"a":1}')[0]] == [422, 422]
            assert [publish(b'{"a": 1}', f"?{one}")[0] for one in ("priority=1", "delay=1", "lease=1")] == [422] * 3
            served.stop()
            served.start()
        assert publish(b'{"a": 2}', key="another")[0] == 201
        messages = served.ask("POST", "/queues/q/receive").json["messages"]
        assert [message["body"] for message in messages] == [{"a": 1}, {"a": 2}]
