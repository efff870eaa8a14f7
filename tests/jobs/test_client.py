"""The engine with real threads against a server that misbehaves."""

import io
import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import wait
from hashlib import sha256
from typing import Any

import pytest

from inboxd.jobs.api import Api
from inboxd.jobs.client import ApiClient
from inboxd.jobs.lanes import LaneFull
from inboxd.jobs.result import Answer
from inboxd.jobs.rotation import workers_for
from inboxd.jobs.task import Errand, Postponed
from tests.faultserver import FaultServer
from tests.jobskit import eventually

TINY = {"first": "10ms", "factor": 2, "max": "1s"}
SHORT = Errand(patience=0.5)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


def run(server: FaultServer, path: str, errand: Errand | None = None, **options: Any) -> Answer:
    job = {"url": server.url(path)} | options.pop("job", {})
    settings: dict[str, Any] = {"threads": 4, "backoff": TINY} | options
    with ApiClient(**settings) as client:
        return client.submit(job, errand).result(20)


def test_a_flaky_call_is_retried_under_one_key_with_growing_waits(server: FaultServer) -> None:
    answer = run(server, "/flaky/a?times=3")
    assert answer.ok
    assert [attempt.get("fault") for attempt in answer.attempts] == ["server"] * 3 + [None]
    assert [attempt["status"] for attempt in answer.attempts] == [503, 503, 503, 200]
    waits = [attempt["wait"] for attempt in answer.attempts[:3]]
    assert all(first / 2 <= wait <= first for first, wait in zip((0.01, 0.02, 0.04), waits, strict=True))
    assert {seen.headers["idempotency-key"] for seen in server.requests} == {answer.id}


def test_attempts_are_bounded_and_the_last_reply_is_in_the_answer(server: FaultServer) -> None:
    answer = run(server, "/status/503", attempts=3)
    assert (answer.status, len(answer.attempts), len(server.requests)) == ("failed", 3, 3)
    assert answer.error is not None
    assert answer.error.kind == "server"
    assert answer.response is not None
    assert answer.response.json() == {"status": 503}


def test_a_job_gets_whole_new_rounds_of_attempts_each_with_waits_from_the_first(server: FaultServer) -> None:
    rounds = {"reprocess": {"after": "100ms", "rounds": 2}}
    answer = run(server, "/status/503", attempts=2, trip=100, job=rounds)
    assert (answer.status, len(answer.attempts), len(server.requests)) == ("failed", 6, 6)
    waits = [attempt.get("wait") for attempt in answer.attempts]
    assert waits[1] == waits[3] == 0.1
    assert max(waits[0], waits[2], waits[4]) <= 0.01
    assert waits[5] is None


@pytest.mark.parametrize(
    ("path", "job", "kind", "calls"),
    [
        ("/status/404", {}, "client", 1),
        ("/status/501", {}, "server", 1),
        ("/never", {"timeout": "100ms"}, "timeout", 2),
        ("/reset", {}, "network", 2),
        ("/garbage", {}, "bad_response", 1),
        ("/ok", {"headers": {"Origin": "http://me"}}, "cors", 1),
        ("/redirect", {}, "bad_response", 6),
        ("/redirect?to=/ok", {"method": "POST"}, "client", 1),
    ],
)
def test_each_failure_has_its_kind_and_its_attempts(
    server: FaultServer, path: str, job: dict[str, Any], kind: str, calls: int
) -> None:
    answer = run(server, path, job=job, attempts=2)
    assert answer.status == "failed"
    assert answer.error is not None
    assert (answer.error.kind, len(server.requests)) == (kind, calls)


def test_a_call_that_was_sent_and_not_answered_is_uncertain(server: FaultServer) -> None:
    late = run(server, "/never", job={"timeout": "100ms"}, attempts=1)
    told = run(server, "/status/503", attempts=1)
    assert late.error is not None
    assert told.error is not None
    assert (late.error.uncertain, told.error.uncertain) == (True, False)


def test_the_job_says_which_statuses_are_done(server: FaultServer) -> None:
    assert run(server, "/status/404", job={"ok": "200-299,404"}).ok


def test_what_cannot_be_called_is_rejected_at_once(server: FaultServer) -> None:
    with ApiClient(threads=1, allow=["*.example"]) as client:
        answers = [
            client.submit(job).result(0)
            for job in (
                {"url": server.url()},
                {"url": "no"},
                {"url": "http://[bad/"},
                {"url": "http://a.example/", "x": 1},
            )
        ]
    assert [answer.status for answer in answers] == ["rejected"] * 4
    assert [answer.error and answer.error.kind for answer in answers] == ["blocked"] + ["invalid"] * 3
    assert server.requests == []


