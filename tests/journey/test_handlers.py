"""Functions that go wrong in every way there is, in a real daemon: each fails its own job, and the daemon goes on."""

import os
from pathlib import Path

import pytest

from tests.daemonkit import Daemon, wait_until
from tests.handlerkit import runs

pytestmark = pytest.mark.journey

CONFIG = """
[defaults]
attempts = 1
[handlers]
text = "tests.handlerkit:text"
stuck = "tests.handlerkit:never"
until_there = { use = "tests.handlerkit:until_there", process = true }
double = { use = "tests.handlerkit:double", process = true }
size_of = { use = "tests.handlerkit:size_of", process = true }
many_bytes = { use = "tests.handlerkit:many_bytes", process = true }
segfault = { use = "tests.handlerkit:segfault", process = true }
eat = { use = "tests.handlerkit:eat", process = true, memory = "256 MiB" }
never = { use = "tests.handlerkit:never", process = true, timeout = "3s" }
"""


def test_whatever_a_function_does_fails_its_own_job_and_the_daemon_lives(tmp_path: Path) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        pid = daemon.pid
        for bad in ("segfault", "eat", "never"):
            daemon.drop(bad, {"do": bad})
        daemon.drop("stuck", {"do": "stuck", "timeout": "1s"})
        daemon.drop("good", *({"do": "double", "with": {"number": n}} for n in range(50)))
        answers = daemon.batch("good")
        assert [answer["response"]["json"] for answer in answers] == [2 * n for n in range(50)]
        kinds = {bad: daemon.answer(bad)["error"]["kind"] for bad in ("segfault", "never", "stuck")}
        assert kinds == {"segfault": "crashed", "never": "timeout", "stuck": "timeout"}
        assert daemon.answer("eat")["error"]["kind"] in {"handler", "crashed"}
        daemon.drop("after", {"do": "text"})
        assert daemon.answer("after")["response"]["text"] == "ä"
        assert daemon.pid == pid
        assert daemon.stop() == 0
        assert daemon.files("failed") == {"segfault.json", "eat.json", "never.json", "stuck.json"}


def test_attachments_go_in_and_bytes_come_out_as_files(tmp_path: Path) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        daemon.attach("photo.png", b"x" * 1234)
        daemon.drop("size", {"do": "size_of", "file": "photo.png"})
        daemon.drop("bytes", {"do": "many_bytes", "with": {"count": 100_000}})
        assert daemon.answer("size")["response"]["json"] == {"size": 1234}
        told = daemon.answer("bytes")["response"]
        assert (daemon.spool / "outbox" / told["file"]).read_bytes() == b"\xff" * told["bytes"] == b"\xff" * 100_000
        assert daemon.files("inbox") == daemon.files("active") == set()


def test_a_killed_daemon_takes_its_functions_along(tmp_path: Path) -> None:
    """Else the next start would call them while they still run."""
    beside = tmp_path / "pids"
    with Daemon(tmp_path, CONFIG) as daemon:
        daemon.drop("one", {"do": "never", "with": {"beside": str(beside)}, "timeout": "1h"})
        process, child = wait_until(lambda: beside.exists() and beside.read_text().split(), "the function")
        daemon.kill()
        assert wait_until(lambda: not runs(process), "its end")
        os.kill(int(child), 9)


def test_a_killed_daemon_has_its_functions_called_again_under_the_same_id(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with Daemon(tmp_path, CONFIG) as daemon:
        daemon.drop("one", {"do": "until_there", "with": {"path": str(gate)}})
        wait_until(lambda: daemon.files("active"), "the claim")
        token = next(iter(daemon.files("active"))).partition("~")[2].removesuffix(".json")
        wait_until(lambda: token.encode() in (daemon.spool / "state/inflight").read_bytes(), "the call")
        daemon.kill()
        gate.touch()
        daemon.start()
        answer = daemon.answer("one")
        assert (answer["id"], answer["status"]) == (token, "done")
        assert [attempt.get("fault") for attempt in answer["attempts"]] == ["interrupted", None]
