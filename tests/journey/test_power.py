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


@pytest.mark.parametrize("how", [DEFAULT, LOGFLUSH, NOLOGFLUSH])
def test_a_power_cut_loses_no_job_and_shows_no_torn_answer(tmp_path: Path, how: int) -> None:
    def body() -> None:
        disk = PowerCuts(tmp_path / "disk.img", tmp_path / "mounted")
        with CountingServer() as server:
            daemon = Daemon(tmp_path / "mounted")
            daemon.start()
            try:
                for number in range(JOBS):
                    daemon.drop(f"job-{number}", {"id": f"key-{number}", "url": server.url(f"/slow/{number}?ms=20")})
                daemon.drop(
                    "many",
                    *(
                        {"id": f"key-line-{line}", "url": server.url(f"/slow/line-{line}?ms=20")}
                        for line in range(LINES)
                    ),
                )
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
                shutil.copy(tmp_path / "mounted" / "daemon.log", tmp_path)
            names = sorted(f"job-{number}" for number in range(JOBS))
            assert visible(daemon) == names
            assert before == sorted(set(before))
            assert [line["line"] for line in lines] == list(range(1, LINES + 1))
            assert {line["status"] for line in lines} == {"done"}
            # Their own ids; an id that the claim gave goes with a claim that the cut has undone.
            keys = {(seen.path, seen.headers["idempotency-key"]) for seen in server.requests}
            assert keys == {
                (f"/slow/{name}", f"key-{name}") for name in [*range(JOBS), *(f"line-{n}" for n in range(LINES))]
            }
            assert Counter(len(daemon.files(folder)) for folder in ("inbox", "active", "deferred", "failed")) == {0: 4}
            disk.umount()

    in_private_mounts(body)
