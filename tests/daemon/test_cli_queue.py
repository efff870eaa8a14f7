"""`inboxd queue …`, run as people run it; no daemon is needed, and none is disturbed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from inboxd.daemon.cli import main

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "inboxd.toml").write_text('spool = "spool"\n[queues.orders]\nlease = "1m"\nmax_receives = 1\n')

    def run(*words: str, given: str = "") -> Result:
        return CliRunner().invoke(main, ["queue", *words, "--config", str(tmp_path / "inboxd.toml")], input=given)

    return run


def test_a_message_goes_through_publish_receive_and_confirm(run: Run) -> None:
    identifier = run("publish", "orders", given='{"value": 12}').stdout.strip()
    received = run("receive", "orders", "--consumer", "7")
    message = json.loads(received.stdout)
    assert (message["id"], message["body"], message["receives"]) == (identifier, {"value": 12}, 1)
    assert run("ls").stdout == "orders: 0 ready, 1 leased, 0 delayed, 0 dead\n"
    assert run("receive", "orders").exit_code == 3
    assert run("confirm", "orders", identifier, "--consumer", "8").exit_code == 1
    assert run("confirm", "orders", message["receipt"]).exit_code == 0
    again = run("confirm", "orders", message["receipt"])
    assert again.exit_code == 1
    assert "not leased" in again.stderr


def test_lines_are_received_in_their_order(run: Run) -> None:
    run("publish", "orders", "--lines", given="1\n2\n3\n")
    run("publish", "orders", "--priority", "5", "--text", given="urgent")
    received = [json.loads(line)["body"] for line in run("receive", "orders", "-n", "10").stdout.splitlines()]
    assert received == ["urgent", 1, 2, 3]


def test_one_wrong_line_publishes_nothing(run: Run) -> None:
    result = run("publish", "orders", "--lines", given='1\n{"a": \n')
    assert result.exit_code == 2
    assert "message 2" in result.stderr
    assert run("ls").stdout == "orders: 0 ready, 0 leased, 0 delayed, 0 dead\n"


def test_a_key_publishes_once(run: Run) -> None:
    first = run("publish", "orders", "--key", "order-17", given="1")
    assert run("publish", "orders", "--key", "order-17", given="1").stdout == first.stdout
    assert run("ls").stdout.startswith("orders: 1 ready")


def test_a_message_that_nobody_confirms_dies_and_can_be_brought_back(run: Run) -> None:
    run("publish", "orders", given="1")
    receipt = json.loads(run("receive", "orders").stdout)["receipt"]
    assert run("release", "orders", receipt).exit_code == 0
    assert run("ls").stdout == "orders: 0 ready, 0 leased, 0 delayed, 1 dead\n"
    shown = json.loads(run("ls", "orders", "--dead").stdout)
    assert "never confirmed" in shown["dead"]["why"]
    assert run("redrive", "orders").stdout == "1\n"
    assert run("ls").stdout.startswith("orders: 1 ready")
    assert run("purge", "orders").stdout == "1\n"


def test_a_lease_is_extended_by_a_duration(run: Run) -> None:
    run("publish", "orders", given="1")
    message = json.loads(run("receive", "orders").stdout)
    assert run("extend", "orders", message["receipt"], "2h").exit_code == 0
    assert json.loads(run("ls", "orders", "--leased").stdout)["until"] > message["until"] + 7000
    assert run("extend", "orders", message["receipt"], "soon").exit_code == 2


@pytest.mark.parametrize("words", [("receive", "absent"), ("confirm", "absent", "1"), ("publish", "../up")])
def test_a_queue_that_is_not_there_is_told(run: Run, words: tuple[str, ...]) -> None:
    result = run(*words, given="1")
    assert result.exit_code == 1
    assert "queue" in result.stderr
