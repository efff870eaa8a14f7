"""A day of work under a clock that the test moves: what is kept stays within bounds, memory and open files stay flat.

The suite makes do with some thousand jobs; INBOXD_DAY_JOBS=1000000 is the full size.
"""

import gc
import os
import resource
from pathlib import Path

import pytest

from inboxd.daemon.deferred import Deferred
from inboxd.daemon.intake import Intake
from inboxd.daemon.janitor import Janitor
from inboxd.daemon.keep import Keep, Keeps
from inboxd.jobs.clock import FakeClock
from tests.spoolkit import Bench, Disk

JOBS = int(os.environ.get("INBOXD_DAY_JOBS", "3000"))
DAY, STEP = 86400, 300
# What the outbox and failed/ may hold: two hours' worth of answers by age, and less than that of failures by number.
TWO_HOURS = Keep(age=7200.0)
FAILED_MOST = 50


class DatedDisk(Disk):
    """A disk whose files are as old as the test's clock says."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(fsync=False)
        self._clock = clock

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        super().write(path, data, mode)
        self.set_mtime(path, self._clock.wall())


def files_open() -> int:
    return len(os.listdir("/proc/self/fd"))


def memory() -> int:
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


# A million take more than an hour on a core that others want as well: its files' names are what costs.
@pytest.mark.timeout(120 + JOBS // 200)
def test_a_day_of_work_leaves_no_more_than_is_to_be_kept(tmp_path: Path) -> None:
    clock = FakeClock()
    bench = Bench(tmp_path / "spool", disk=DatedDisk(clock), clock=clock, quiet=0.0)
    intake = Intake(bench.spool, bench.worker, Deferred(bench.spool), [], rescan=2.0, min_free=0)
    keeps = Keeps(outbox=TWO_HOURS, failed=Keep(count=FAILED_MOST))
    janitor = Janitor(bench.spool, keeps, since=lambda status: status.st_mtime)
    dropped, open_at_noon, memory_at_noon, most_failed = 0, 0, 0, 0
    for second in range(0, DAY, STEP):
        clock.advance(STEP)
        while dropped < JOBS * (second + STEP) // DAY:
            bench.drop(f"job-{dropped}.json", '{"url": "http://127.0.0.1/"}')
            dropped += 1
        for _ in range(JOBS // 20_000 + 3):
            intake.hint()
            intake.turn(clock.wall())
            for asked in list(bench.client.asked):
                bench.client.answer(asked, "failed" if asked.job.url and len(bench.client.calls) % 3 == 0 else "done")
            bench.client.calls.clear()
            bench.outbox.commit()
        # As many of the main thread's rounds as it takes; there would be one each second.
        for _ in range(min(STEP, 12 + JOBS // 5000)):
            janitor.turn(clock.wall())
        if second == DAY // 2:
            open_at_noon, memory_at_noon = files_open(), memory()
        if second > DAY // 2:
            most_failed = max(most_failed, janitor.held["failed"][0])
    intake.watch.stop()
    assert dropped == JOBS
    assert bench.names("inbox") == bench.names("active") == []
    a_step_more = JOBS * 4 * STEP // DAY + 2
    assert len(bench.names("outbox")) <= JOBS * 7200 // DAY + a_step_more
    oldest = min(path.stat().st_mtime for path in Path(bench.spool.outbox).iterdir())
    assert clock.wall() - oldest <= 7200 + 4 * STEP
    assert most_failed <= FAILED_MOST + a_step_more
    assert files_open() <= open_at_noon
    assert memory() <= memory_at_noon + 16 * 2**20
