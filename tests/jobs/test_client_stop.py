"""How the engine stops, keeps apart what must not wait for each other, and never forgets to wake anybody."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, wait

import pytest

from inboxd.jobs.api import Api
from inboxd.jobs.client import ApiClient
from inboxd.jobs.clock import Clock
from inboxd.jobs.lane import Lane
from inboxd.jobs.lanes import LaneQueue
from inboxd.jobs.result import Answer
from inboxd.jobs.task import Errand, Postponed
from tests.faultserver import FaultServer
from tests.jobskit import api, eventually, task


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


def postponed(future: Future[Answer]) -> Postponed:
    error = future.exception(20)
    assert isinstance(error, Postponed)
    return error


def test_what_did_not_begin_is_given_back_and_what_is_under_way_ends(server: FaultServer) -> None:
    client = ApiClient(threads=1)
    first, *rest = (client.submit({"url": server.url("/slow?ms=300")}) for _ in range(3))
    server.wait_for(1)
    assert client.close() == 0
    assert first.result(0).ok
    assert [(back.begun, back.stopped, back.attempts) for back in map(postponed, rest)] == [(False, True, [])] * 2
    assert len(server.requests) == 1


def test_a_call_that_is_too_slow_to_end_is_given_back_as_begun(server: FaultServer) -> None:
    client = ApiClient(threads=1)
    slow = client.submit({"url": server.url("/never"), "timeout": "20s"})
    server.wait_for(1)
    assert client.close(drain=0.1) == 1
    back = postponed(slow)
    assert (back.begun, back.stopped, back.attempts[-1]["fault"]) == (True, True, "interrupted")


def test_hurry_cuts_the_drain_short(server: FaultServer) -> None:
    client, hurry = ApiClient(threads=1), threading.Event()
    slow = client.submit({"url": server.url("/never"), "timeout": "20s"})
    server.wait_for(1)
    hurry.set()
    assert client.close(60.0, hurry.is_set) == 1
    assert postponed(slow).begun


def test_a_call_that_fails_while_everything_stops_is_given_back_with_its_attempt(server: FaultServer) -> None:
    client = ApiClient(threads=1, backoff={"first": "5s"})
    job = client.submit({"url": server.url("/status/503")})
    assert eventually(lambda: bool(server.requests))
    client.close()
    back = postponed(job)
    assert (back.begun, back.stopped, len(back.attempts), back.tried) == (True, True, 1, 1)


def test_who_waits_for_room_is_told_when_everything_stops(server: FaultServer) -> None:
    client = ApiClient(threads=1, window=2)
    client.submit({"url": server.url("/slow?ms=500")})
    server.wait_for(1)
    blocked: list[Future[Answer]] = []
    thread = threading.Thread(target=lambda: blocked.append(client.submit({"url": server.url()})))
    thread.start()
    assert eventually(lambda: len(client.queue.not_full._waiters) == 1)  # type: ignore[attr-defined]  # to see it wait
    client.close()
    thread.join(20)
    assert postponed(blocked[0]).stopped


def test_nothing_is_taken_after_the_end(server: FaultServer) -> None:
    client = ApiClient(threads=1)
    client.close()
    client.close()
    with pytest.raises(RuntimeError):
        client.submit({"url": server.url()})


def test_all_who_wait_for_the_end_are_told(server: FaultServer) -> None:
    with ApiClient(threads=2) as client:
        futures = [client.submit({"url": server.url("/slow?ms=100")}) for _ in range(4)]
        threads = [threading.Thread(target=client.join) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in threads)
        assert all(future.done() for future in futures)


def test_an_api_that_never_answers_does_not_delay_another(server: FaultServer) -> None:
    with FaultServer() as hanging:
        client = ApiClient(threads=4)
        stuck = [client.submit({"url": hanging.url("/never"), "timeout": "30s"}) for _ in range(50)]
        hanging.wait_for(4)
        assert all(client.submit({"url": server.url()}).result(10).ok for _ in range(20))
        assert len(hanging.requests) == 4
        client.close(drain=0.0)
        assert not wait(stuck, 20).not_done


def test_the_lanes_state_is_taken_up_after_a_restart(server: FaultServer) -> None:
    apis = [Api(name="shop", base_url=server.url(""))]
    with ApiClient(apis, threads=1) as client:
        with pytest.raises(Postponed):
            client.submit({"url": server.url("/status/429?retry-after=60")}, Errand(patience=1.0)).result(20)
        state = client.queue.states()["shop"]
    with ApiClient(apis, threads=1) as client:
        client.restore_lane("no-longer-there", state, 0.0)
        client.restore_lane("shop", state, 10.0)
        assert 40 < client.queue.states()["shop"]["rests_for"] <= 56


@pytest.mark.parametrize(("rate", "calls"), [(10, 21), (100, 201)])
def test_the_rate_is_what_the_server_sees(server: FaultServer, rate: int, calls: int) -> None:
    with ApiClient(threads=8, rate=f"{rate}/s") as client:
        answers = [future.result(60) for future in [client.submit({"url": server.url()}) for _ in range(calls)]]
        starts = sorted(client.clock.wall() - answer.finished for answer in answers)
    seconds = starts[-1] - starts[0]
    # Above, the promise (2 % and one call); below, what a busy machine with two cores reaches for certain.
    assert 0.8 * rate <= (calls - 1) / seconds <= 1.05 * rate


def work(queue: LaneQueue, of: list[Api], clock: Clock, served: Counter[str]) -> None:
    """Serve until the queue is closed: each task three times, the second time late and the third in another lane."""
    while True:
        try:
            one = queue.get()
        except Exception:  # noqa: BLE001, RUF100  # Empty: closed
            return
        served[one.api.name] += 1
        if one.tried < 2:
            one.tried += 1
            if one.tried == 2:
                queue.move(one, of[(of.index(one.api) + 1) % 4])
            one.due = clock.mono() + (0.0005 if one.tried == 1 else 0.0)
            queue.returned(one, dismiss=False)
            queue.again(one)
        else:
            queue.returned(one, dismiss=True)


@pytest.mark.parametrize("concurrency", [None, 1, 3])
@pytest.mark.parametrize("rate", [None, 5000])
def test_no_wake_up_is_lost(concurrency: int | None, rate: int | None) -> None:
    """Many threads, tasks of no length, lanes of every kind: a wake-up lost once would leave a task behind for ever."""
    clock, of = Clock(), [api(name, concurrency=concurrency, rate=rate) for name in "abcd"]
    queue = LaneQueue(
        lambda a: Lane(a, lambda _l, _t: None, clock), workers=12, window=40, clock=clock, on_room=lambda: None
    )
    served: Counter[str] = Counter()

    def feed(a: Api) -> None:
        for number in range(400):
            queue.put(task(a, priority=number % 3))

    workers = [threading.Thread(target=work, args=(queue, of, clock, served)) for _ in range(12)]
    feeders = [threading.Thread(target=feed, args=(a,)) for a in of]
    for thread in [*workers, *feeders]:
        thread.start()
    for thread in feeders:
        thread.join(40)
    done = eventually(lambda: queue.held == 0, 40)
    left = queue.close()
    for thread in workers:
        thread.join(10)
    assert done, f"{len(left)} left behind in {queue}"
    assert sum(served.values()) == 3 * 4 * 400
