"""SIGTERM in the middle of work: what runs may end, what waits stays as it was, and nothing is lost."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.daemonkit import CountingServer, Daemon, inboxd, wait_until

pytestmark = pytest.mark.journey


def stems(daemon: Daemon, folder: str) -> set[str]:
    return {name.split("~")[0].removesuffix(".json") for name in daemon.files(folder)}


def test_a_stop_answers_what_runs_and_leaves_what_waits_untouched(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        jobs = {f"job-{number}": {"url": server.url(f"/slow/job-{number}?ms=150")} for number in range(400)}
        for name, job in jobs.items():
            daemon.drop(name, job)
        wait_until(lambda: len(daemon.files("outbox")) >= 30, "the first answers")
        assert daemon.stop() == 0
        answered, called = stems(daemon, "outbox"), {path.split("/")[2] for path in server.counts}
        waiting = [daemon.spool / folder / name for folder in ("inbox", "deferred") for name in daemon.files(folder)]
        assert called == answered
        assert not daemon.files("active")
        assert answered | stems(daemon, "inbox") | stems(daemon, "deferred") == jobs.keys()
        assert len(answered) + len(waiting) == len(jobs)
        for file in waiting:
            assert json.loads(file.read_bytes()) == jobs[file.name.split("~")[0].removesuffix(".json")]
        daemon.start()
        wait_until(lambda: stems(daemon, "outbox") == jobs.keys(), "the other answers", 60)
        assert set(server.keys.values()) == {1}
        assert server.keys.total() == len(jobs)


def test_a_call_that_outlasts_the_drain_is_deferred_with_its_trace(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path, "drain = 0.5") as daemon:
        daemon.drop("endless", {"url": server.url("/never")})
        server.wait_for(1)
        assert daemon.stop() == 0
        (name,) = daemon.files("deferred")
        trace = json.loads((daemon.spool / "deferred" / name).read_bytes())["trace"]
    assert [attempt["fault"] for attempt in trace["attempts"]] == ["interrupted"]
    assert not daemon.files("active")


def test_the_second_sigterm_does_not_wait_for_the_drain(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path, "drain = 3600") as daemon:
        daemon.drop("endless", {"url": server.url("/never")})
        server.wait_for(1)
        daemon.signal(signal.SIGTERM)
        wait_until(lambda: "event=stopping" in daemon.log, "the first to be heard")
        # Its own deadline is far below the drain's.
        assert daemon.stop() == 0
        assert len(daemon.files("deferred")) == 1


def test_run_once_works_off_what_is_there_and_ends(tmp_path: Path) -> None:
    with CountingServer() as server:
        daemon = Daemon(tmp_path)
        (daemon.spool / "inbox").mkdir(parents=True)
        for number in range(20):
            daemon.drop(f"job-{number}", {"url": server.url(f"/ok/{number}")})
        daemon.drop("many", *({"url": server.url(f"/ok/line-{number}")} for number in range(50)))
        done = inboxd("run", "--once", "--config", str(daemon.config), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert set(server.keys.values()) == {1}
        assert server.keys.total() == 70
    assert {answer["status"] for answer in daemon.batch("many")} == {"done"}
    assert {daemon.answer(f"job-{number}")["status"] for number in range(20)} == {"done"}


def test_a_second_daemon_on_one_spool_says_so_and_exits_1(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        second = inboxd("run", "--config", str(daemon.config), cwd=tmp_path)
        assert second.returncode == 1
        assert f"another inboxd (process {daemon.pid}) serves this spool" in second.stderr
        assert daemon.stop() == 0


def test_a_spool_that_is_taken_away_ends_its_daemon_with_a_word(tmp_path: Path) -> None:
    with (
        CountingServer() as server,
        Daemon(tmp_path, f'[api.one]\nbase_url = "{server.url("")}"\nrate = "1/h"') as daemon,
    ):
        for number in range(20):
            daemon.drop(f"job-{number}", {"url": server.url(f"/ok/{number}")})
        wait_until(lambda: not daemon.files("inbox"), "the jobs to be claimed")
        # The daemon may still be moving files about.
        wait_until(lambda: shutil.rmtree(daemon.spool, ignore_errors=True) or not daemon.spool.exists(), "its end")
        assert daemon.wait() == 0
        assert "the spool was moved or replaced" in daemon.log
        assert "Traceback" not in daemon.log
    assert not daemon.spool.exists()


def test_the_log_goes_on_in_a_new_file_after_it_was_rotated(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    with CountingServer() as server, Daemon(tmp_path, f'[log]\nfile = "{log.name}"') as daemon:
        log.rename(tmp_path / "daemon.log.1")
        daemon.drop("later", {"url": server.url("/ok"), "id": "rotated-1"})
        assert daemon.answer("later")["status"] == "done"
        wait_until(lambda: "id=rotated-1" in daemon.log, "the lines after the rotation")
        assert daemon.stop() == 0
        assert "event=stopped" in daemon.log
        assert "event=stopped" not in (tmp_path / "daemon.log.1").read_text()


def test_calls_under_way_do_not_keep_a_daemon_whose_spool_is_gone(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        for number in range(16):
            daemon.drop(f"job-{number}", {"url": server.url(f"/slow/{number}?ms=1500")})
        daemon.drop("many", *({"url": server.url(f"/slow/line-{number}?ms=1500")} for number in range(50)))
        server.wait_for(16)
        wait_until(lambda: shutil.rmtree(daemon.spool, ignore_errors=True) or not daemon.spool.exists(), "its end")
        assert daemon.wait() == 0
        assert "the spool was moved or replaced" in daemon.log
        assert "Traceback" not in daemon.log
