"""Who is due next, in an index that may forget."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from inboxd.daemon import deferred as module
from inboxd.daemon.deferred import Deferred
from inboxd.daemon.names import new_claim
from inboxd.daemon.spool import Spool


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(str(tmp_path))
    spool.make()
    return spool


def put(spool: Spool, due: float, name: str = "a") -> str:
    filename = new_claim(f"{name}.json").filename
    path = Path(spool.deferred, filename)
    path.touch()
    os.utime(path, (due, due))
    return filename


def take_all(spool: Spool, deferred: Deferred, now: float, most: int = 100) -> list[str]:
    """Take what is due, turn after turn, as the intake does."""
    taken: list[str] = []
    while True:
        due = deferred.take_due(now, most)
        for filename in due:
            Path(spool.deferred, filename).unlink(missing_ok=True)
        taken += due
        if not due and deferred.next_due(now) > now:
            return taken


def test_what_is_due_comes_the_soonest_first(spool: Spool) -> None:
    late, soon, future = put(spool, 200.0), put(spool, 100.0), put(spool, 900.0)
    deferred = Deferred(spool)
    assert deferred.take_due(500.0, 10) == [soon, late]
    assert deferred.next_due(500.0) == 560.0
    assert deferred.take_due(559.0, 10) == []
    deferred.note(future, 510.0)
    assert deferred.take_due(559.0, 10) == [future]


def test_no_more_than_was_asked_for(spool: Spool) -> None:
    names = [put(spool, 100.0 + number) for number in range(5)]
    deferred = Deferred(spool)
    assert deferred.take_due(500.0, 2) == names[:2]
    assert deferred.next_due(500.0) <= 500.0
    assert deferred.take_due(500.0, 9) == names[2:]


def test_foreign_files_are_left_alone(spool: Spool) -> None:
    Path(spool.deferred, "foreign.json").touch()
    assert Deferred(spool).take_due(1e12, 10) == []


def test_a_note_saves_reading_the_folder(spool: Spool) -> None:
    deferred = Deferred(spool)
    assert deferred.take_due(0.0, 10) == []
    filename = put(spool, 5.0)
    deferred.note(filename, 5.0)
    assert deferred.take_due(4.0, 10) == []
    assert deferred.next_due(4.0) == 5.0
    assert deferred.take_due(5.0, 10) == [filename]


def test_a_file_that_somebody_touched_is_noticed(spool: Spool) -> None:
    deferred = Deferred(spool)
    filename = put(spool, 1e9)
    assert deferred.take_due(0.0, 10) == []
    os.utime(Path(spool.deferred, filename), (1.0, 1.0))
    assert deferred.take_due(10.0, 10) == []
    assert deferred.take_due(module.REREAD, 10) == [filename]


@pytest.mark.parametrize("order", [lambda n: n, lambda n: -n, lambda n: n * 7919 % 500], ids=["up", "down", "mixed"])
def test_more_files_than_are_remembered_all_come(spool: Spool, order: Callable[[int], int]) -> None:
    dues = {put(spool, 10_000.0 + order(number)): 10_000.0 + order(number) for number in range(500)}
    deferred = Deferred(spool, remembered=10)
    taken = take_all(spool, deferred, 20_000.0)
    assert sorted(taken) == sorted(dues)
    assert len(deferred._soonest) <= 20


def test_one_turn_reads_only_a_slice(spool: Spool) -> None:
    for number in range(module.SLICE + 1):
        put(spool, 1.0 + number)
    deferred = Deferred(spool)
    first = deferred.take_due(1e6, 10_000)
    assert len(first) == module.SLICE
    assert deferred.next_due(1e6) == 1e6
    assert len(deferred.take_due(1e6, 10_000)) == 1


def test_a_note_beyond_what_is_remembered_is_found_in_the_folder(spool: Spool) -> None:
    deferred = Deferred(spool, remembered=2)
    soon = [put(spool, float(number)) for number in range(1, 7)]
    assert deferred.take_due(0.0, 10) == []
    late = put(spool, 50.0)
    deferred.note(late, 50.0)
    assert len(deferred._soonest) <= 4
    assert take_all(spool, deferred, 100.0) == [*soon, late]


def test_the_longest_parked_comes_first_as_far_as_there_is_room(spool: Spool) -> None:
    deferred = Deferred(spool)
    for name in ("a1", "a2", "a3"):
        deferred.park(name, "a")
    deferred.park("b1", "b")
    assert deferred.take_parked({"a": 2, "b": 0}.__getitem__) == ["a1", "a2"]
    assert deferred.take_parked({"a": 9, "b": 9}.__getitem__) == ["a3", "b1"]
    assert deferred.take_parked(lambda _: 9) == []


def test_no_more_is_parked_in_memory_than_the_bound(spool: Spool) -> None:
    deferred = Deferred(spool, remembered=2)
    for name in ("1", "2", "3"):
        deferred.park(name, "a")
    assert deferred.take_parked(lambda _: 9) == ["1", "2"]
    deferred.park("4", "a")
    assert deferred.take_parked(lambda _: 9) == ["4"]


def test_a_file_that_went_away_meanwhile_is_passed_over(spool: Spool) -> None:
    deferred = Deferred(spool)
    filename = put(spool, 1.0)
    assert deferred.take_due(0.0, 10) == []
    Path(spool.deferred, filename).unlink()
    assert deferred.take_due(2.0, 10) == [filename]
    assert spool.reclaim(filename) is None


def open_paths() -> set[str]:
    """Return what this process has open."""
    found = set()
    for handle in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{handle}"))
    return found


def test_who_stops_in_the_middle_leaves_no_handle(spool: Spool) -> None:
    for number in range(module.SLICE + 1):
        put(spool, 1e9 + number)
    deferred = Deferred(spool)
    deferred.take_due(0.0, 1)
    assert spool.deferred in open_paths()
    deferred.close()
    assert spool.deferred not in open_paths()


def test_when_all_that_is_remembered_is_taken_the_rest_is_wanted_at_once(spool: Spool) -> None:
    for number in range(10):
        put(spool, 1.0 + number)
    deferred = Deferred(spool, remembered=1)
    assert len(deferred.take_due(100.0, 100)) == 1
    assert deferred.next_due(100.0) == 100.0
