"""A power cut for real: an ext4 that loses what was not durable, and a daemon that must make good for it."""

import json
import shutil
from collections import Counter
from pathlib import Path

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


@pytest.mark.parametrize("how", [DEFAULT, LOGFLUSH, NOLOGFLUSH])
def test_a_power_cut_loses_no_job_and_shows_no_torn_answer(tmp_path: Path, how: int) -> None:
    in_private_mounts(lambda: cut_and_mend(tmp_path, how))


def cut_and_mend(folder: Path, how: int) -> None:
    """Cut the power in the middle of the work, start again, and hold what is there against what was promised."""
    disk = PowerCuts(folder / "disk.img", folder / "mounted")
    with CountingServer() as server:
        daemon = Daemon(folder / "mounted")
        daemon.start()
        try:
            calls = drop_all(daemon, server)
            disk.sync()
            wait_until(lambda: len(daemon.files("outbox")) >= 40, "the first answers")
            disk.cut(how)
        finally:
            daemon.kill()
        disk.umount()
        disk.mount()
        before = visible(daemon)
        daemon.start()
        try:
            wait_until(lambda: len(visible(daemon)) >= JOBS, "all answers", 60)
            lines = daemon.batch("many")
            assert daemon.stop() == 0
        finally:
            shutil.copy(folder / "mounted" / "daemon.log", folder)
        assert visible(daemon) == sorted(f"job-{number}" for number in range(JOBS))
        assert before == sorted(set(before))
        assert [line["line"] for line in lines] == list(range(1, LINES + 1))
        assert {line["status"] for line in lines} == {"done"}
        assert {(seen.path, seen.headers["idempotency-key"]) for seen in server.requests} == calls
        assert Counter(len(daemon.files(left)) for left in ("inbox", "active", "deferred", "failed")) == {0: 4}
        disk.umount()
