"""The newest files of the inbox go first while a long row of older ones is being worked off."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from inboxd.daemon.deferred import Deferred
from inboxd.daemon.intake import NEWEST, NEWEST_RUN, RUN, Intake
from tests.spoolkit import Bench

URL = "http://api.example/"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "spool")


@pytest.fixture
def intake(bench: Bench) -> Iterator[Intake]:
    """An intake in the middle of a long scan."""
    for number in range(3 * RUN):
        bench.drop(f"old-{number}.json", json.dumps({"url": f"{URL}old-{number}"}))
    found = Intake(bench.spool, bench.worker, Deferred(bench.spool), (), rescan=2.0, min_free=0)
    # Only the test tells names.
    found.watch.stop()
    found.turn(bench.clock.wall())
    assert len(bench.client.calls) == RUN
    yield found
    if found._inbox is not None:
        found._inbox.close()


def told(intake: Intake, *filenames: str) -> None:
    """Let the watcher name files, as it does before it wakes the intake."""
    intake._newest.extend(map(os.fsencode, filenames))


def test_a_file_that_came_in_the_middle_of_a_long_scan_is_next(bench: Bench, intake: Intake) -> None:
    bench.drop("new.json", json.dumps({"url": f"{URL}new"}))
    told(intake, "new.json")
    intake.turn(bench.clock.wall())
    assert bench.client.calls[RUN] == f"{URL}new"


def test_a_name_that_is_gone_or_no_job_of_ours_is_passed_over(bench: Bench, intake: Intake) -> None:
    Path(bench.spool.inbox, "folder.json").mkdir()
    bench.drop("lines.jsonl", "{}")
    told(intake, "gone.json", "folder.json", "lines.jsonl", "page.tmp", "", ".hidden.json")
    intake._claim_newest()
    assert {"folder.json", "lines.jsonl"} <= set(bench.names("inbox"))
    assert len(bench.client.calls) == RUN


def test_the_newest_take_only_their_part_of_a_turn_and_are_bounded(bench: Bench, intake: Intake) -> None:
    for number in range(NEWEST_RUN + 10):
        bench.drop(f"new-{number}.json", json.dumps({"url": f"{URL}new-{number}"}))
    told(intake, *(f"old-{number}.json" for number in range(2 * NEWEST)))
    assert len(intake._newest) == NEWEST
    told(intake, *(f"new-{number}.json" for number in range(NEWEST_RUN + 10)))
    intake.turn(bench.clock.wall())
    first = bench.client.calls[RUN : RUN + NEWEST_RUN]
    assert first == [f"{URL}new-{number}" for number in reversed(range(10, NEWEST_RUN + 10))]


def test_names_are_forgotten_when_the_scan_is_through(bench: Bench, intake: Intake) -> None:
    told(intake, "gone.json")
    for _ in range(5):
        intake.turn(bench.clock.wall())
    assert not bench.names("inbox")
    told(intake, "gone.json")
    intake.hints.set()
    intake.turn(bench.clock.wall())
    assert not intake._newest
