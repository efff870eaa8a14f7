"""Which files go, which never do, and how little is done at a time."""

import logging
import os
from pathlib import Path

import pytest

from inboxd.daemon import janitor as module
from inboxd.daemon.janitor import DAY, PAUSE, STEP, Janitor
from inboxd.daemon.keep import Keep, Keeps
from inboxd.daemon.spool import Spool

NOW = 1_800_000_000.0
WEEK = 7 * DAY


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(str(tmp_path))
    spool.make()
    return spool


def lay(spool: Spool, path: str, age: float, size: int = 1) -> Path:
    file = Path(spool.root, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * size)
    os.utime(file, (NOW - age, NOW - age))
    return file


def janitor(spool: Spool, keeps: Keeps | None = None) -> Janitor:
    # A ctime cannot be set; what the test sets is the mtime.
    return Janitor(spool, keeps or Keeps(), since=lambda status: status.st_mtime)


def go_round(janitor: Janitor, now: float = NOW, rounds: int = 1) -> None:
    for number in range(rounds):
        for _ in range(20):
            janitor.turn(now + number * (PAUSE + 1))


@pytest.mark.parametrize("folder", ["outbox", "failed", "queues/orders/dead"])
def test_what_is_done_with_goes_after_a_week(spool: Spool, folder: str) -> None:
    old, young = lay(spool, f"{folder}/old.json", WEEK + 60), lay(spool, f"{folder}/young.json", WEEK - 60)
    go_round(janitor(spool))
    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize(
    "path",
    [
        "inbox/a.json",
        "active/a.json",
        "deferred/a.json",
        "hold/a.json",
        "state/lanes.json",
        "state/staged/x",
        "queues/orders/ready/m.json",
        "queues/orders/leased/m.json",
        "outbox/.batch~id.jsonl.part",
    ],
)
def test_nothing_else_ever_goes(spool: Spool, path: str) -> None:
    file = lay(spool, path, 100 * WEEK)
    go_round(janitor(spool))
    assert file.exists()


def test_links_and_folders_are_left_alone(spool: Spool) -> None:
    target = lay(spool, "hold/target", WEEK)
    link, folder = Path(spool.outbox, "link.json"), Path(spool.outbox, "folder")
    link.symlink_to(target)
    folder.mkdir()
    os.utime(link, (0, 0), follow_symlinks=False)
    os.utime(folder, (0, 0))
    go_round(janitor(spool))
    assert link.is_symlink()
    assert folder.is_dir()


def test_the_time_that_counts_is_since_when_it_lies_there(spool: Spool) -> None:
    """A file of last year that is rejected today is kept for its week."""
    file = lay(spool, "failed/a.json", 365 * DAY)
    now = os.stat(file).st_ctime
    real = Janitor(spool, Keeps())
    go_round(real, now + 60)
    assert file.exists()
    go_round(real, now + WEEK + 60)
    assert not file.exists()


def test_bounds_of_number_and_size_hold_from_the_second_round_on(spool: Spool) -> None:
    for number in range(30):
        lay(spool, f"outbox/{number:02}.json", number * 3600)
    one = janitor(spool, Keeps(outbox=Keep(count=10)))
    go_round(one)
    assert len(os.listdir(spool.outbox)) == 30
    go_round(one, NOW + PAUSE + 1)
    assert sorted(os.listdir(spool.outbox)) == [f"{number:02}.json" for number in range(10)]


def test_a_step_is_small_and_a_pause_lies_between_rounds(spool: Spool) -> None:
    for number in range(STEP + 10):
        lay(spool, f"outbox/{number}", WEEK + 60)
    one = janitor(spool)
    steps = 0
    while os.listdir(spool.outbox):
        before = len(os.listdir(spool.outbox))
        one.turn(NOW)
        assert before - len(os.listdir(spool.outbox)) <= STEP
        steps += 1
        assert steps < 20
    go_round(one)
    late = lay(spool, "outbox/late", WEEK + 60)
    go_round(one, NOW + PAUSE - 1)
    assert late.exists()
    go_round(one, NOW + PAUSE)
    assert not late.exists()


def test_a_clock_that_is_set_back_does_not_stop_the_rounds(spool: Spool) -> None:
    one = janitor(spool)
    go_round(one, NOW + 1000 * DAY)
    old = lay(spool, "outbox/a.json", WEEK + 60)
    go_round(one)
    assert not old.exists()


def test_it_knows_what_lies_where(spool: Spool) -> None:
    lay(spool, "outbox/a.json", 1, 10)
    lay(spool, "outbox/b.json", 1, 5)
    lay(spool, "deferred/c.json", 1, 7)
    one = janitor(spool)
    go_round(one)
    assert one.held["outbox"] == (2, 15)
    assert one.held["deferred"] == (1, 7)
    assert one.held["inbox"] == (0, 0)


def test_once_a_day_it_says_what_there_is_and_what_went(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "inboxd.janitor")
    lay(spool, "outbox/a.json", WEEK + 60)
    one = janitor(spool)
    for hour in range(49):
        go_round(one, NOW + hour * 3600)
    told = [vars(record)["fields"] for record in caplog.records if record.msg == "a day"]
    assert [fields.get("removed_outbox") for fields in told] == [1, None]
    assert told[0]["inbox"] == 0
    assert told[0]["free_bytes"] > 0


def test_other_bounds_hold_as_soon_as_they_are_given(spool: Spool) -> None:
    file = lay(spool, "outbox/a.json", 2 * DAY)
    one = janitor(spool)
    go_round(one)
    one.keeps = Keeps(outbox=Keep(age=DAY))
    go_round(one, NOW + PAUSE + 1)
    assert not file.exists()


def test_a_folder_that_is_gone_is_passed_over(spool: Spool) -> None:
    Path(spool.outbox).rmdir()
    old = lay(spool, "failed/a.json", WEEK + 60)
    go_round(janitor(spool))
    assert not old.exists()


def test_the_cache_is_swept_a_step_at_a_time(spool: Spool) -> None:
    asked: list[tuple[float, int]] = []

    def sweep(now: float, most: int) -> int:
        asked.append((now, most))
        return 3

    one = Janitor(spool, Keeps(), sweep)
    one.turn(NOW)
    one.turn(NOW + 1)
    assert asked == [(NOW, module.STEP), (NOW + 1, module.STEP)]
    assert one.removed["cache"] == 6
