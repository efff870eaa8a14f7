"""SIGHUP: the config is read anew while the daemon works, or refused with the reason while the old one stays."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.daemonkit import CountingServer, Daemon, wait_until

pytestmark = pytest.mark.journey


def config_of(server: CountingServer, rate: str, more: str = "") -> str:
    return f'[api.here]\nbase_url = "{server.url("/")}"\nrate = "{rate}"\n{more}'


def rewrite(daemon: Daemon, text: str) -> None:
    """Put other text behind the lines that every test's config begins with."""
    daemon.config.write_text("\n".join([*daemon.config.read_text().splitlines()[:2], text]))


def test_a_new_limit_holds_for_the_jobs_that_wait_already(tmp_path: Path) -> None:
    """At one an hour a single job would be answered in the time this test has, and not thirty."""
    with CountingServer() as server, Daemon(tmp_path, config_of(server, "1/h")) as daemon:
        for number in range(30):
            daemon.drop(f"job{number}", {"url": server.url("/ok")})
        wait_until(lambda: len(daemon.files("outbox")) >= 1, "the first answer")
        rewrite(daemon, config_of(server, "500/s"))
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: len(daemon.files("outbox")) == 30, "all answers")
        assert "event=reloaded" in daemon.log


def test_a_bad_config_is_refused_with_its_reason_and_the_old_one_stays(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path, config_of(server, "500/s")) as daemon:
        rewrite(daemon, config_of(server, "many"))
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: "the old one stays" in daemon.log, "the refusal")
        assert "api.here.rate" in daemon.log
        daemon.drop("after", {"url": server.url("/ok")})
        assert daemon.answer("after")["status"] == "done"


def test_what_cannot_change_at_run_time_is_said_to_need_a_restart(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        rewrite(daemon, f"threads = 3\n{config_of(server, '5/s')}")
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: "event=reloaded" in daemon.log, "the reload")
        assert "needs_restart=threads" in daemon.log


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
