"""A power cut for real: an ext4 that loses what was not durable, and a daemon that must make good for it."""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.daemonkit import CountingServer, Daemon, wait_until
from tests.mountkit import DEFAULT, LOGFLUSH, NOLOGFLUSH, PowerCuts, in_private_mounts

pytestmark = pytest.mark.journey

JOBS = LINES = 200


def visible(daemon: Daemon) -> list[str]:
    """Return the names of the answers to single jobs; a torn one raises ValueError."""
    return sorted(json.loads(file.read_bytes())["name"] for file in (daemon.spool / "outbox").glob("job-*.json"))


def drop_all(daemon: Daemon, server: CountingServer) -> set[tuple[str, str]]:
    """Drop the single jobs and the batch; returns the path and the key of each call that is to be made.

    The ids are their own: one that the claim gave goes with a claim that the cut has undone.
    """
    for number in range(JOBS):
        daemon.drop(f"job-{number}", {"id": f"key-{number}", "url": server.url(f"/slow/{number}?ms=20")})
    lines = [f"line-{number}" for number in range(LINES)]
    daemon.drop("many", *({"id": f"key-{line}", "url": server.url(f"/slow/{line}?ms=20")} for line in lines))
    return {(f"/slow/{name}", f"key-{name}") for name in [*range(JOBS), *lines]}


class Found(NamedTuple):
    """What is there after a cut and a second start: names of answers, lines of the batch, calls wanted and made."""

    at_once: list[str]
    in_the_end: list[str]
    lines: list[Any]
    wanted: set[tuple[str, str]]
    called: set[tuple[str, str]]
    left: set[str]


@pytest.mark.parametrize("how", [DEFAULT, LOGFLUSH, NOLOGFLUSH])
def test_a_power_cut_loses_no_job_and_shows_no_torn_answer(tmp_path: Path, how: int) -> None:
    def body() -> None:
        found = cut_and_mend(tmp_path, how)
        assert found.in_the_end == sorted(f"job-{number}" for number in range(JOBS))
        assert found.at_once == sorted(set(found.at_once))
        assert [line["line"] for line in found.lines] == list(range(1, LINES + 1))
        assert {line["status"] for line in found.lines} == {"done"}
        assert found.called == found.wanted
        assert found.left == set()

    in_private_mounts(body)


def cut_and_mend(folder: Path, how: int) -> Found:
    """Cut the power in the middle of the work, start again, and return what is there then."""
    disk = PowerCuts(folder / "disk.img", folder / "mounted")
    with CountingServer() as server:
        daemon = Daemon(folder / "mounted")
        daemon.start()
        try:
            wanted = drop_all(daemon, server)
            disk.sync()
            wait_until(lambda: len(daemon.files("outbox")) >= 40, "the first answers")
            disk.cut(how)
        finally:
            daemon.kill()
        disk.umount()
        disk.mount()
        at_once = visible(daemon)
        daemon.start()
        try:
            wait_until(lambda: len(visible(daemon)) >= JOBS, "all answers", 60)
            lines = daemon.batch("many")
            assert daemon.stop() == 0
        finally:
            shutil.copy(folder / "mounted" / "daemon.log", folder)
        called = {(seen.path, seen.headers["idempotency-key"]) for seen in server.requests}
        left = set().union(*map(daemon.files, ("inbox", "active", "deferred", "failed")))
        found = Found(at_once, visible(daemon), lines, wanted, called, left)
        disk.umount()
        return found
