"""Several processes on one spool: the same answers as from one, whoever made the calls and whoever died over them."""

import json
import os
import re
import signal
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.daemonkit import CountingServer, Daemon, inboxd, wait_until
from tests.gatewaykit import Served

pytestmark = pytest.mark.journey

TWO = "processes = 2\n"


def mates(daemon: Daemon) -> list[int]:
    """Return the process ids of the mates that were ever there."""
    return [int(pid) for pid in re.findall(r'event="a process helps" .*pid=(\d+)', daemon.log)]


def with_a_mate(daemon: Daemon, server: CountingServer) -> int:
    """Work off a batch that brings a mate, and return its process id once it is there."""
    daemon.drop("warm", *({"url": server.url("/ok/warm")} for _ in range(40)))
    wait_until(lambda: mates(daemon), "a mate")
    daemon.batch("warm")
    return mates(daemon)[-1]


def calls(server: CountingServer, path: str) -> list[Any]:
    return [seen for seen in server.requests if seen.path.startswith(path)]


def test_a_batch_is_answered_once_for_each_line_whatever_the_lines_are(tmp_path: Path) -> None:
    """Plain ones, bad ones, binary and long bodies, failures for good and for now: as one process answers them."""
    with (
        CountingServer() as server,
        Daemon(tmp_path, f"{TWO}inline = 1000\n[defaults]\nbackoff.first = 0.01\n") as daemon,
    ):
        with_a_mate(daemon, server)
        kinds: list[Any] = [
            {"url": server.url("/ok/{}")},
            "no json {}",
            {"url": server.url("/unknown/{}")},
            {"url": server.url("/huge/{}?bytes=5000")},
            {"url": server.url("/flaky/{}?times=1")},
            {"url": server.url("/ok/{}"), "priority": 5},
            {"url": server.url("/ok/{}"), "json": {"some": "body"}},
        ]
        lines = [fill(kinds[number % len(kinds)], number) for number in range(210)]
        daemon.drop("mixed", *lines)
        answers = daemon.batch("mixed")
        assert [answer["line"] for answer in answers] == list(range(1, 211))
        for number, answer in enumerate(answers):
            check(answer, number % len(kinds), daemon)
        times = [server.counts[f"/ok/{number}"] for number in range(210) if number % 7 in {0, 5, 6}]
        assert set(times) == {1}
        wait_until(lambda: daemon.log.count("event=answered") == 40 + 210, "a line in the log for each answer")
        assert daemon.stop() == 0


def fill(kind: Any, number: int) -> Any:
    if isinstance(kind, str):
        return kind.replace("{}", str(number))
    return {**kind, "url": kind["url"].replace("{}", str(number))}


def check(answer: Any, kind: int, daemon: Daemon) -> None:
    if kind == 1:
        assert answer["status"] == "rejected"
        assert "not JSON" in answer["error"]["message"]
    elif kind == 2:
        assert answer["status"] == "failed"
        assert answer["response"]["status"] == 404
    else:
        assert answer["status"] == "done", answer
        assert len(answer["attempts"]) == (2 if kind == 4 else 1)
    if kind == 3:
        assert (daemon.spool / "outbox" / answer["response"]["file"]).stat().st_size == 5000


def test_a_batch_for_a_slow_api_holds_up_no_other(tmp_path: Path) -> None:
    with CountingServer() as slow, CountingServer() as fast, Daemon(tmp_path, f"{TWO}threads = 4\n") as daemon:
        with_a_mate(daemon, fast)
        daemon.drop("sleepy", *({"url": slow.url(f"/slow/{number}?ms=3000")} for number in range(2000)))
        wait_until(lambda: len(slow.requests) >= 4, "all places for one API to be taken")
        daemon.drop("orders", *({"url": fast.url(f"/ok/{number}")} for number in range(100)))
        assert [answer["status"] for answer in daemon.batch("orders")] == ["done"] * 100
        for number in range(100):
            daemon.drop(f"single-{number}", {"url": fast.url(f"/ok/single/{number}")})
        assert {daemon.answer(f"single-{number}")["status"] for number in range(100)} == {"done"}
        assert len(slow.requests) < 1000


