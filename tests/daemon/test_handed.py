"""Single jobs for other processes: who answers them gets more, who only gives them back gets none for a while."""

import os
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from inboxd.daemon.handed import Handed, Plain
from inboxd.daemon.helpful import TOLD_ENOUGH
from inboxd.daemon.names import Claim
from inboxd.daemon.ready import Back, Ready
from inboxd.daemon.settlement import ANSWER
from inboxd.daemon.spool import Spool
from inboxd.jobs.clock import FakeClock
from inboxd.jobs.ids import uuid7


def handed(clock: FakeClock, held: int = 8) -> Handed:
    """Make one whose jobs go nowhere, in a process that holds so many itself and has eight workers."""
    none = SimpleNamespace(ended=lambda *_: (), put_all=lambda _: None)
    client = SimpleNamespace(queue=SimpleNamespace(held=held, workers=8))
    worker: Any = SimpleNamespace(client=client, clock=clock, wake=lambda: None, ties=none, outbox=none, spool=None)
    crew: Any = SimpleNamespace(on_log=None)
    return Handed(worker, crew, deque())


def give_back(one: Handed, count: int) -> None:
    for _ in range(count):
        token = uuid7()
        one.count += 1
        one.came_back(Claim("a", token, ".json"), Back(token, 0.0, [], 0))


def answer(one: Handed, count: int) -> None:
    for _ in range(count):
        token = uuid7()
        one.count += 1
        one.came([(Claim("a", token, ".json"), Ready(token, None, "done", b"", None))])


def test_what_a_process_staged_that_died_is_taken_away(tmp_path: Path) -> None:
    one, spool, token = handed(FakeClock()), Spool(str(tmp_path)), uuid7()
    one._worker.spool = spool  # type: ignore[misc]  # the worker is none
    spool.make()
    claim = Claim("a", token, ".json")
    spool.stage(claim, ANSWER, b"{}\n")
    one.came_back(claim, Back(token, 0.0, [], 0, lost=True))
    assert os.listdir(spool.staged) == []


def test_an_answer_that_is_not_there_to_be_synced_is_written_again(tmp_path: Path) -> None:
    spool, token = Spool(str(tmp_path)), uuid7()
    spool.make()
    plain = Plain(spool, Claim("a", token, ".json"), Ready(token, None, "done", b"{}\n", None), lambda _: None, ())
    for _ in range(2):
        (path,) = plain.stage()
    assert Path(path).read_bytes() == b"{}\n"


def test_files_are_given_away_as_long_as_some_are_answered() -> None:
    one = handed(FakeClock())
    for _ in range(10):
        answer(one, TOLD_ENOUGH)
        give_back(one, TOLD_ENOUGH)
    assert one.helps
    give_back(one, TOLD_ENOUGH + 1)
    assert not one.helps


def test_other_processes_get_what_comes_when_there_is_a_job_for_each_worker_here() -> None:
    assert [handed(FakeClock(), held).helps for held in (0, 7, 8, 9)] == [False, False, True, True]
