"""inboxd as a side: the real command on a spool of its own, its shipped config but for what the page says.

The spool is durable (`fsync = "group"` is what ships) and lies on the disk on which the bench runs.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.measure import Sample, Stopwatch
from bench.rig import Daemon, Late
from bench.work import Work

# Seconds. Long enough for a million calls on a slow machine.
SLOW = 1800
# A look at a folder costs time in proportion to what lies there; this share of the time is spent on looking.
SHARE = 0.03


class Inboxd:
    """A side that drops the calls of a work as one batch, or as a file each, and waits for the last answer."""

    def __init__(self, way: str, settings: dict[str, Any] | None = None, cores: set[int] | None = None) -> None:
        self._drop = {"batch": drop_batch, "files": drop_files}[way]
        self._settings, self._cores = settings or {}, cores
        self.name = "inboxd" if not settings else f"inboxd ({self.says})"
        self.keeps = "one file, durable" if way == "batch" else "a file each, durable"

    @property
    def says(self) -> str:
        """What is set otherwise than shipped."""
        return ", ".join(f"{key} = {json.dumps(value)}" for key, value in self._settings.items()) or "as shipped"

    def __call__(self, work: Work, folder: Path, server: list[int]) -> Sample:
        """Make all calls with a daemon of its own; raises Late when some do not end, or end badly."""
        with started(folder, self._settings, self._cores) as daemon:
            ready = self._drop(daemon, work)
            watch = Stopwatch([daemon.pid], server)
            check = ready()
            sample = watch.stop(len(work.jobs))
            check()
        return sample


def drop_batch(daemon: Daemon, work: Work, name: str = "work") -> Callable[[], Callable[[], None]]:
    """Write a batch; what is returned drops it and waits, and returns what checks the answers."""
    made = daemon.make([(name, work.jobs)])

    def go() -> Callable[[], None]:
        daemon.move_in(made)
        wait_for(lambda: len(work.jobs) * (daemon.spool / "outbox" / f"{name}.jsonl").exists(), len(work.jobs))
        return check

    def check() -> None:
        summary = json.loads((daemon.spool / "outbox" / f"{name}.summary.json").read_bytes())
        if summary["statuses"] != {"done": len(work.jobs)}:
            raise Late(f"the batch ended as {summary['counts']}")

    return go


def drop_files(daemon: Daemon, work: Work) -> Callable[[], Callable[[], None]]:
    """Write a file for each job; what is returned moves them in and waits, and returns what checks the answers."""
    made = daemon.make((f"job-{number}", job) for number, job in enumerate(work.jobs))

    def go() -> Callable[[], None]:
        daemon.move_in(made)
        wait_for(lambda: answers(daemon), len(work.jobs))
        return check

    def check() -> None:
        done = sum(answer["status"] == "done" for answer in daemon.answers())
        if done != len(work.jobs):
            raise Late(f"only {done} of {len(work.jobs)} files are done")

    return go


def answers(daemon: Daemon) -> int:
    """Return how many files lie in the outbox, those that are not yet to be seen included."""
    with os.scandir(daemon.spool / "outbox") as entries:
        return sum(1 for _ in entries)


def wait_for(count: Callable[[], int], wanted: int, timeout: float = SLOW) -> None:
    """Wait until `count` says what is wanted, and look seldom enough not to be in the way."""
    deadline = time.monotonic() + timeout
    while True:
        began = time.perf_counter()
        found = count()
        if found >= wanted:
            return
        if time.monotonic() > deadline:
            raise Late(f"{found} of {wanted} answers within {timeout:g} s")
        time.sleep(max(0.002, (time.perf_counter() - began) / SHARE))


@contextmanager
def started(folder: Path, settings: dict[str, Any] | None = None, cores: set[int] | None = None) -> Iterator[Daemon]:
    """Run a daemon on folder/inboxd, on these cores only if any are named; its spool is gone afterwards."""
    own = os.sched_getaffinity(0)
    daemon = Daemon(folder / "inboxd", "".join(f"{k} = {json.dumps(v)}\n" for k, v in (settings or {}).items()))
    try:
        os.sched_setaffinity(0, cores or own)
        try:
            daemon.start()
        finally:
            os.sched_setaffinity(0, own)
        yield daemon
    finally:
        if daemon.ended:
            print((daemon.log.read_text() if daemon.log.exists() else "")[-500:])
        daemon.kill()
        shutil.rmtree(folder / "inboxd", ignore_errors=True)
