"""What README shows a newcomer really works, as it stands there."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from inboxd.daemon.config import parse as parse_config
from inboxd.jobs.job import parse as parse_job
from tests.daemonkit import environment
from tests.faultserver import FaultServer, Seen, Wire

README = (Path(__file__).parent.parent / "README.md").read_text()


def block(after: str, language: str) -> str:
    """Give the first code block of that language behind a heading."""
    match = re.search(rf"```{language}\n(.*?)```", README[README.index(after) :], re.DOTALL)
    assert match is not None
    return match[1]


@pytest.mark.journey
def test_the_session_works_as_it_stands(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    session = block("## A session", "sh").replace("8765", str(port))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", session],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PATH": path, "TMPDIR": str(tmp_path)},
    )
    assert '"json":{"id": 17, "name": "lamp"}' in done.stdout
    assert 'did you mean \\"url\\"?' in done.stdout
    assert '"done": 3' in done.stdout
    assert "serves it since" in done.stdout
    assert "typo.json" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_the_job_of_the_readme_is_one() -> None:
    assert parse_job(block("## A job", "json").encode()).id == "order-17"


def test_the_config_of_the_readme_is_one(tmp_path: Path) -> None:
    config = parse_config(block("## The config", "toml"), str(tmp_path / "inboxd.toml"))
    assert [api.name for api in config.apis] == ["shop"]


def test_the_answer_of_the_readme_has_the_keys_of_an_answer() -> None:
    answer = json.loads(block("## A session", "json"))
    assert {"id", "name", "claim", "status", "api", "request", "response", "attempts"} <= answer.keys()


@pytest.mark.journey
def test_the_program_fetches_its_hundred_products_and_is_told_of_one_that_is_not_there(tmp_path: Path) -> None:
    def product(wire: Wire, seen: Seen) -> None:
        number = int(seen.path.rpartition("/")[2])
        known = number != 13 and seen.headers["authorization"] == "Bearer t0ken"
        body = json.dumps({"id": number, "name": "lamp", "price": 0.5}) if known else "{}"
        wire.answer(body.encode(), 200 if known else 404, ("Content-Type: application/json",))

    program = block("## From Python", "python")
    assert program.count("\n") <= 30
    with FaultServer(behaviours={"products": product}) as server:
        done = subprocess.run(
            [sys.executable, "-c", program.replace("https://shop.example", server.url(""))],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env=environment({"SHOP_TOKEN": "t0ken"}),
        )
    assert done.stdout == "99 products for 49.5\nproduct 13: the server answered 404\n"
    assert "Products" in done.stderr
    assert "t0ken" not in done.stderr


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert README.count("\n") <= 200