def test_a_mate_that_dies_takes_no_line_with_it(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path, TWO) as daemon:
        mate = with_a_mate(daemon, server)
        daemon.drop("orders", *({"url": server.url(f"/ok/{number}")} for number in range(700)))
        wait_until(lambda: len(calls(server, "/ok/")) > 150, "some calls")
        os.kill(mate, signal.SIGKILL)
        assert [answer["status"] for answer in daemon.batch("orders")] == ["done"] * 700
        again = sum(server.counts[f"/ok/{number}"] - 1 for number in range(700))
        # What one mate may have in hand.
        assert again <= 128
        assert 'event="a process died"' in daemon.log
        assert daemon.stop() == 0


def test_a_mate_that_stands_still_is_killed_and_its_lines_are_begun_again(tmp_path: Path) -> None:
    """With a watchdog that barks after 8 s; without one the patience is a minute."""
    watched = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "8000000"}
    with CountingServer() as server, Daemon(tmp_path, TWO, watched) as daemon:
        mate = with_a_mate(daemon, server)
        # While it has nothing to do it speaks all the same, and is left alone.
        spoken = time.monotonic() + 4.5
        wait_until(lambda: time.monotonic() > spoken, "more than the patience")
        assert not ended(mate)
        daemon.drop("orders", *({"url": server.url(f"/slow/{number}?ms=20")} for number in range(700)))
        wait_until(lambda: len(calls(server, "/slow/")) > 150, "some calls")
        os.kill(mate, signal.SIGSTOP)
        stopped = time.monotonic()
        assert [answer["status"] for answer in daemon.batch("orders")] == ["done"] * 700
        assert time.monotonic() - stopped < 8 + 5
        assert ended(mate)
        assert 'event="a process stands still"' in daemon.log
        assert 'event="a process died"' in daemon.log
        assert sum(server.counts[f"/slow/{number}"] - 1 for number in range(700)) <= 128
        assert 'event="standing still"' not in daemon.log
        assert daemon.stop() == 0


def test_what_mates_did_is_counted_as_if_the_house_had_done_it(tmp_path: Path) -> None:
    with CountingServer() as server, Served(tmp_path, more=TWO) as daemon:
        mate = with_a_mate(daemon, server)
        daemon.drop("orders", *({"url": server.url(f"/slow/{number}?ms=250")} for number in range(300)))
        said = wait_until(lambda: [one for one in processes(daemon) if one["jobs"]], "jobs that the mate has")
        assert {one["number"] for one in said} <= {1, 2}
        assert mate in {one["pid"] for one in processes(daemon)}
        daemon.drop("missing", *[{"url": server.url("/unknown/here")}] * 60)
        daemon.batch("orders")
        daemon.batch("missing")
        api = server.url("").rstrip("/")
        wanted = {
            f'inboxd_answers_total{{api="{api}",status="done"}} 340.0',
            f'inboxd_answers_total{{api="{api}",status="failed"}} 60.0',
            f'inboxd_attempts_total{{api="{api}",outcome="ok"}} 340.0',
            f'inboxd_attempts_total{{api="{api}",outcome="client"}} 60.0',
            'inboxd_process_jobs{process="1"} 0.0',
            'inboxd_process_jobs{process="2"} 0.0',
        }
        assert wanted <= set(daemon.ask("GET", "/metrics").body.decode().splitlines())
        assert daemon.stop() == 0


def processes(daemon: Daemon) -> list[Any]:
    """Return what `status` says of further processes."""
    told = json.loads((daemon.spool / "state/status.json").read_bytes())["processes"]
    assert isinstance(told, list)
    return told


def test_mates_end_with_the_house_and_their_lines_are_begun_again(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path, TWO) as daemon:
        mate = with_a_mate(daemon, server)
        daemon.drop("orders", *({"url": server.url(f"/ok/{number}")} for number in range(700)))
        wait_until(lambda: len(calls(server, "/ok/")) > 150, "some calls")
        daemon.kill()
        wait_until(lambda: not Path(f"/proc/{mate}/cmdline").exists() or ended(mate), "the mate's end")
        daemon.start()
        answers = daemon.batch("orders")
        assert [answer["status"] for answer in answers] == ["done"] * 700
        keys = {seen.path: seen.headers["idempotency-key"] for seen in calls(server, "/ok/") if "warm" not in seen.path}
        assert all(seen.headers["idempotency-key"] == keys[seen.path] for seen in server.requests if seen.path in keys)
        assert daemon.stop() == 0


