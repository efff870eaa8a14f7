"""What is told of the last minutes, by a clock that a test moves."""

import pytest

from inboxd.daemon.news import News
from inboxd.jobs.clock import FakeClock
from inboxd.jobs.result import Answer, Problem, Status


def answer(status: Status = "done", api: str = "shop", took: float = 0.25) -> Answer:
    problem = None if status == "done" else Problem("client", "the server answered 404")
    return Answer("id", status, api=api, received=100.0, finished=100.0 + took, error=problem)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall=1000.0)


@pytest.fixture
def news(clock: FakeClock) -> News:
    return News(clock.wall)


@pytest.mark.parametrize("ready", [False, True])
def test_answers_are_counted_by_second_and_by_api(ready: bool, news: News, clock: FakeClock) -> None:
    """Answers made by another process come as bytes."""
    for one in (answer(), answer(took=0.75), answer("failed"), answer(api="erp")):
        one.name = "n"
        news.take("n", 1, one.to_json() if ready else one)
    clock.advance(1)
    points = news.points()
    assert [points[key][-1] for key in ("at", "done", "failed", "median", "p95")] == [1000, 3, 1, 250.0, 750.0]
    assert news.rates() == {"shop": 0.6, "erp": 0.2}


def test_the_last_answers_come_newest_first_and_say_why(news: News) -> None:
    news.take("good", None, answer())
    news.take("bad", 7, answer("failed"))
    assert [(one.name, one.status, one.why) for one in news.last()] == [
        ("bad:7", "failed", "the server answered 404"),
        ("good", "done", ""),
    ]
    assert [one.name for one in news.failures()] == ["bad:7"]


def test_what_is_no_answer_of_ours_harms_nothing(news: News, clock: FakeClock) -> None:
    news.take("strange", None, b'{"id":"x"}')
    clock.advance(1)
    assert news.points()["failed"][-1] == 1


def test_what_is_remembered_is_bounded(news: News, clock: FakeClock) -> None:
    for number in range(2000):
        news.take("n", None, answer(api=f"api-{number}"))
    clock.advance(1)
    assert len(news.rates()) == 200
    assert len(news.last()) == 50
