"""Which jobs were being called at a crash."""

from pathlib import Path

import pytest

from inboxd.daemon.inflight import Inflight
from inboxd.daemon.spool import Spool

TOKENS = ["01932c4e-7b1a-7000-8000-000000000001", "01932c4e-7b1a-7000-8000-000000000002:1000000"]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(str(tmp_path))
    spool.make()
    return spool


def run(spool: Spool, now: float, *tokens: str) -> Inflight:
    inflight = Inflight(spool, now)
    inflight.open(4)
    for worker, token in enumerate(tokens):
        inflight.begin(worker, token)
    return inflight


def test_what_was_being_called_at_a_crash_is_known_afterwards(spool: Spool) -> None:
    run(spool, 1.0, *TOKENS)
    assert Inflight(spool, 2.0).crashes == {token: [2.0] for token in TOKENS}


def test_with_more_workers_what_the_others_do_is_still_known(spool: Spool) -> None:
    inflight = run(spool, 1.0, TOKENS[0])
    inflight.have_room_for(9)
    inflight.begin(8, TOKENS[1])
    inflight.have_room_for(2)
    assert inflight.under_way() == TOKENS
    inflight.close()
    assert Inflight(spool, 2.0).crashes == {}


def test_crashes_add_up(spool: Spool) -> None:
    for moment in (1.0, 2.0, 3.0):
        run(spool, moment, TOKENS[0])
    assert Inflight(spool, 4.0).crashes == {TOKENS[0]: [2.0, 3.0, 4.0]}


def test_a_crash_is_counted_once_even_if_the_next_start_fails(spool: Spool) -> None:
    run(spool, 1.0, TOKENS[0])
    Inflight(spool, 2.0)
    assert Inflight(spool, 3.0).crashes == {TOKENS[0]: [2.0]}


def test_who_was_through_is_not_counted(spool: Spool) -> None:
    inflight = run(spool, 1.0, *TOKENS)
    inflight.clear(0)
    inflight.begin(1, TOKENS[0])
    inflight.clear(2)
    assert Inflight(spool, 2.0).crashes == {TOKENS[0]: [2.0]}


def test_a_stop_in_good_order_is_no_crash(spool: Spool) -> None:
    run(spool, 1.0, *TOKENS).close()
    assert Inflight(spool, 2.0).crashes == {}


def test_crashes_of_jobs_that_are_gone_are_forgotten(spool: Spool) -> None:
    run(spool, 1.0, *TOKENS)
    inflight = Inflight(spool, 2.0)
    inflight.keep_only({TOKENS[1].partition(":")[0]})
    assert inflight.crashes == Inflight(spool, 3.0).crashes == {TOKENS[1]: [2.0]}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', '{"a": ["x"]}'])
def test_a_record_that_cannot_be_read_is_none(spool: Spool, content: str) -> None:
    Path(spool.state("crashes.json")).write_text(content)
    assert Inflight(spool, 1.0).crashes == {}