def ended(pid: int) -> bool:
    """Tell whether a process is one that nobody has waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_an_api_with_a_limit_is_called_by_one_process_alone(tmp_path: Path) -> None:
    """Its pace and its concurrency are kept in one place."""
    with CountingServer() as server:
        limited = f'{TWO}[api.slow]\nbase_url = "{server.url("/ok/slow")}"\nconcurrency = 1\n'
        with Daemon(tmp_path, limited) as daemon:
            with_a_mate(daemon, server)
            daemon.drop("orders", *({"url": server.url(f"/ok/slow/{number}")} for number in range(300)))
            assert [answer["status"] for answer in daemon.batch("orders")] == ["done"] * 300
            # One call at a time needs one connection, and one worker after the other may open its own.
            assert {answer["api"] for answer in daemon.batch("orders")} == {"slow"}
            assert len(calls(server, "/ok/slow")) == 300
            assert daemon.stop() == 0


def test_a_rest_that_a_server_asks_of_one_process_is_kept_by_all(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path, TWO) as daemon:
        with_a_mate(daemon, server)
        lines = [{"url": server.url(f"/ok/{number}")} for number in range(600)]
        lines[100] = {"url": server.url("/flaky/once?status=429&retry-after=2")}
        daemon.drop("orders", *lines)
        answers = daemon.batch("orders")
        assert [answer["status"] for answer in answers] == ["done"] * 600
        told = answers[100]["attempts"][0]
        assert told["status"] == 429
        heard = datetime.fromisoformat(told["at"]).timestamp() + told["ms"] / 1000
        begun = [
            datetime.fromisoformat(attempt["at"]).timestamp() for answer in answers for attempt in answer["attempts"]
        ]
        # What was on its way to the other process when the word came, and to the server, may still arrive.
        assert not [at for at in begun if heard + 0.5 < at < heard + 1.9]
        assert [at for at in begun if at > heard + 1.9]
        assert daemon.stop() == 0


def test_a_stop_in_the_middle_lets_calls_end_and_goes_on_later(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path, TWO) as daemon:
        with_a_mate(daemon, server)
        daemon.drop("orders", *({"url": server.url(f"/ok/{number}")} for number in range(700)))
        wait_until(lambda: len(calls(server, "/ok/")) > 150, "some calls")
        assert daemon.stop() == 0
        daemon.start()
        assert [answer["status"] for answer in daemon.batch("orders")] == ["done"] * 700
        assert max(server.counts[f"/ok/{number}"] for number in range(700)) == 1
        assert daemon.stop() == 0


def test_a_batch_is_held_whoever_makes_its_calls_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path, TWO) as daemon:
        with_a_mate(daemon, server)
        daemon.drop("orders", *({"url": server.url(f"/slow/{number}?ms=200")} for number in range(300)))
        wait_until(lambda: len(calls(server, "/slow/")) > 100, "some calls")
        assert inboxd("hold", "orders", cwd=tmp_path).returncode == 0
        (held,) = daemon.files("hold")
        called = len(calls(server, "/slow/"))
        assert called < 300
        daemon.kill()
        daemon.start()
        assert inboxd("release", "orders", cwd=tmp_path).returncode == 0
        assert [answer["status"] for answer in daemon.batch("orders")] == ["done"] * 300
        # Not one of those that were answered, or on their way, was called again; nor any while it was held.
        assert max(server.counts[f"/slow/{number}"] for number in range(300)) == 1
        assert held not in daemon.files("hold")
        assert daemon.stop() == 0


def test_a_reload_gives_the_mates_the_new_config(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path, TWO) as daemon:
        first = with_a_mate(daemon, server)
        daemon.config.write_text(
            f'{daemon.config.read_text()}[api.here]\nbase_url = "{server.url("")}"\nheaders = {{X-New = "yes"}}\n'
        )
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: ended(first), "the old mate's end")
        daemon.drop("orders", *({"url": server.url(f"/ok/{number}")} for number in range(500)))
        wait_until(lambda: len(mates(daemon)) == 2, "another mate")
        assert {answer["status"] for answer in daemon.batch("orders")} == {"done"}
        assert {seen.headers.get("x-new") for seen in calls(server, "/ok/") if "warm" not in seen.path} == {"yes"}
        assert "a process died" not in daemon.log
        assert daemon.stop() == 0


def test_a_burst_of_files_is_shared_and_each_is_answered_once(tmp_path: Path) -> None:
    """Plain ones, one that is no job, bodies of their own, failures for good and for now."""
    with CountingServer() as server, Daemon(tmp_path, f"{TWO}inline = 1000\n") as daemon:
        with_a_mate(daemon, server)
        paths = ["/ok/{}", "/unknown/{}", "/huge/{}?bytes=5000", "/flaky/{}?times=1", "/ok/{}", "/binary/{}", "/ok/{}"]
        for number in range(210):
            job = {"id": f"job-{number}", "url": server.url(paths[number % 7].replace("{}", str(number)))}
            daemon.drop(f"n{number}", job if number != 4 else "no json")
        for number in range(210):
            answer = daemon.answer(f"n{number}", timeout=60)
            kind = number % 7
            assert answer["status"] == ("rejected" if number == 4 else "failed" if kind == 1 else "done")
            assert answer["id"] == f"job-{number}" or number == 4
            if kind in {2, 5}:
                body = daemon.spool / "outbox" / answer["response"]["file"]
                assert body.stat().st_size == answer["response"]["bytes"]
        assert len(daemon.files("failed")) == 31
        assert daemon.files("active") | daemon.files("state/staged") == set()
        assert max(server.keys.values()) == 2
        assert set(Counter(seen.path for seen in server.requests if "/ok/" in seen.path).values()) <= {1, 40}
        assert daemon.stop() == 0


def test_a_few_slow_files_have_all_the_calls_at_a_time_that_threads_allow(tmp_path: Path) -> None:
    """The threads are divided among the processes, so the house alone could not."""
    with CountingServer() as server, Daemon(tmp_path, f"threads = 16\ndrain = 0\n{TWO}") as daemon:
        with_a_mate(daemon, server)
        for number in range(20):
            daemon.drop(f"n{number}", {"url": server.url(f"/drip-head/{number}")})
        wait_until(lambda: len(calls(server, "/drip-head/")) >= 16, "so many calls")
        assert daemon.stop() == 0


def test_a_mate_that_dies_takes_no_file_with_it(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path, TWO) as daemon:
        mate = with_a_mate(daemon, server)
        for number in range(300):
            daemon.drop(f"n{number}", {"url": server.url(f"/ok/{number}")})
        wait_until(lambda: len(calls(server, "/ok/")) > 120, "some calls")
        os.kill(mate, signal.SIGKILL)
        for number in range(300):
            assert daemon.answer(f"n{number}", timeout=60)["status"] == "done"
        assert daemon.stop() == 0


def test_what_is_tied_to_other_jobs_stays_with_the_house(tmp_path: Path) -> None:
    """Trees, jobs that wait and known ids, among so many plain jobs that the other process takes its share."""
    with CountingServer() as server, Daemon(tmp_path, TWO) as daemon:
        with_a_mate(daemon, server)
        plain, leaf = {"url": server.url("/slow/plain?ms=5")}, {"url": server.url("/ok/leaf")}
        for number in range(100):
            daemon.drop(f"plain-{number}", plain)
            daemon.drop(f"known-{number}", {"id": f"id-{number % 10}", "url": server.url("/ok/known")})
            daemon.drop(f"tree-{number}", {**leaf, "then": [leaf], "after": [f"plain-{number}"]})
        wait_until(lambda: len(daemon.files("outbox")) >= 2 + 400, "all answers", 60)
        assert daemon.stop() == 0
        assert server.counts == {"/ok/warm": 40, "/slow/plain": 100, "/ok/known": 10, "/ok/leaf": 200}
        assert not daemon.files("active") | daemon.files("deferred") | daemon.files("failed")
