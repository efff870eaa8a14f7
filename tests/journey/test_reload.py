"""SIGHUP: the config is read anew while the daemon works, or refused with the reason while the old one stays."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.daemonkit import CountingServer, Daemon, wait_until

pytestmark = pytest.mark.journey


def config_of(server: CountingServer, rate: str, more: str = "") -> str:
    return f'[api.here]\nbase_url = "{server.url("/")}"\nrate = "{rate}"\n{more}'


def test_a_new_limit_holds_for_the_jobs_that_wait_already(tmp_path: Path) -> None:
    """At one an hour a single job would be answered in the time this test has, and not thirty."""
    with CountingServer() as server, Daemon(tmp_path, config_of(server, "1/h")) as daemon:
        for number in range(30):
            daemon.drop(f"job{number}", {"url": server.url("/ok")})
        wait_until(lambda: len(daemon.files("outbox")) >= 1, "the first answer")
        daemon.configure(config_of(server, "500/s"))
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: len(daemon.files("outbox")) == 30, "all answers")
        assert "event=reloaded" in daemon.log


def test_a_bad_config_is_refused_with_its_reason_and_the_old_one_stays(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path, config_of(server, "500/s")) as daemon:
        daemon.configure(config_of(server, "many"))
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: "the old one stays" in daemon.log, "the refusal")
        assert "api.here.rate" in daemon.log
        daemon.drop("after", {"url": server.url("/ok")})
        assert daemon.answer("after")["status"] == "done"


def test_what_cannot_change_at_run_time_is_said_to_need_a_restart(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        daemon.configure(f"window = 30\n{config_of(server, '5/s')}")
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: "event=reloaded" in daemon.log, "the reload")
        assert "needs_restart=window" in daemon.log


def threads(daemon: Daemon) -> int:
    return len(list(Path(f"/proc/{daemon.pid}/task").iterdir()))


def test_threads_come_and_go_while_calls_go_on(tmp_path: Path) -> None:
    """Up: what waited is called at once. Down: the calls under way end. Nothing is called twice."""
    with CountingServer() as server, Daemon(tmp_path, "threads = 1\n") as daemon:
        daemon.drop("many", *({"url": server.url("/slow?ms=2000"), "timeout": "60s"} for _ in range(12)))
        server.wait_for(1)
        few = threads(daemon)
        daemon.configure("threads = 12\n")
        daemon.signal(signal.SIGHUP)
        server.wait_for(12)
        wait_until(lambda: threads(daemon) == few + 14, "all new threads")
        daemon.configure("threads = 3\n")
        daemon.signal(signal.SIGHUP)
        assert [answer["status"] for answer in daemon.batch("many")] == ["done"] * 12
        wait_until(lambda: daemon.log.count("event=reloaded") == 2, "both reloads")
        wait_until(lambda: threads(daemon) == few + 2, "the end of threads that are too many")
        assert "needs_restart" not in daemon.log
        daemon.drop("more", *({"url": server.url("/ok")} for _ in range(50)))
        assert len(daemon.batch("more")) == 50
        assert len(server.requests) == 12 + 50
        assert daemon.stop() == 0


def test_signals_make_the_log_tell_more_and_less(tmp_path: Path) -> None:
    """A signal is heard a moment after it is sent, so jobs are dropped until it shows."""
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        names = (f"job-{number}" for number in range(1000))

        def tells_attempts() -> bool:
            name, before = next(names), daemon.log.count("event=attempt")
            daemon.drop(name, {"url": server.url("/ok")})
            answered = f"event=answered id={daemon.answer(name)['id']} "
            wait_until(lambda: answered in daemon.log, "the job's last line")
            return daemon.log.count("event=attempt") > before

        assert not tells_attempts()
        daemon.signal(signal.SIGUSR1)
        wait_until(tells_attempts, "more lines")
        daemon.signal(signal.SIGUSR2)
        wait_until(lambda: not tells_attempts(), "fewer lines")
