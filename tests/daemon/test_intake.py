"""What the intake claims, what it leaves, and what it does when the disk or the window is full."""

import errno
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inboxd.daemon import batches, intake
from inboxd.daemon.deferred import Deferred
from inboxd.daemon.intake import Intake
from inboxd.jobs.clock import FakeClock
from inboxd.jobs.lanes import LaneFull
from tests.jobskit import eventually
from tests.spoolkit import Bench, CrashingDisk

JOB = '{"url": "http://api.test/x"}'


class RefusingDisk(CrashingDisk):
    """A disk that cannot open files of the names that the test says."""

    refused = ""

    def read_regular(self, path: str, limit: int) -> tuple[os.stat_result, bytes]:
        if self.refused and self.refused in path:
            raise OSError(errno.EIO, "Input/output error", path)
        return super().read_regular(path, limit)


class Yard:
    """An intake whose turns the test makes."""

    def __init__(self, root: Path, min_free: int = 0, quiet: float = 0.5) -> None:
        self.disk = RefusingDisk()
        self.bench = Bench(root, disk=self.disk, clock=FakeClock(wall=time.time()), quiet=quiet)
        self.deferred = Deferred(self.bench.spool)
        self.intake = Intake(self.bench.spool, self.bench.worker, self.deferred, (), rescan=2.0, min_free=min_free)

    def turn(self) -> float:
        """Make one turn; gives in how many seconds the next is wanted."""
        now = self.bench.clock.wall()
        return self.intake.turn(now) - now

    def settle(self) -> None:
        """Make turns as long as they are wanted at once, and commit."""
        for _ in range(50):
            if self.turn() > 0:
                break
        self.bench.outbox.commit()

    def asked(self) -> int:
        return len(self.bench.client.asked)

    def close(self) -> None:
        self.intake.watch.stop()
        self.intake.batches.stop()


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    yard = Yard(tmp_path / "spool")
    yield yard
    yard.close()


def test_what_lies_in_the_inbox_is_set_to_work(yard: Yard) -> None:
    for number in range(3):
        yard.bench.drop(f"a{number}.json", JOB)
    yard.settle()
    assert yard.asked() == 3
    assert yard.bench.names("inbox") == []
    assert yard.intake.idle


def test_what_is_no_job_stays_where_it_is(yard: Yard) -> None:
    others = [".a.json", "a.csv", "a.json.part", "a.json.tmp", "a.json~"]
    for name in others:
        yard.bench.drop(name, JOB)
    Path(yard.bench.spool.inbox, "folder.json").mkdir()
    yard.settle()
    assert yard.bench.names("inbox") == sorted([*others, "folder.json"])
    assert yard.intake.idle


def test_one_turn_takes_only_so_much(yard: Yard) -> None:
    for number in range(intake.RUN + 50):
        yard.bench.drop(f"a{number}.json", JOB)
    assert yard.turn() == 0
    assert yard.asked() == intake.RUN
    assert not yard.intake.idle
    yard.settle()
    assert yard.asked() == intake.RUN + 50


def test_what_comes_without_a_hint_is_found_by_looking(yard: Yard) -> None:
    yard.settle()
    yard.intake.watch.stop()
    yard.bench.drop("a.json", JOB)
    yard.intake.hints.take()
    yard.turn()
    assert yard.asked() == 0
    yard.bench.clock.advance(2.0)
    yard.turn()
    assert yard.asked() == 1


def test_a_young_file_is_looked_at_again(yard: Yard) -> None:
    now = yard.bench.clock.wall()
    for name in ("good", "bad"):
        yard.bench.drop(f"{name}.json", "{")
        os.utime(Path(yard.bench.spool.inbox, f"{name}.json"), (now, now))
    yard.settle()
    assert not yard.intake.idle
    assert 0 < yard.turn() <= 0.5
    (good,) = (path for path in Path(yard.bench.spool.active).iterdir() if path.name.startswith("good"))
    good.write_text(JOB)
    yard.bench.clock.advance(0.6)
    yard.settle()
    assert yard.asked() == 1
    assert yard.bench.names("outbox") == ["bad.json"]


def test_a_batch_that_is_being_written_is_not_claimed_and_keeps_once_from_ending(yard: Yard) -> None:
    yard.bench.drop("b.jsonl", JOB + "\n")
    now = yard.bench.clock.wall()
    os.utime(Path(yard.bench.spool.inbox, "b.jsonl"), (now, now))
    yard.settle()
    assert yard.bench.names("inbox") == ["b.jsonl"]
    assert not yard.intake.idle
    yard.bench.clock.advance(0.6)
    yard.settle()
    assert yard.asked() == 1