def test_a_redirect_is_followed_through_the_other_origins_lane_without_credentials(server: FaultServer) -> None:
    with FaultServer() as other:
        api = Api(name="shop", base_url=server.url(""), headers={"Authorization": "Bearer s"}, concurrency=1)
        with ApiClient([api], threads=2) as client:
            futures = [client.submit({"url": server.url(f"/redirect?to={other.url('/echo')}")}) for _ in range(5)]
            answers = [future.result(20) for future in futures]
    assert {answer.api for answer in answers} == {other.url("")}
    assert all("authorization" in seen.headers for seen in server.requests)
    assert all("authorization" not in seen.headers for seen in other.requests)
    assert answers[0].attempts[0]["redirect"] == other.url("/echo")
    assert (len(server.requests), len(other.requests)) == (5, 5)


def test_a_redirect_to_a_host_that_may_not_be_called_is_blocked(server: FaultServer) -> None:
    answer = run(server, "/redirect?to=http://localhost:1/", allow=["127.0.0.1"])
    assert answer.error is not None
    assert answer.error.kind == "blocked"


def test_retry_after_rests_the_whole_lane(server: FaultServer) -> None:
    with ApiClient(threads=2) as client:
        throttled = client.submit({"url": server.url("/status/429?retry-after=30")}, SHORT)
        with pytest.raises(Postponed) as later:
            throttled.result(20)
        other = client.submit({"url": server.url("/ok")}, Errand(block=False))
        assert 30 <= later.value.wait <= 33
        assert client.queue.states()[server.url("")]["rests_for"] > 25
        assert not wait([other], 0.3).done
        client.close()
    assert len(server.requests) == 1


def test_a_dead_api_is_left_in_peace_and_one_probe_wakes_it_and_nothing_fails(server: FaultServer) -> None:
    with ApiClient(threads=8, attempts=4, backoff={"first": "50ms", "max": "100ms"}) as client:
        answers = [client.submit({"url": server.url("/flaky/x?times=14")}) for _ in range(60)]
        ended = [answer.result(30) for answer in answers]
    assert {answer.status for answer in ended} == {"done"}
    assert len(server.requests) == 60 + 14


def test_a_job_that_is_too_old_is_answered_expired_without_a_call(server: FaultServer) -> None:
    answer = run(server, "/ok", job={"delay": "10s", "expires": "50ms"})
    assert (answer.status, answer.error and answer.error.kind, server.requests) == ("expired", "expired", [])


def test_a_job_expires_between_its_attempts(server: FaultServer) -> None:
    answer = run(server, "/status/503", job={"expires": "300ms"}, backoff={"first": "60s"})
    assert (answer.status, len(answer.attempts)) == ("expired", 1)


def test_a_job_waits_for_its_time(server: FaultServer) -> None:
    answer = run(server, "/ok", job={"delay": "200ms"})
    assert answer.finished - answer.received >= 0.2


def test_a_job_for_another_century_harms_no_worker(server: FaultServer) -> None:
    client = ApiClient(threads=1)
    far = client.submit({"url": server.url(), "not_before": "2399-01-01T00:00:00Z"})
    for _ in range(20):
        assert client.submit({"url": server.url()}).result(20).ok
    assert not any(worker.done() for worker in client._serving)
    client.close()
    assert isinstance(far.exception(0), Postponed)


def workers() -> int:
    return sum(thread.name.startswith("worker") for thread in threading.enumerate())


def test_more_threads_begin_at_once_with_what_waits(server: FaultServer) -> None:
    client = ApiClient(threads=1)
    for _ in range(6):
        client.submit({"url": server.url("/slow?ms=60000"), "timeout": "60s"})
    server.wait_for(1)
    client.employ(6)
    server.wait_for(6)
    assert client.close(drain=0.0) == 6


def test_threads_that_are_too_many_end_their_calls_and_then_themselves(server: FaultServer) -> None:
    client = ApiClient(threads=6)
    jobs = [client.submit({"url": server.url("/slow?ms=300")}) for _ in range(6)]
    server.wait_for(6)
    client.employ(1)
    assert workers() >= 6
    assert all(job.result(20).ok for job in jobs)
    assert eventually(lambda: workers() == workers_for(1))
    assert client.submit({"url": server.url()}).result(20).ok
    client.employ(3)
    assert workers() == workers_for(3)
    assert client.submit({"url": server.url()}).result(20).ok
    client.close()
    assert workers() == 0


def test_threads_up_and_down_all_the_time_lose_no_job_and_call_none_twice(server: FaultServer) -> None:
    with ApiClient(threads=4) as client:
        jobs = [client.submit({"url": server.url(), "delay": "5ms"}) for _ in range(400)]
        for count in [1, 7, 2, 5, 1, 1, 8, 3] * 5:
            client.employ(count)
            jobs[min(len(server.requests), 399)].result(20)
        assert all(job.result(20).ok for job in jobs)
    assert len(server.requests) == 400


