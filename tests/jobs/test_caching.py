"""The cache as jobs see it, with real threads."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest

from inboxd.jobs.client import ApiClient
from inboxd.jobs.clock import FakeClock
from inboxd.jobs.task import Errand, Postponed
from tests.faultserver import FaultServer
from tests.jobskit import eventually


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


def client_with(folder: Path, **options: Any) -> ApiClient:
    settings: dict[str, Any] = {"threads": 4, "cache": str(folder), "backoff": {"first": "10ms"}} | options
    return ApiClient(**settings)


def test_a_miss_is_called_and_a_hit_is_not(server: FaultServer, tmp_path: Path) -> None:
    job = {"url": server.url("/echo"), "cache": "5m"}
    with client_with(tmp_path) as client:
        miss, hit = (client.submit(job).result(20) for _ in range(2))
    assert (miss.cache, hit.cache, hit.attempts, len(server.requests)) == ("miss", "hit", [], 1)
    assert hit.response is not None
    assert miss.response is not None
    assert hit.response.json() == miss.response.json()


def test_a_hundred_equal_jobs_make_one_call(server: FaultServer, tmp_path: Path) -> None:
    with client_with(tmp_path) as client:
        futures = [client.submit({"url": server.url("/slow?ms=300"), "cache": "5m"}) for _ in range(100)]
        used = Counter(future.result(20).cache for future in futures)
    assert (used, len(server.requests)) == ({"miss": 1, "shared": 99}, 1)


def test_an_entry_is_served_until_it_is_too_old(server: FaultServer, tmp_path: Path) -> None:
    clock = FakeClock()
    job = {"url": server.url(), "cache": "5m"}
    used = []
    with client_with(tmp_path, clock=clock) as client:
        for later in (0, 299, 2):
            clock.advance(later)
            used.append(client.submit(job).result(20).cache)
    assert used == ["miss", "hit", "miss"]


def test_another_credential_or_a_varied_header_is_another_entry(server: FaultServer, tmp_path: Path) -> None:
    cache = {"ttl": "5m", "vary": ["Accept-Language"]}
    headers: list[dict[str, str]] = [
        {},
        {"Authorization": "a"},
        {"Authorization": "b"},
        {"Accept-Language": "de"},
        {"X-Other": "1"},
    ]
    with client_with(tmp_path) as client:
        used = [
            client.submit({"url": server.url(), "cache": cache, "headers": sent}).result(20).cache for sent in headers
        ]
    assert used == ["miss", "miss", "miss", "miss", "hit"]


def test_a_bad_answer_is_not_kept(server: FaultServer, tmp_path: Path) -> None:
    job = {"url": server.url("/flaky/a?times=1&status=404"), "cache": "5m"}
    with client_with(tmp_path) as client:
        assert [client.submit(job).result(20).status for _ in range(3)] == ["failed", "done", "done"]
    assert len(server.requests) == 2


def test_when_the_leader_fails_its_followers_try_themselves_one_by_one(server: FaultServer, tmp_path: Path) -> None:
    job = {"url": server.url("/flaky/a?times=2&status=404"), "cache": "5m"}
    with client_with(tmp_path, threads=1) as client:
        client.submit({"url": server.url("/slow?ms=300")})
        server.wait_for(1)
        answers = [future.result(20) for future in [client.submit(job) for _ in range(10)]]
    assert [answer.status for answer in answers] == ["failed"] * 2 + ["done"] * 8
    assert Counter(answer.cache for answer in answers) == {None: 2, "miss": 1, "shared": 7}
    assert len(server.requests) == 1 + 3


def test_a_cancelled_leader_leaves_its_followers_to_themselves(server: FaultServer, tmp_path: Path) -> None:
    with client_with(tmp_path, threads=1) as client:
        client.submit({"url": server.url("/slow?ms=300")})
        server.wait_for(1)
        leader, *followers = (client.submit({"url": server.url(), "cache": "5m"}) for _ in range(3))
        assert leader.cancel()
        assert [future.result(20).cache for future in followers] == ["miss", "shared"]


def test_a_postponed_leader_leaves_its_followers_to_themselves(server: FaultServer, tmp_path: Path) -> None:
    job = {"url": server.url("/flaky/a?times=1"), "cache": "5m"}
    with client_with(tmp_path, threads=1, backoff={"first": "60s"}) as client:
        client.submit({"url": server.url("/slow?ms=300")})
        server.wait_for(1)
        leader = client.submit(job, Errand(patience=1.0))
        follower = client.submit(job)
        with pytest.raises(Postponed):
            leader.result(20)
        assert follower.result(20).cache == "miss"


def test_nobody_follows_a_job_whose_time_has_not_come(server: FaultServer, tmp_path: Path) -> None:
    job = {"url": server.url(), "cache": "5m"}
    with client_with(tmp_path) as client:
        late = client.submit(job | {"delay": "400ms"})
        assert client.submit(job).result(0.3 + 20).cache == "miss"
        assert late.result(20).cache == "hit"
    assert len(server.requests) == 1


def test_late_equal_jobs_share_one_call_as_well(server: FaultServer, tmp_path: Path) -> None:
    job = {"url": server.url("/slow?ms=200"), "cache": "5m", "delay": "100ms"}
    with client_with(tmp_path) as client:
        used = Counter(future.result(20).cache for future in [client.submit(job) for _ in range(10)])
    assert used["miss"] == 1
    assert len(server.requests) == 1


def test_followers_are_given_back_with_their_leader_when_everything_stops(server: FaultServer, tmp_path: Path) -> None:
    client = client_with(tmp_path)
    futures = [client.submit({"url": server.url("/never"), "cache": "5m", "timeout": "20s"}) for _ in range(5)]
    waiting = [client.submit({"url": server.url("/a"), "cache": "5m", "delay": "1h"}) for _ in range(3)]
    server.wait_for(1)
    assert client.close(drain=0.0) == 1
    assert not wait([*futures, *waiting], 20).not_done
    assert all(isinstance(future.exception(), Postponed) for future in [*futures, *waiting])


def test_without_a_cache_every_job_calls(server: FaultServer) -> None:
    with ApiClient(threads=2) as client:
        futures = [client.submit({"url": server.url(), "cache": "5m", "delay": "1ms"}) for _ in range(5)]
        assert [future.result(20).cache for future in futures] == [None] * 5
        assert eventually(lambda: client.queue.held == 0)
    assert len(server.requests) == 5


def test_a_store_that_cannot_be_written_harms_nothing(server: FaultServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with client_with(tmp_path / "file") as client:
        assert [client.submit({"url": server.url(), "cache": "5m"}).result(20).cache for _ in range(2)] == ["miss"] * 2
