"""Trees of jobs and callbacks with a real daemon: what follows runs once, however it is interrupted."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.daemonkit import CountingServer, Daemon, inboxd, wait_until

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


def test_a_tree_that_is_killed_three_times_ends_as_one_that_was_not(tmp_path: Path) -> None:
    """Four levels, fifty branches and one that fails: each node is answered once, and none is called after its end."""
    width, kills = 50, 3
    with CountingServer() as server, Daemon(tmp_path, "threads = 4") as daemon:
        leaf = {"url": server.url("/slow/${item}/c?ms=5")}
        branch = {"url": server.url("/slow/${item}/b?ms=5"), "then": [leaf]}
        each = {"for_each": "json", "url": server.url("/slow/${item}/a?ms=5"), "then": [branch]}
        ok = {"url": server.url("/ok")}
        bad = {"url": server.url("/status/404"), "then": [{**ok, "then": [ok]}]}
        daemon.drop("t", {"id": "t", "url": server.url("/back"), "json": list(range(width)), "then": [each, bad]})
        finished: list[tuple[int, set[str]]] = []
        for number in range(1, kills + 1):
            wait_until(lambda number=number: len(server.requests) >= number * width * 3 // (kills + 1), "more calls")
            daemon.kill()
            finished.append((len(server.requests), {name.removesuffix(".json") for name in daemon.files("outbox")}))
            daemon.start()
        found = statuses(daemon, 1 + 3 * width + 3)
        assert daemon.stop() == 0
        requests = server.requests
    below = ("", "~1", "~1~1")
    good = {"t", *(f"t~1.{number}{suffix}" for number in range(1, width + 1) for suffix in below)}
    assert found == dict.fromkeys(good, "done") | {"t~2": "failed", "t~2~1": "skipped", "t~2~1~1": "skipped"}
    for before, ended in finished:
        assert not ended & {seen.headers["idempotency-key"] for seen in requests[before:]}
    assert {seen.headers["idempotency-key"] for seen in requests} == good | {"t~2"}
    assert not daemon.files("active") | daemon.files("deferred") | daemon.files("inbox")
    assert daemon.files("failed") == {"t~2.json"}


def test_a_retry_runs_only_what_did_not_end_well(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        leaf = {"url": server.url("/ok/leaf")}
        bad = {"url": server.url("/flaky/bad?times=1&status=404"), "then": [leaf]}
        daemon.drop("a", {"url": server.url("/ok/root"), "then": [{"url": server.url("/ok/good")}, bad]})
        assert statuses(daemon, 4) == {"a": "done", "a~1": "done", "a~2": "failed", "a~2~1": "skipped"}
        done = inboxd("retry", "a", "--spool", str(daemon.spool), cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "a~2.json\n")
        assert daemon.answer("a~2~1~r2")["status"] == daemon.answer("a~2~r2")["status"] == "done"
        assert server.counts == {"/ok/root": 1, "/ok/good": 1, "/flaky/bad": 2, "/ok/leaf": 1}
        drawn = inboxd("tree", "a", "--spool", str(daemon.spool), cwd=tmp_path)
        assert [line.split()[-3] for line in drawn.stdout.splitlines()] == ["done"] * 4
        unknown = inboxd("tree", "b", "--spool", str(daemon.spool), cwd=tmp_path)
        assert (unknown.returncode, unknown.stdout) == (1, "")


def test_once_works_off_whole_trees_and_those_that_wait_for_others(tmp_path: Path) -> None:
    with CountingServer() as server:
        spool = tmp_path / "spool" / "inbox"
        spool.mkdir(parents=True)
        leaf = {"url": server.url("/ok"), "callback": server.url("/ok/hook")}
        jobs = {
            "b": {"url": server.url("/ok/b"), "after": ["a~1~callback"]},
            "a": {"url": server.url("/ok/a"), "then": [{**leaf, "then": [leaf] * 20}]},
        }
        for name, job in jobs.items():
            (spool / f"{name}.json").write_text(json.dumps(job))
        done = inboxd("run", "--once", "--spool", str(tmp_path / "spool"), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found = {path.name for path in (tmp_path / "spool" / "outbox").iterdir()}
        assert len(found) == 3 + 1 + 40
        assert len(server.requests) == 44


def test_a_job_dropped_twice_is_called_once_whatever_happens_between(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        job = {"id": "order-17", "url": server.url("/ok/17")}
        daemon.drop("first", job)
        first = daemon.answer("first")
        daemon.kill()
        daemon.start()
        daemon.drop("second", job)
        second = daemon.answer("second")
        assert (second["status"], second["repeats"], second["name"]) == ("done", first["claim"], "second")
        assert second["response"] == first["response"]
        assert len(server.requests) == 1


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
