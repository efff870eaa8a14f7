"""kill -9 at any moment: nothing is lost, and only what was under way is done twice."""

import json
import os
import random
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.daemonkit import CountingServer, Daemon, wait_until

pytestmark = pytest.mark.journey

# Workers (4 threads and a third more), answers that wait for the outbox, and a group being committed with as many.
THREADS = 4
MOST_UNDER_WAY = 6 + 2 * 48
ENOUGH = 60.0


def keys_by_path(server: CountingServer) -> dict[str, Counter[str]]:
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for seen in server.requests:
        found[seen.path][seen.headers["idempotency-key"]] += 1
    return found


def wait_for_calls(server: CountingServer, path: str, times: int) -> None:
    wait_until(lambda: server.counts[path] == times, f"call {times} of {path}")


def kill_after(daemon: Daemon, server: CountingServer, calls: int) -> None:
    """Kill when the server has seen so many more calls, and start again."""
    until = len(server.requests) + calls
    wait_until(lambda: len(server.requests) >= until, "more calls", ENOUGH)
    daemon.kill()
    daemon.start()


def test_kills_at_random_moments_lose_no_job_and_double_only_calls_under_way(tmp_path: Path) -> None:
    jobs, kills = 800, 6
    with CountingServer() as server, Daemon(tmp_path, f"threads = {THREADS}") as daemon:
        for number in range(jobs):
            daemon.drop(f"job-{number}", {"url": server.url(f"/slow/{number}?ms=5")})
        for _ in range(kills):
            # Not sooner: a job that is under way at three kills in a row is held to be their reason.
            kill_after(daemon, server, random.randint(40, jobs // kills - 20))
        wait_until(lambda: len(daemon.files("outbox")) >= jobs, "all answers", ENOUGH)
        answers = [json.loads((daemon.spool / "outbox" / name).read_bytes()) for name in daemon.files("outbox")]
        assert daemon.stop() == 0
        calls = keys_by_path(server)
    assert sorted(answer["name"] for answer in answers) == sorted(f"job-{number}" for number in range(jobs))
    assert {answer["status"] for answer in answers} == {"done"}
    assert {len(keys) for keys in calls.values()} == {1}
    assert sum(keys.total() for keys in calls.values()) - jobs <= kills * MOST_UNDER_WAY
    assert not daemon.files("inbox") | daemon.files("active") | daemon.files("deferred") | daemon.files("failed")


def test_a_batch_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    lines, kills = 600, 3
    with CountingServer() as server, Daemon(tmp_path, f"threads = {THREADS}") as daemon:
        daemon.drop("many", *({"url": server.url(f"/slow/{number}?ms=5")} for number in range(1, lines + 1)))
        for _ in range(kills):
            kill_after(daemon, server, 120)
        answers = daemon.batch("many", timeout=ENOUGH)
        calls = keys_by_path(server)
        summary = json.loads((daemon.spool / "outbox" / "many.summary.json").read_bytes())
    assert [answer["line"] for answer in answers] == list(range(1, lines + 1))
    assert {answer["status"] for answer in answers} == {"done"}
    assert summary["statuses"] == {"done": lines}
    assert {len(keys) for keys in calls.values()} == {1}
    assert sum(keys.total() for keys in calls.values()) - lines <= kills * MOST_UNDER_WAY


def test_a_job_that_kills_its_daemon_three_times_is_given_up_and_those_waiting_are_not(tmp_path: Path) -> None:
    with CountingServer() as server:
        config = f'[api.one]\nbase_url = "{server.url("")}"\nconcurrency = 1'
        with Daemon(tmp_path, config) as daemon:
            daemon.drop("poison", {"url": server.url("/never"), "priority": 9})
            server.wait_for(1)
            for number in range(5):
                daemon.drop(f"innocent-{number}", {"url": server.url(f"/ok/{number}")})
            wait_until(lambda: not daemon.files("inbox"), "the innocent to be claimed")
            for times in (1, 2, 3):
                wait_for_calls(server, "/never", times)
                daemon.kill()
                daemon.start()
            answer = daemon.answer("poison")
            innocent = [daemon.answer(f"innocent-{number}") for number in range(5)]
        assert server.counts["/never"] == 3
    assert (answer["status"], answer["error"]["kind"]) == ("failed", "poisoned")
    assert [attempt["fault"] for attempt in answer["attempts"]] == ["interrupted"] * 3
    assert [(other["status"], len(other["attempts"])) for other in innocent] == [("done", 1)] * 5


def test_a_deferred_job_keeps_its_id_and_its_attempts_over_a_kill(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        daemon.drop("patient", {"url": server.url("/status/503?retry-after=3600"), "attempts": 2})
        wait_until(lambda: daemon.files("deferred"), "the job to be deferred")
        daemon.kill()
        (name,) = daemon.files("deferred")
        deferred = daemon.spool / "deferred" / name
        trace = json.loads(deferred.read_bytes())["trace"]
        # An hour later, as far as the daemon can tell.
        os.utime(deferred, (0, 0))
        (daemon.spool / "state" / "lanes.json").unlink(missing_ok=True)
        daemon.start()
        answer = daemon.answer("patient")
        (used,) = server.keys.items()
    assert len(trace["attempts"]) == 1
    assert (answer["status"], answer["id"], len(answer["attempts"])) == ("failed", trace["id"], 2)
    assert answer["attempts"][0] == trace["attempts"][0]
    assert used == (trace["id"], 2)
