"""A disk that fills up, refuses, or is gone for a while: answers wait, somebody is told, nothing is lost."""

import json
import os
import resource
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.daemonkit import CountingServer, Daemon, inboxd, wait_until
from tests.mountkit import in_private_mounts, mount_memory

pytestmark = pytest.mark.journey


def fill(file: Path) -> None:
    """Take all the space there is."""
    with file.open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(4096))


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """Let nothing be made in or moved out of `folder`; root needs stronger means than permissions."""
    if os.geteuid() != 0:
        folder.chmod(0o500)
        try:
            yield
        finally:
            folder.chmod(0o700)
        return
    if subprocess.run(["chattr", "+i", str(folder)], capture_output=True, check=False).returncode != 0:
        pytest.skip("this file system knows no immutable folders, and root no permissions")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(folder)], check=True)


def statuses(daemon: Daemon) -> Counter[str]:
    return Counter(json.loads(file.read_bytes())["status"] for file in (daemon.spool / "outbox").iterdir())


def test_answers_wait_for_a_full_disk_and_none_is_lost(tmp_path: Path) -> None:
    jobs = 100

    def body() -> None:
        mount_memory(tmp_path / "spool", "4m")
        with CountingServer() as server, Daemon(tmp_path) as daemon:
            for number in range(jobs):
                daemon.drop(f"job-{number}", {"url": server.url(f"/slow/{number}?ms=20")})
            server.wait_for(10)
            fill(daemon.spool / "ballast")
            wait_until(lambda: "answers wait for the disk" in daemon.log, "a word about it")
            (daemon.spool / "ballast").unlink()
            wait_until(lambda: len(daemon.files("outbox")) == jobs, "all answers")
            assert statuses(daemon) == {"done": jobs}
            assert set(server.keys.values()) == {1}
            wait_until(lambda: "the disk takes answers again" in daemon.log, "a word that it is over")
            assert daemon.stop() == 0
            assert not daemon.files("active") | daemon.files("inbox") | daemon.files("deferred")

    in_private_mounts(body)


def test_a_daemon_killed_on_a_full_disk_starts_there_and_goes_on(tmp_path: Path) -> None:
    def body() -> None:
        mount_memory(tmp_path / "spool", "4m")
        with CountingServer() as server, Daemon(tmp_path) as daemon:
            for number in range(50):
                daemon.drop(f"job-{number}", {"url": server.url(f"/slow/{number}?ms=20")})
            server.wait_for(10)
            fill(daemon.spool / "ballast")
            wait_until(lambda: "answers wait for the disk" in daemon.log, "a word about it")
            daemon.kill()
            (daemon.spool / "ballast").unlink()
            daemon.start()
            wait_until(lambda: len(daemon.files("outbox")) == 50, "all answers")
            assert statuses(daemon) == {"done": 50}

    in_private_mounts(body)


def test_the_second_sigterm_ends_a_daemon_on_a_full_disk_and_the_next_start_makes_good(tmp_path: Path) -> None:
    def body() -> None:
        mount_memory(tmp_path / "spool", "4m")
        with CountingServer() as server, Daemon(tmp_path) as daemon:
            for number in range(50):
                daemon.drop(f"job-{number}", {"url": server.url(f"/slow/{number}?ms=20")})
            server.wait_for(10)
            fill(daemon.spool / "ballast")
            wait_until(lambda: "answers wait for the disk" in daemon.log, "a word about it")
            daemon.signal(signal.SIGTERM)
            wait_until(lambda: "event=stopping" in daemon.log, "the first to be heard")
            assert daemon.stop() == 0
            (daemon.spool / "ballast").unlink()
            daemon.start()
            wait_until(lambda: len(daemon.files("outbox")) == 50, "all answers")
            assert statuses(daemon) == {"done": 50}

    in_private_mounts(body)


def test_below_min_free_nothing_is_claimed_and_status_says_why(tmp_path: Path) -> None:
    def body() -> None:
        mount_memory(tmp_path / "spool", "4m")
        daemon = Daemon(tmp_path)
        daemon.config.write_text('spool = "spool"\nmin_free = "2 MiB"\nrescan = 0.2\n')
        with CountingServer() as server, daemon:
            ballast = daemon.spool / "ballast"
            ballast.write_bytes(bytes(3 << 20))
            wait_until(lambda: "cannot claim" in daemon.log, "a word about it")
            daemon.drop("waits", {"url": server.url("/ok")})

            def shown() -> bool:
                return "min_free is 2097152; nothing is claimed" in inboxd("status", cwd=tmp_path).stdout

            wait_until(shown, "the status to say so")
            assert daemon.files("inbox") == {"waits.json"}
            ballast.unlink()
            assert daemon.answer("waits")["status"] == "done"
            wait_until(lambda: "claiming again" in daemon.log, "a word that it is over")

    in_private_mounts(body)


def test_an_inbox_that_cannot_be_written_is_told_and_worked_off_later(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        assert daemon.stop() == 0
        daemon.drop("waits", {"url": server.url("/ok")})
        with unwritable(daemon.spool / "inbox"):
            daemon.start()
            wait_until(lambda: "cannot claim" in daemon.log, "a word about it")
            assert daemon.files("inbox") == {"waits.json"}
        assert daemon.answer("waits")["status"] == "done"
        wait_until(lambda: "claiming again" in daemon.log, "a word that it is over")


def test_answers_wait_for_an_outbox_that_cannot_be_written(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        with unwritable(daemon.spool / "outbox"):
            for number in range(20):
                daemon.drop(f"job-{number}", {"url": server.url(f"/ok/{number}")})
            wait_until(lambda: "answers wait for the disk" in daemon.log, "a word about it")
            wait_until(
                lambda: "outbox" in inboxd("status", "--json", cwd=tmp_path).stdout.partition("trouble")[2], "status"
            )
            assert not daemon.files("outbox")
        wait_until(lambda: len(daemon.files("outbox")) == 20, "all answers")
        assert statuses(daemon) == {"done": 20}
        assert set(server.keys.values()) == {1}


def test_an_outbox_that_is_moved_away_gets_its_answers_when_it_is_back(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        outbox, away = daemon.spool / "outbox", tmp_path / "away"
        outbox.rename(away)
        daemon.drop("job", {"url": server.url("/ok")})
        wait_until(lambda: "answers wait for the disk" in daemon.log, "a word about it")
        away.rename(outbox)
        assert daemon.answer("job")["status"] == "done"
        assert server.counts == {"/ok": 1}


def test_too_few_file_descriptors_are_told_and_cost_no_job(tmp_path: Path) -> None:
    config = '[defaults]\nattempts = 20\nbackoff = { first = "0.2s", max = "1s" }'
    with CountingServer() as server, Daemon(tmp_path, config) as daemon:
        soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{daemon.pid}/fd")), hard))
        for number in range(50):
            daemon.drop(f"job-{number}", {"url": server.url(f"/ok/{number}")})
        wait_until(lambda: "too many open files" in daemon.log.lower(), "a word about it")
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
        wait_until(lambda: len(daemon.files("outbox")) == 50, "all answers")
        assert statuses(daemon) == {"done": 50}
        assert set(server.keys.values()) == {1}
        assert not daemon.files("active") | daemon.files("inbox") | daemon.files("deferred")
