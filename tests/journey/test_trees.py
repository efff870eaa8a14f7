"""Trees of jobs and callbacks with a real daemon: what follows runs once, however it is interrupted."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.daemonkit import CountingServer, Daemon, wait_until

pytestmark = pytest.mark.journey


def answers(daemon: Daemon) -> dict[str, Any]:
    """Return all answers by their file's name."""
    folder = daemon.spool / "outbox"
    return {name: json.loads((folder / name).read_bytes()) for name in sorted(daemon.files("outbox"))}


def statuses(daemon: Daemon, count: int) -> dict[str, str]:
    """Return the status of each answer as soon as there are `count` of them."""
    wait_until(lambda: len(daemon.files("outbox")) >= count, f"{count} answers")
    return {name.removesuffix(".json"): answer["status"] for name, answer in answers(daemon).items()}


def test_children_get_the_values_of_their_parent_their_root_and_their_item(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        detail = {"for_each": "json.ids", "url": server.url("/echo/${item}")}
        mail = {"url": server.url("/back/mail"), "json": {"to": "${root.json.mail}", "first": "${parent.json.ids[0]}"}}
        follow = {"url": server.url("/back/list"), "json": {"ids": [7, 8]}, "then": [detail, mail]}
        daemon.drop("order", {"id": "o-1", "url": server.url("/back"), "json": {"mail": "a@b"}, "then": [follow]})
        assert set(statuses(daemon, 5).items()) == {
            (name, "done") for name in ("order", "order~1", "order~1~1.1", "order~1~1.2", "order~1~2")
        }
        found = answers(daemon)
        assert {seen.path for seen in server.requests} == {"/back", "/back/list", "/back/mail", "/echo/7", "/echo/8"}
        assert found["order~1~2.json"]["response"]["json"] == {"to": "a@b", "first": 7}
        assert found["order~1~1.2.json"]["id"] == "o-1~1~1.2"
        assert {answer.get("root") for answer in found.values()} == {None, found["order.json"]["claim"]}
        assert daemon.stop() == 0
        assert not daemon.files("active") | daemon.files("deferred") | daemon.files("failed")


def test_a_failure_skips_what_is_below_it_with_the_reason_and_otherwise_runs(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        ok = {"url": server.url("/ok")}
        alarm = {"url": server.url("/back/alarm"), "json": "${parent.name}: ${parent.error.message}"}
        bad = {"url": server.url("/status/404"), "then": [{**ok, "then": [ok]}, ok], "otherwise": [alarm]}
        daemon.drop("a", {**ok, "then": [bad, ok], "otherwise": [ok]})
        assert statuses(daemon, 7) == {
            "a": "done",
            "a~1": "failed",
            "a~2": "done",
            "a~1~1": "skipped",
            "a~1~1~1": "skipped",
            "a~1~2": "skipped",
            "a~1~3": "done",
        }
        found = answers(daemon)
        reason = {"kind": "skipped", "message": "a~1 failed: the server answered 404"}
        assert found["a~1~1~1.json"]["error"] == found["a~1~2.json"]["error"] == reason
        assert found["a~1~3.json"]["response"]["json"] == "a~1: the server answered 404"


def test_a_callback_server_that_is_down_costs_no_second_call_and_is_told_once_it_is_up(tmp_path: Path) -> None:
    with CountingServer() as provider:
        with CountingServer() as gone:
            port = gone.port
        callback = {"url": f"http://127.0.0.1:{port}/ok", "attempts": 2, "reprocess": {"after": "1s", "rounds": 100}}
        config = 'defaults.trip = 1000\ndefaults.backoff = { first = "100ms" }'
        with Daemon(tmp_path, config) as daemon:
            job = {"id": "req-1", "url": provider.url("/back"), "json": {"n": 1}, "callback": callback}
            daemon.drop("ask", job)
            daemon.answer("ask")
            # Two whole rounds of attempts find nobody.
            wait_until(lambda: daemon.log.count("attempt=4 ") >= 1, "the second round")
            with CountingServer(port=port) as server:
                told = daemon.answer("ask~callback")
                [seen] = server.requests
            assert daemon.stop() == 0
        assert json.loads(seen.body) == {"requestId": "req-1", "data": {"n": 1}}
        assert (told["id"], told["status"], len(told["attempts"]) > 4) == ("req-1", "done", True)
        assert [seen.path for seen in provider.requests] == ["/back"]
        lines = [line for line in daemon.log.splitlines() if any(f"event={word}" in line for word in JOB_EVENTS)]
        assert len(lines) >= 8
        assert all("id=req-1" in line for line in lines)


JOB_EVENTS = ("claimed", "attempt", "deferred", "answered")