def test_a_full_lane_that_is_soon_through_is_waited_for(yard: Yard) -> None:
    yard.bench.drop("a.json", JOB)
    yard.bench.client.refuse = LaneFull("api", 0.1, 0.1)
    yard.turn()
    assert yard.turn() == intake.WORTH_WAITING
    assert len(yard.bench.names("active")) == 1
    yard.bench.client.refuse = None
    yard.settle()
    assert yard.asked() == 1


def test_a_full_lane_that_takes_long_stops_nobody_else(yard: Yard) -> None:
    for name in ("a", "b"):
        yard.bench.drop(f"{name}.json", JOB)
    yard.bench.client.refuse = LaneFull("api", 3600.0, 3600.0)
    yard.settle()
    assert yard.bench.names("inbox") == yard.bench.names("active") == []
    assert len(yard.bench.names("deferred")) == 2
    yard.bench.client.refuse = None
    yard.turn()
    assert yard.asked() == 0
    yard.bench.client.rooms["api"] = 1
    yard.turn()
    assert yard.asked() == 1


def test_due_jobs_that_found_no_room_are_not_forgotten(yard: Yard) -> None:
    """One of them waits in hand for a moment; the others come right after it, not when the folder is read again."""
    for number in range(5):
        claim = yard.bench.claim(f"a{number}.json", JOB)
        yard.bench.spool.park(claim, yard.bench.clock.wall() - 1)
    yard.bench.client.refuse = LaneFull("api", 0.1, 0.1)
    yard.turn()
    yard.bench.client.refuse = None
    yard.settle()
    assert yard.asked() == 5


def test_below_min_free_nothing_is_claimed(tmp_path: Path) -> None:
    yard = Yard(tmp_path, min_free=1 << 62)
    yard.bench.drop("a.json", JOB)
    yard.settle()
    assert yard.bench.names("inbox") == ["a.json"]
    assert "min_free" in str(yard.intake.trouble)
    yard.intake._min_free = 0
    yard.bench.clock.advance(2.0)
    yard.settle()
    assert yard.intake.trouble is None
    assert yard.asked() == 1
    yard.close()


def test_a_file_that_the_disk_refuses_keeps_nobody_else_waiting(yard: Yard) -> None:
    for name in ("a", "b", "c"):
        yard.bench.drop(f"{name}.json", JOB)
    yard.disk.refused = "/b~"
    for _ in range(4):
        yard.turn()
        yard.bench.clock.advance(1.0)
    assert yard.asked() == 2
    yard.disk.refused = ""
    yard.bench.clock.advance(intake.REFUSED_FILE)
    yard.settle()
    assert yard.asked() == 3
    assert yard.intake.trouble is None


def test_an_inbox_that_is_gone_is_trouble_until_it_is_back(yard: Yard) -> None:
    yard.settle()
    away = Path(f"{yard.bench.spool.inbox}.away")
    Path(yard.bench.spool.inbox).rename(away)
    yard.bench.clock.advance(2.0)
    assert yard.turn() == intake.REFUSED
    assert "No such file" in str(yard.intake.trouble)
    Path(yard.bench.spool.inbox).mkdir()
    yard.bench.drop("a.json", JOB)
    yard.settle()
    assert yard.asked() == 1
    assert yard.intake.trouble is None


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_of_jobs_is_a_batch(yard: Yard, indent: int | None) -> None:
    jobs = [{"url": "http://api.test/x", "text": "line\nbreak"}, {"bad": [1, {"n": []}]}, {"url": "http://api.test/y"}]
    yard.bench.drop("a.json", json.dumps(jobs, indent=indent))
    yard.settle()
    assert [asked.job.text for asked in yard.bench.client.asked] == ["line\nbreak", None]
    for asked in list(yard.bench.client.asked):
        yard.bench.client.answer(asked)
    yard.bench.outbox.commit()
    assert yard.bench.names("outbox") == ["a.jsonl", "a.summary.json"]
    assert yard.bench.names("failed") == ["a.jsonl"]
    assert yard.bench.names("active") == yard.bench.names("state/staged") == []


