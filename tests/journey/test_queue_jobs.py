"""Queues beside a running daemon: jobs from files, the command line and a program, on the same messages."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from inboxd.jobs.messages import MessageQueue
from tests.daemonkit import Daemon, inboxd, wait_until

pytestmark = pytest.mark.journey


def test_files_commands_and_programs_share_a_queue(tmp_path: Path) -> None:
    with Daemon(tmp_path, config="[queues.orders]\nlease = '5m'\n") as daemon:
        daemon.drop("one", {"queue": "orders", "publish": {"n": 1}})
        published = daemon.answer("one")["response"]["json"]
        received = inboxd("queue", "receive", "orders", "--spool", str(daemon.spool), "--wait", "20s", cwd=tmp_path)
        message = json.loads(received.stdout)
        assert (message["id"], message["body"]) == (published["id"], {"n": 1})
        daemon.drop("two", {"queue": "orders", "confirm": message["receipt"]})
        assert daemon.answer("two")["status"] == "done"
        daemon.drop("three", {"queue": "orders", "receive": 5, "wait": "20s"})
        with MessageQueue(str(daemon.spool / "queues" / "orders")) as queue:
            queue.publish("from a program")
        found = daemon.answer("three")["response"]["json"]["messages"]
        assert [one["body"] for one in found] == ["from a program"]
        daemon.drop("four", {"queue": "orders", "confirm": message["receipt"]})
        assert daemon.answer("four")["error"]["kind"] == "queue"


def test_a_daemon_that_is_killed_publishes_each_line_of_a_batch_once(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"queue": "orders", "publish": n}) + "\n" for n in range(3000))
    ready = tmp_path / "spool" / "queues" / "orders" / "ready"
    with Daemon(tmp_path) as daemon:
        unfinished = daemon.spool / "inbox" / ".orders.jsonl.tmp"
        unfinished.write_text(lines)
        unfinished.rename(daemon.spool / "inbox" / "orders.jsonl")
        wait_until(lambda: ready.is_dir() and os.listdir(ready), "the first messages")
        daemon.kill()
    with Daemon(tmp_path) as daemon:
        wait_until((daemon.spool / "outbox" / "orders.summary.json").exists, "the end of the batch", 60)
    with MessageQueue(str(tmp_path / "spool" / "queues" / "orders")) as queue:
        bodies: list[int] = []
        while messages := queue.receive(1000):
            bodies += [message.body for message in messages]
    assert sorted(bodies) == list(range(3000))
