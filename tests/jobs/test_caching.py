"""The cache as jobs see it, with real threads."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from inboxd.cache.flight import Locks
from inboxd.cache.store import Store
from inboxd.jobs.client import ApiClient
from inboxd.jobs.clock import FakeClock
from inboxd.jobs.result import Answer
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


def test_what_is_known_at_once_is_given_without_a_future(server: FaultServer, tmp_path: Path) -> None:
    job = {"url": server.url(), "cache": "5m"}
    with client_with(tmp_path) as client:
        (first,) = client.take([(job, Errand())])
        assert isinstance(first, Future)
        first.result(20)
        asked = [job, {"url": "ftp://a.test"}, job | {"delay": "1ms"}, {"url": server.url("/other"), "cache": "5m"}]
        outcomes = list(client.take([(one, Errand()) for one in asked]))
        known, called = outcomes[:2], outcomes[2:]
        used = [one.result(20).cache for one in called if isinstance(one, Future)]
    assert [one.status for one in known if isinstance(one, Answer)] == ["done", "rejected"]
    assert used == ["hit", "miss"]


def test_a_hundred_equal_jobs_make_one_call(server: FaultServer, tmp_path: Path) -> None:
    with client_with(tmp_path) as client:
        futures = [client.submit({"url": server.url("/slow?ms=300"), "cache": "5m"}) for _ in range(100)]
        used = Counter(future.result(20).cache for future in futures)
    assert (used["miss"], used["shared"] + used["hit"], len(server.requests)) == (1, 99, 1)


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
    assert Counter(answer.cache for answer in answers) == {"miss": 3, "shared": 7}
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
        assert [future.result(20).cache for future in futures] == ["off"] * 5
        assert eventually(lambda: client.queue.held == 0)
    assert len(server.requests) == 5


def test_a_store_that_cannot_be_written_harms_nothing(server: FaultServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with client_with(tmp_path / "file") as client:
        assert [client.submit({"url": server.url(), "cache": "5m"}).result(20).cache for _ in range(2)] == ["miss"] * 2


def used(client: ApiClient, job: dict[str, Any], times: int = 1, **errand: Any) -> list[str | None]:
    """Submit a job so many times, one after the other; gives what the cache did for each."""
    return [client.submit(job, Errand(**errand)).result(20).cache for _ in range(times)]


@pytest.mark.parametrize("by", ["etag", "modified"])
def test_an_expired_entry_is_asked_about_and_served_on(server: FaultServer, tmp_path: Path, by: str) -> None:
    clock = FakeClock()
    job = {"url": server.url(f"/etag?by={by}"), "cache": "5m"}
    with client_with(tmp_path, clock=clock) as client:
        first = client.submit(job).result(20)
        clock.advance(301)
        second = client.submit(job).result(20)
        assert used(client, job) == ["hit"]
        clock.advance(301)
        assert used(client, job) == ["revalidated"]
    assert (first.cache, second.cache, second.status) == ("miss", "revalidated", "done")
    assert first.response is not None
    assert second.response is not None
    assert (second.response.status, second.response.body) == (200, first.response.body)
    assert second.response.headers["X-Call"] == "2", "the 304's own headers take the place of the old ones"
    assert second.attempts[0]["status"] == 304
    assert len(server.requests) == 3


def test_an_entry_that_has_changed_is_replaced(server: FaultServer, tmp_path: Path) -> None:
    clock = FakeClock()
    cache = {"ttl": "5m", "key": []}
    with client_with(tmp_path, clock=clock) as client:
        assert used(client, {"url": server.url("/etag?tag=a"), "cache": cache}) == ["miss"]
        clock.advance(301)
        answer = client.submit({"url": server.url("/etag?tag=b"), "cache": cache}).result(20)
        assert (answer.cache, server.requests[-1].headers["if-none-match"]) == ("miss", '"a"')
        clock.advance(10)
        assert used(client, {"url": server.url("/etag?tag=b"), "cache": cache}) == ["hit"]


def test_an_entry_that_is_gone_when_the_server_says_it_still_holds_is_called_for(
    server: FaultServer, tmp_path: Path
) -> None:
    clock = FakeClock()
    job = {"url": server.url("/etag?bytes=100000"), "cache": "5m"}
    with client_with(tmp_path, clock=clock) as client:
        assert used(client, job) == ["miss"]
        clock.advance(301)
        for body in tmp_path.rglob("*.body"):
            body.unlink()
        answer = client.submit(job).result(20)
    assert (answer.cache, [attempt["status"] for attempt in answer.attempts]) == ("miss", [304, 200])
    assert answer.response is not None
    assert len(answer.response.body) > 100_000


@pytest.mark.parametrize("failure", ["status=503", "status=429", "status=0"])
def test_an_old_answer_is_better_than_none_if_the_job_says_so(
    server: FaultServer, tmp_path: Path, failure: str
) -> None:
    clock = FakeClock()
    url = server.url("/flaky/a")
    with client_with(tmp_path, clock=clock) as client:
        cache = {"ttl": "5m", "stale_if_error": "1h", "key": []}
        assert used(client, {"url": f"{url}?times=0", "cache": cache}) == ["miss"]
        clock.advance(301)
        broken = {"url": f"{url}?times=9&{failure}", "attempts": 1}
        answer = client.submit(broken | {"cache": cache}).result(20)
        assert (answer.status, answer.cache, answer.error, len(answer.attempts)) == ("done", "stale", None, 1)
        assert client.submit(broken | {"cache": {"ttl": "5m", "key": []}}).result(20).status == "failed"
        clock.advance(3600)
        assert client.submit(broken | {"cache": cache}).result(20).status == "failed"


def test_an_old_answer_is_served_at_the_first_failure_and_not_after_all_attempts(
    server: FaultServer, tmp_path: Path
) -> None:
    cache = {"ttl": 0, "stale_if_error": "1h", "key": []}
    with client_with(tmp_path, backoff={"first": "60s"}) as client:
        assert used(client, {"url": server.url("/flaky/a?times=0"), "cache": cache}) == ["miss"]
        assert used(client, {"url": server.url("/flaky/a?times=9"), "cache": cache, "attempts": 5}) == ["stale"]


def test_while_an_api_is_left_in_peace_old_answers_are_served_without_a_call(
    server: FaultServer, tmp_path: Path
) -> None:
    cache = {"ttl": 0, "stale_if_error": "1h"}
    with client_with(tmp_path) as client:
        assert used(client, {"url": server.url(), "cache": cache}) == ["miss"]
        client.submit({"url": server.url("/status/503?retry-after=60"), "attempts": 1}).result(20)
        assert used(client, {"url": server.url(), "cache": cache}) == ["stale"]
    assert len(server.requests) == 2


def test_a_permanent_failure_is_the_answer_however_good_an_old_one_is(server: FaultServer, tmp_path: Path) -> None:
    cache = {"ttl": 0, "stale_if_error": "1h", "key": []}
    with client_with(tmp_path) as client:
        client.submit({"url": server.url("/flaky/a?times=0"), "cache": cache}).result(20)
        gone = client.submit({"url": server.url("/flaky/a?times=9&status=404"), "cache": cache}).result(20)
    assert (gone.status, gone.cache) == ("failed", "miss")


def test_a_failure_is_kept_for_its_own_time_if_the_job_says_so(server: FaultServer, tmp_path: Path) -> None:
    clock = FakeClock()
    job = {"url": server.url("/status/404"), "cache": {"ttl": "5m", "negative": {"404,410": "30s"}}}
    with client_with(tmp_path, clock=clock) as client:
        answers = [client.submit(job).result(20) for _ in range(2)]
        clock.advance(31)
        assert used(client, job) == ["miss"]
        # A job that has not chosen 404 does not get one that another job has left.
        assert used(client, job | {"cache": "5m"}) == ["miss"]
        assert used(client, job | {"cache": "5m", "ok": "200-404"}) == ["hit"]
    assert [(answer.status, answer.cache) for answer in answers] == [("failed", "miss"), ("failed", "hit")]
    assert answers[0].error == answers[1].error
    assert answers[1].error is not None
    assert answers[1].error.kind == "client"


def test_of_equal_jobs_whose_failure_is_kept_one_calls(server: FaultServer, tmp_path: Path) -> None:
    job = {"url": server.url("/status/404"), "cache": {"ttl": "5m", "negative": {"404": "1m"}}}
    with client_with(tmp_path, threads=1) as client:
        client.submit({"url": server.url("/slow?ms=300")})
        server.wait_for(1)
        answers = [future.result(20) for future in [client.submit(job) for _ in range(200)]]
    assert {answer.status for answer in answers} == {"failed"}
    assert [answer.cache for answer in answers].count("miss") == 1
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ["miss", "hit"]),
        ({"method": "HEAD"}, ["miss", "hit"]),
        ({"json": {"a": 1}}, ["off", "off"]),
        ({"json": {"a": 1}, "cache": {"ttl": "5m", "methods": ["POST"]}}, ["miss", "hit"]),
        ({"headers": {"If-None-Match": '"x"'}}, ["off", "off"]),
        ({"headers": {"range": "bytes=0-1"}}, ["off", "off"]),
        ({"multipart": {"a": "b"}, "cache": {"ttl": "5m", "methods": ["POST"]}}, ["off", "off"]),
        ({"cache": 0}, ["miss", "miss"]),
    ],
)
def test_what_can_be_kept(server: FaultServer, tmp_path: Path, change: dict[str, Any], expected: list[str]) -> None:
    with client_with(tmp_path) as client:
        assert used(client, {"url": server.url("/echo"), "cache": "5m"} | change, 2) == expected


def test_who_wants_it_fresher_than_it_is_calls(server: FaultServer, tmp_path: Path) -> None:
    clock = FakeClock()
    with client_with(tmp_path, clock=clock) as client:
        assert used(client, {"url": server.url(), "cache": "1h"}) == ["miss"]
        clock.advance(60)
        assert used(client, {"url": server.url(), "cache": "1h"}) == ["hit"]
        assert used(client, {"url": server.url(), "cache": "10s"}) == ["miss"]
        clock.advance(60)
        assert used(client, {"url": server.url(), "cache": "1h"}) == ["miss"], "nor is it fresher than its maker said"


def test_what_the_server_says_it_looked_at_divides_answers(server: FaultServer, tmp_path: Path) -> None:
    job = {"url": server.url("/vary?on=X-Kind"), "cache": "5m"}
    with client_with(tmp_path) as client:
        said = []
        for kind in ("a", "a", "b"):
            answer = client.submit(job | {"headers": {"X-Kind": kind}}).result(20)
            assert answer.response is not None
            said.append((answer.cache, answer.response.body))
        assert said == [("miss", b"a"), ("hit", b"a"), ("miss", b"b")]
        assert used(client, {"url": server.url("/vary?on=*"), "cache": "5m"}, 2) == ["miss", "miss"]


def test_followers_get_no_answer_that_is_not_theirs(server: FaultServer, tmp_path: Path) -> None:
    """The key does not know yet that the server looks at X-Kind."""
    job = {"url": server.url("/vary?on=X-Kind"), "cache": "5m"}
    with client_with(tmp_path, threads=1) as client:
        client.submit({"url": server.url("/slow?ms=300")})
        server.wait_for(1)
        futures = [client.submit(job | {"headers": {"X-Kind": kind}}) for kind in "abab"]
        bodies = [answer.response.body for future in futures if (answer := future.result(20)).response]
    assert bodies == [b"a", b"b", b"a", b"b"]


def test_only_the_named_parameters_tell_calls_apart(server: FaultServer, tmp_path: Path) -> None:
    cache = {"ttl": "5m", "key": ["page"]}
    with client_with(tmp_path) as client:
        urls = [server.url(f"/ok?page={page}&t={time}") for page, time in ((1, 1), (1, 2), (2, 1))]
        assert [used(client, {"url": url, "cache": cache})[0] for url in urls] == ["miss", "hit", "miss"]


@pytest.mark.parametrize("path", ["/huge?bytes=300000", "/binary?bytes=300"])
def test_a_large_or_binary_body_is_kept_and_given_as_it_came(server: FaultServer, tmp_path: Path, path: str) -> None:
    spilled: list[Path] = []

    def spill() -> BinaryIO:
        spilled.append(tmp_path / f"spilled{len(spilled)}")
        return spilled[-1].open("wb")

    job = {"url": server.url(path), "cache": "5m"}
    with client_with(tmp_path / "cache", inline=100_000) as client:
        answers = [client.submit(job, Errand(spill=spill)).result(20) for _ in range(2)]
        in_memory = client.submit(job).result(20)
    assert [answer.cache for answer in answers] == ["miss", "hit"]
    shown = []
    for answer in answers:
        assert answer.response is not None
        if answer.response.side is not None:
            answer.response.side.close()
        shown.append((answer.response.body, answer.response.size, answer.response.sha256))
    assert shown[0] == shown[1]
    assert len({file.read_bytes() for file in spilled}) == len(spilled) // 2
    assert in_memory.cache == "hit"
    assert in_memory.response is not None
    assert len(in_memory.response.body) == shown[0][1]
    assert [file.suffix for file in (tmp_path / "cache").rglob("??????*.*")].count(".body") == 1


def test_two_clients_on_one_folder_make_one_call(server: FaultServer, tmp_path: Path) -> None:
    """Each has locks of its own, as if it were another process."""
    job = {"url": server.url("/slow?ms=300"), "cache": "5m"}
    with client_with(tmp_path) as one, client_with(tmp_path) as other:
        futures = [client.submit(job) for _ in range(10) for client in (one, other)]
        uses = Counter(future.result(20).cache for future in futures)
    # On a busy machine the last may come when the answer is there already.
    assert (uses["miss"], uses["shared"] + uses["hit"], len(server.requests)) == (1, 19, 1)


def test_when_another_process_fails_this_one_tries(server: FaultServer, tmp_path: Path) -> None:
    job = {"url": server.url("/flaky/a?times=1&status=404"), "cache": "5m"}
    with client_with(tmp_path, threads=1) as one, client_with(tmp_path) as other:
        one.submit({"url": server.url("/slow?ms=300")})
        server.wait_for(1)
        first, second = one.submit(job), other.submit(job)
        assert (first.result(20).status, second.result(20).status) == ("failed", "done")


def test_a_process_that_neither_calls_nor_lets_go_is_waited_for_no_longer_than_one_attempt(
    server: FaultServer, tmp_path: Path
) -> None:
    job = {"url": server.url(), "cache": "5m"}
    with client_with(tmp_path) as client:
        client.submit(job).result(20)
        name = next(tmp_path.rglob("??????*.json"))
        Store(tmp_path).purge()
        stuck = Locks(str(tmp_path))
        assert stuck.take(name.parent.name + name.stem)
        answer = client.submit(job | {"timeout": "300ms"}).result(20)
        stuck.close()
    assert answer.cache == "miss"


def test_a_job_that_waits_for_another_process_expires_in_time(server: FaultServer, tmp_path: Path) -> None:
    with client_with(tmp_path) as one, client_with(tmp_path) as other:
        one.submit({"url": server.url("/slow?ms=2000"), "cache": "5m"})
        server.wait_for(1)
        answer = other.submit({"url": server.url("/slow?ms=2000"), "cache": "5m", "expires": "200ms"}).result(20)
        assert answer.status == "expired"
        one.close(drain=0.0)


def test_jobs_that_wait_for_another_process_are_given_back_when_everything_stops(
    server: FaultServer, tmp_path: Path
) -> None:
    job = {"url": server.url("/slow?ms=1000"), "cache": "5m"}
    with client_with(tmp_path) as one:
        one.submit(job)
        server.wait_for(1)
        other = client_with(tmp_path)
        futures = [other.submit(job) for _ in range(5)]
        assert other.close(drain=0.0) == 0
        assert all(isinstance(future.exception(0), Postponed) for future in futures)
        assert one.submit(job).result(20).cache == "shared"


def test_uses_are_counted(server: FaultServer, tmp_path: Path) -> None:
    with client_with(tmp_path) as client:
        job = {"url": server.url("/slow?ms=200"), "cache": "5m"}
        for future in [client.submit(job) for _ in range(5)]:
            future.result(20)
        used(client, job, 3)
        used(client, job | {"method": "POST"}, 2)
        used(client, {"url": server.url()}, 2)
        client.join()
        uses = client.caching.state()["uses"]
        assert uses.pop("shared", 0) + uses.pop("hit") == 7
        assert uses == {"miss": 1, "off": 2}
