"""inboxd as a side: the real command on a spool of its own, its shipped config but for what the page says.

The spool is durable (`fsync = "group"` is what ships) and lies on the disk on which the bench runs.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.measure import CORES, Sample, Stopwatch
from bench.rig import Daemon, Late, wait_until
from bench.work import Work
from inboxd.daemon.config import Config

Settings = dict[str, Any]
# One process for each core, where the config knows that.
WHOLE_MACHINE: Settings = {"processes": CORES} if "processes" in Config.model_fields else {}
# Seconds. Long enough for a million calls on a slow machine.
SLOW = 1800
# A look at a folder costs time in proportion to what lies there; this share of the time is spent on looking.
SHARE = 0.03


def told(settings: Settings) -> str:
    """Return what is set otherwise than shipped."""
    return ", ".join(f"{key} = {json.dumps(value)}" for key, value in settings.items()) or "as shipped"


class Batch:
    """A work as one .jsonl, written beside the inbox."""

    def __init__(self, daemon: Daemon, work: Work) -> None:
        self._made = work.write(daemon.folder)
        self._daemon, self._size = daemon, work.size

    def go(self) -> None:
        """Drop it and wait for the answers."""
        outbox = self._daemon.spool / "outbox"
        self._made.rename(self._daemon.spool / "inbox" / "work.jsonl")
        wait_for(lambda: self._size * (outbox / "work.jsonl").exists(), self._size)

    def check(self) -> None:
        """Raise Late if a line is not done."""
        summary = json.loads((self._daemon.spool / "outbox" / "work.summary.json").read_bytes())
        if summary["statuses"] != {"done": self._size}:
            raise Late(f"the batch ended as {summary['statuses']}")


class Files:
    """A work as a file for each call, written beside the inbox."""

    def __init__(self, daemon: Daemon, work: Work) -> None:
        self._made = daemon.make((f"job-{number}", job) for number, job in enumerate(work.jobs()))
        self._daemon, self._size = daemon, work.size

    def go(self) -> None:
        """Move one after the other into the inbox, and wait for the last answer."""
        self._daemon.move_in(self._made)
        wait_for(lambda: answers(self._daemon), self._size)

    def check(self) -> None:
        """Raise Late if a job is not done."""
        done = sum(answer["status"] == "done" for answer in self._daemon.answers())
        if done != self._size:
            raise Late(f"only {done} of {self._size} files are done")


WAYS: dict[str, type[Batch] | type[Files]] = {"batch": Batch, "files": Files}


class Inboxd:
    """A side that drops the calls of a work as one batch, or as a file each, and waits for the last answer."""

    def __init__(self, way: str, settings: Settings, name: str = "inboxd", cores: set[int] | None = None) -> None:
        self._way, self._settings, self._cores = WAYS[way], settings, cores
        self.name, self.says = name, told(settings)
        self.keeps = "one file, durable" if way == "batch" else "a file each, durable"

    def __call__(self, work: Work, folder: Path, server: list[int]) -> Sample:
        """Make all calls with a daemon of its own; raises Late when some do not end, or end badly."""
        with started(folder, self._settings, self._cores) as daemon:
            warmed_up(daemon, self._settings)
            dropped = self._way(daemon, work)
            watch = Stopwatch([daemon.pid], server)
            dropped.go()
            sample = watch.stop(work.size)
            dropped.check()
        return sample


def answers(daemon: Daemon) -> int:
    """Return how many files lie in the outbox."""
    with suppress(FileNotFoundError), os.scandir(daemon.spool / "outbox") as entries:
        return sum(1 for _ in entries)
    return 0


def wait_for(count: Callable[[], int], wanted: int, timeout: float = SLOW, look: float = 0.002) -> None:
    """Wait until `count` says what is wanted, and look seldom enough not to be in the way."""
    deadline = time.monotonic() + timeout
    while True:
        began = time.perf_counter()
        found = count()
        if found >= wanted:
            return
        if time.monotonic() > deadline:
            raise Late(f"{found} of {wanted} answers within {timeout:g} s")
        time.sleep(max(look, (time.perf_counter() - began) / SHARE))


@contextmanager
def started(folder: Path, settings: Settings, cores: set[int] | None = None) -> Iterator[Daemon]:
    """Run a daemon on folder/inboxd, on these cores only if any are named; its spool is gone afterwards."""
    own = os.sched_getaffinity(0)
    daemon = prepared(folder, settings)
    try:
        # Children stay on the cores on which they are born, as `taskset` has it.
        os.sched_setaffinity(0, cores or own)
        try:
            daemon.start()
        finally:
            os.sched_setaffinity(0, own)
        yield daemon
        if daemon.ended:
            raise Late(f"the daemon ended: {daemon.log.read_text()[-500:]}")
    finally:
        daemon.kill()
        shutil.rmtree(daemon.folder, ignore_errors=True)


def warmed_up(daemon: Daemon, settings: Settings) -> None:
    """Wait until all processes have loaded what they need, as peers have when they say that they are ready."""
    others = Config.model_validate(settings).mates
    if others:
        helps = 'event="a process helps"'
        wait_until(lambda: daemon.log.read_text().count(helps) >= others, "the other processes", SLOW)


def prepared(folder: Path, settings: Settings) -> Daemon:
    """Return a daemon on folder/inboxd that is not started, with an inbox to drop into."""
    daemon = Daemon(folder / "inboxd")
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in settings.items()]
    (daemon.folder / "inboxd.toml").write_text("".join(['spool = "spool"\n', *lines]))
    (daemon.spool / "inbox").mkdir(parents=True, exist_ok=True)
    return daemon
