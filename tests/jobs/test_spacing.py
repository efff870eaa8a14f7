"""A named call's own rate, within its API's."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inboxd.jobs.api import Api
from inboxd.jobs.client import ApiClient
from inboxd.jobs.spacing import Spacing
from inboxd.jobs.task import Errand, Postponed
from inboxd.jobs.units import Rate
from tests.faultserver import FaultServer


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


def test_the_first_may_go_and_each_of_the_others_is_told_a_time_of_its_own() -> None:
    spacing = Spacing(Rate(10, 1))
    assert [round(spacing.wait(100.0), 3) for _ in range(4)] == [0.0, 0.08, 0.18, 0.28]
    assert [round(spacing.wait(100.08 + n / 10), 3) for n in range(3)] == [0.0, 0.0, 0.0]


def test_a_rest_ends_without_a_flood() -> None:
    spacing = Spacing(Rate(10, 1))
    for _ in range(5):
        spacing.wait(100.0)
    assert [spacing.wait(200.0) > 0 for _ in range(4)] == [False, True, True, True]


@given(st.lists(st.floats(0, 0.3), min_size=2, max_size=60))
def test_however_they_come_no_window_holds_more_than_the_rate(steps: list[float]) -> None:
    """In any second at most ten and one."""
    spacing, now, went = Spacing(Rate(10, 1)), 100.0, []
    for step in steps:
        now += step
        if not spacing.wait(now):
            went.append(now)
    assert all(later - earlier >= 0.08 - 1e-9 for earlier, later in pairwise(went))
    assert all(len([one for one in went if start <= one < start + 1]) <= 11 for start in went)


def shop(server: FaultServer, rate: str) -> Api:
    calls = {"slow": {"path": "/ok", "rate": rate}, "fast": {"path": "/echo"}}
    return Api.model_validate({"name": "shop", "base_url": server.url(""), "calls": calls})


def test_a_call_is_held_to_its_rate(server: FaultServer) -> None:
    with ApiClient([shop(server, "20/s")], threads=4) as client:
        begun = client.clock.mono()
        assert all(answer.ok for answer in client.map([{"call": "shop.slow"}] * 11))
        # Ten gaps; a busy machine only makes it more.
        assert client.clock.mono() - begun >= 0.45


def test_the_other_calls_of_its_api_are_not_held_up(server: FaultServer) -> None:
    client = ApiClient([shop(server, "1/m")], threads=4)
    slow = [client.submit({"call": "shop.slow"}) for _ in range(2)]
    fast = [client.submit({"call": "shop.fast"}) for _ in range(50)]
    assert all(future.result(20).ok for future in fast)
    client.close()
    assert sorted(type(future.exception()) is Postponed for future in slow) == [False, True]


def test_one_that_would_wait_too_long_goes_back_to_its_owner_with_no_attempt_lost(server: FaultServer) -> None:
    api = Api.model_validate(
        {"name": "a", "base_url": server.url(""), "calls": {"slow": {"path": "/ok", "rate": "1/m"}}}
    )
    with ApiClient([api], threads=2) as client:
        assert client.submit({"call": "a.slow"}).result(20).ok
        postponed = client.submit({"call": "a.slow"}, Errand(patience=5.0)).exception(20)
    assert isinstance(postponed, Postponed)
    assert (postponed.attempts, postponed.tried) == ([], 0)
    assert 50 < postponed.wait <= 60
