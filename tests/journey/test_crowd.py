"""Many jobs and several APIs at once: a burst loses nothing, and nobody waits for somebody else's API."""

import json
import os
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from tests.daemonkit import CountingServer, Daemon, wait_until

pytestmark = pytest.mark.journey

ENOUGH = 60.0


def begun(answer: dict[str, object]) -> float:
    """Return when the first attempt began (wall time)."""
    attempts = answer["attempts"]
    assert isinstance(attempts, list)
    return datetime.fromisoformat(attempts[0]["at"]).timestamp()


def move_in(daemon: Daemon, jobs: dict[str, dict[str, object]]) -> None:
    """Write all jobs beside the inbox first, and then move them in as fast as that goes."""
    beside = daemon.folder / "beside"
    beside.mkdir()
    for name, job in jobs.items():
        (beside / f"{name}.json").write_text(json.dumps(job))
    for name in jobs:
        os.rename(beside / f"{name}.json", daemon.spool / "inbox" / f"{name}.json")


def test_a_burst_of_2000_files_is_answered_file_by_file(tmp_path: Path) -> None:
    jobs = 2000
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        move_in(daemon, {f"job-{number}": {"url": server.url(f"/ok/{number}")} for number in range(jobs)})
        wait_until(lambda: len(daemon.files("outbox")) >= jobs, "all answers", ENOUGH)
        statuses = Counter(json.loads(file.read_bytes())["status"] for file in (daemon.spool / "outbox").iterdir())
        assert statuses == {"done": jobs}
        assert server.counts == {f"/ok/{number}": 1 for number in range(jobs)}
        assert not daemon.files("inbox") | daemon.files("active") | daemon.files("deferred")


def test_a_slow_api_with_thousands_waiting_does_not_delay_another(tmp_path: Path) -> None:
    jobs = 3000
    with CountingServer() as slow, CountingServer() as fast:
        config = f'window = 200\n[api.slow]\nbase_url = "{slow.url("")}"\nrate = "1/s"'
        with Daemon(tmp_path, config) as daemon:
            move_in(daemon, {f"slow-{number}": {"url": slow.url(f"/ok/{number}")} for number in range(jobs)})
            for number in range(10):
                daemon.drop(f"at-once-{number}", {"url": fast.url(f"/ok/{number}")})
            assert {daemon.answer(f"at-once-{number}")["status"] for number in range(10)} == {"done"}
            wait_until(lambda: not daemon.files("inbox"), "the slow jobs to be claimed", ENOUGH)
            for number in range(10):
                daemon.drop(f"later-{number}", {"url": fast.url(f"/ok/{number}")})
            # In turn they would come after 3000 seconds.
            assert {daemon.answer(f"later-{number}")["status"] for number in range(10)} == {"done"}
            assert len(daemon.files("deferred")) + len(daemon.files("active")) > jobs - 100


def test_a_dead_api_keeps_its_jobs_until_it_is_back_and_holds_up_nobody(tmp_path: Path) -> None:
    with CountingServer() as gone:
        port = gone.port
    config = '[defaults]\nbackoff = { first = "0.2s", max = "0.5s" }'
    with CountingServer() as one, CountingServer() as two, Daemon(tmp_path, config) as daemon:
        for number in range(60):
            daemon.drop(f"dead-{number}", {"url": gone.url(f"/ok/{number}")})
        wait_until(lambda: "fault=network" in daemon.log, "the first refusal")
        for number in range(60):
            daemon.drop(f"one-{number}", {"url": one.url(f"/ok/{number}")})
            daemon.drop(f"two-{number}", {"url": two.url(f"/ok/{number}")})
        alive = [daemon.answer(f"{api}-{number}") for api in ("one", "two") for number in range(60)]
        assert {(answer["status"], len(answer["attempts"])) for answer in alive} == {("done", 1)}
        assert len(daemon.files("outbox")) == 120
        with CountingServer(port=port) as back:
            answers = [daemon.answer(f"dead-{number}", timeout=ENOUGH) for number in range(60)]
            assert {answer["status"] for answer in answers} == {"done"}
            assert back.counts == {f"/ok/{number}": 1 for number in range(60)}
        # The breaker kept most of them from ever being tried in vain.
        assert sum(len(answer["attempts"]) == 1 for answer in answers) >= 30


def test_retry_after_rests_the_whole_api(tmp_path: Path) -> None:
    with CountingServer() as server, CountingServer() as other, Daemon(tmp_path) as daemon:
        daemon.drop("throttled", {"url": server.url("/status/429?retry-after=2"), "attempts": 1})
        throttled = daemon.answer("throttled")
        daemon.drop("same", {"url": server.url("/ok")})
        daemon.drop("other", {"url": other.url("/ok")})
        assert daemon.answer("other")["status"] == "done"
        assert not daemon.files("outbox") & {"same.json"}
        same = daemon.answer("same")
    assert throttled["error"]["kind"] == "throttled"
    assert begun(same) - begun(throttled) >= 2.0