def test_a_longer_wait_than_the_owners_patience_gives_the_job_back(server: FaultServer) -> None:
    with ApiClient(threads=1, backoff={"first": "60s"}) as client:
        for job in ({"delay": "1h"}, {}):
            with pytest.raises(Postponed) as later:
                client.submit({"url": server.url("/status/503")} | job, SHORT).result(20)
            assert later.value.wait > 20
        assert (later.value.tried, len(later.value.attempts), later.value.begun) == (1, 1, True)
        assert eventually(lambda: client.queue.held == 0)


def test_a_round_goes_on_where_it_was(server: FaultServer) -> None:
    answer = run(server, "/status/503", Errand(id="i", tried=2, attempts=[{"a": 1}, {"b": 2}]), attempts=3)
    assert (answer.id, len(answer.attempts), len(server.requests)) == ("i", 3, 1)


def test_higher_priority_goes_first(server: FaultServer) -> None:
    with ApiClient(threads=1) as client:
        client.submit({"url": server.url("/slow?ms=300")})
        server.wait_for(1)
        for priority in (0, 1, 2):
            client.submit({"url": server.url(f"/ok/{priority}"), "priority": priority})
    assert [seen.path for seen in server.requests[1:]] == ["/ok/2", "/ok/1", "/ok/0"]


def test_a_cancelled_job_is_not_called(server: FaultServer) -> None:
    with ApiClient(threads=1) as client:
        client.submit({"url": server.url("/slow?ms=300")})
        server.wait_for(1)
        assert client.submit({"url": server.url("/ok")}).cancel()
    assert len(server.requests) == 1


def test_a_full_window_refuses_or_waits(server: FaultServer) -> None:
    with ApiClient(threads=1, window=2) as client:
        client.submit({"url": server.url("/slow?ms=200")})
        with pytest.raises(LaneFull):
            client.submit({"url": server.url()}, Errand(block=False))
        assert client.submit({"url": server.url()}).result(20).ok


def test_submitters_of_several_lanes_all_find_room_in_the_end(server: FaultServer) -> None:
    with FaultServer() as other, ApiClient(threads=2, window=2) as client:
        done: list[str] = []

        def submit(url: str) -> None:
            done.extend(client.submit({"url": url}).result(20).status for _ in range(20))

        threads = [threading.Thread(target=submit, args=(of.url(),)) for of in (server, other) * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert done == ["done"] * 120


def test_a_large_body_goes_to_a_side_file(server: FaultServer) -> None:
    side = io.BytesIO()
    answer = run(server, "/binary?bytes=5000", Errand(spill=lambda: side), inline=1000)
    assert answer.response is not None
    assert answer.response.side is side
    content = side.getvalue()
    assert (answer.response.size, len(content)) == (5000, 5000)
    assert answer.response.sha256 == sha256(content).hexdigest()
    assert json.loads(answer.to_json("x.body"))["response"]["file"] == "x.body"


def test_a_small_binary_body_stays_in_memory(server: FaultServer) -> None:
    answer = run(server, "/binary")
    assert answer.response is not None
    assert answer.response.body == bytes(range(256))
    assert answer.response.binary


def test_a_disk_without_room_costs_no_attempt(server: FaultServer, caplog: pytest.LogCaptureFixture) -> None:
    def spill() -> io.BytesIO:
        raise OSError(28, "No space left on device")

    with caplog.at_level(logging.CRITICAL, "inboxd.jobs"), ApiClient(threads=1, inline=10) as client:
        with pytest.raises(Postponed) as later:
            client.submit({"url": server.url("/binary")}, Errand(spill=spill, patience=1.0)).result(20)
        assert (later.value.tried, later.value.attempts) == (0, [])


def test_an_internal_error_fails_its_job_and_no_worker(server: FaultServer, caplog: pytest.LogCaptureFixture) -> None:
    def open_file(_name: str) -> Any:
        raise KeyError("a mistake")

    with ApiClient(threads=1) as client:
        for _ in range(5):
            answer = client.submit({"url": server.url(), "file": "a"}, Errand(open_file=open_file)).result(20)
            assert (answer.status, answer.error and answer.error.kind) == ("failed", "internal")
        assert client.submit({"url": server.url()}).result(20).ok
    assert "internal error" in caplog.text


def test_map_gives_every_answer_of_a_long_row(server: FaultServer) -> None:
    jobs = ({"id": f"j{number}", "url": server.url()} for number in range(500))
    with ApiClient(threads=4) as client:
        assert {answer.id for answer in client.map(jobs)} == {f"j{number}" for number in range(500)}