@pytest.mark.parametrize("content", ["[1,", "[1] 2", "[" + '{"x": 1},' * 150_000, "[1 2]"])
def test_a_torn_array_is_rejected_whole_and_leaves_nothing(yard: Yard, content: str) -> None:
    yard.bench.drop("a.json", content)
    yard.settle()
    answer = yard.bench.read("outbox", "a.json")
    assert (answer["status"], yard.asked()) == ("rejected", 0)
    assert Path(yard.bench.spool.failed, "a.json").read_text() == content
    assert yard.bench.names("active") == yard.bench.names("state/staged") == []


def test_a_large_array_lets_others_pass(yard: Yard) -> None:
    yard.bench.drop("a.json", "[" + ", ".join([JOB] * (3 * batches.PORTION // len(JOB))) + "]")
    yard.turn()
    yard.bench.drop("b.json", JOB)
    yard.intake.hint()
    yard.turn()
    assert yard.asked() == 1
    assert not yard.intake.idle
    yard.settle()
    assert yard.asked() > 1


def test_an_array_that_is_stopped_half_way_is_an_array_again(yard: Yard) -> None:
    content = "[" + ", ".join([JOB] * (3 * batches.PORTION // len(JOB))) + "]"
    yard.bench.drop("a.json", content)
    yard.turn()
    yard.turn()
    yard.intake.batches.stop()
    assert Path(yard.bench.spool.inbox, "a.json").read_text() == content
    assert yard.bench.names("active") == yard.bench.names("state/staged") == []


def test_batches_and_files_go_side_by_side(yard: Yard) -> None:
    yard.bench.drop("b.jsonl", f"{JOB}\n" * (intake.RUN * 2))
    yard.bench.drop("c.jsonl", f"{JOB}\n" * (intake.RUN * 2))
    yard.turn()
    yard.bench.drop("a.json", '{"url": "http://api.test/single"}')
    yard.intake.hint()
    yard.turn()
    urls = [asked.job.url for asked in yard.bench.client.asked]
    assert "http://api.test/single" in urls
    assert len({asked.errand.token.partition(":")[0] for asked in yard.bench.client.asked}) == 3


def test_a_batch_that_is_no_file_is_rejected(yard: Yard) -> None:
    Path(yard.bench.spool.inbox, "b.jsonl").symlink_to("/etc/passwd")
    yard.bench.drop("c~d.jsonl", JOB)
    # The link's own time cannot be set back.
    yard.bench.clock.advance(60.0)
    yard.settle()
    assert {yard.bench.read("outbox", name)["status"] for name in ("b.json", "c~d.json")} == {"rejected"}
    assert yard.bench.names("failed") == ["b.jsonl", "c~d.jsonl"]


def test_a_stop_gives_back_what_was_not_begun(yard: Yard) -> None:
    yard.bench.client.refuse = LaneFull("api", 0.1, 0.1)
    yard.bench.drop("a.json", JOB)
    yard.bench.drop("young.json", "{")
    now = yard.bench.clock.wall()
    os.utime(Path(yard.bench.spool.inbox, "young.json"), (now, now))
    yard.intake.start()
    yard.intake.stop()
    yard.intake.give_back()
    assert yard.bench.names("inbox") == ["a.json", "young.json"]
    assert yard.bench.names("active") == []


def test_a_batch_that_is_renamed_in_is_whole_at_once(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "spool", quiet=3600.0)
    # The intake's clock is ahead of the disk's, but by much less than a file has to be quiet for.
    yard.bench.clock.advance(60.0)
    yard.intake.watch.start()
    yard.turn()
    (tmp_path / "b.jsonl").write_text(JOB + "\n")
    (tmp_path / "b.jsonl").rename(Path(yard.bench.spool.inbox, "b.jsonl"))
    assert eventually(lambda: yard.settle() or yard.asked() == 1)
    yard.bench.client.answer(yard.bench.client.asked[0])
    yard.settle()
    assert yard.bench.names("outbox") == ["b.jsonl", "b.summary.json"]
    yard.intake.watch.stop()
    yard.close()


def test_a_batch_that_came_just_now_is_looked_at_again_as_soon_as_it_is_quiet(yard: Yard) -> None:
    """The next scan is due in two seconds, and would be far too late."""
    yard.bench.drop("a.jsonl", f"{JOB}\n")
    os.utime(Path(yard.bench.spool.inbox, "a.jsonl"), times=(yard.bench.clock.wall(), yard.bench.clock.wall() - 0.1))
    wanted = [yard.turn() for _ in range(3)]
    assert wanted[-1] == pytest.approx(yard.bench.worker.quiet - 0.1, abs=0.01)
    yard.bench.clock.advance(wanted[-1] + 0.01)
    yard.settle()
    assert yard.asked() == 1
