"""What a run cost: seconds, CPU seconds of a side's processes, and the share of the machine that strangers took.

A side is one or more processes with all their children (inboxd; a peer, and its broker). The server that both sides
call is not counted. Figures come from /proc in ticks of 10 ms, so runs of less than a second say little.
"""

import contextlib
import os
import signal
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
CORES = len(os.sched_getaffinity(0))
# Whatever cores are ours: strangers run on all of them.
ALL_CORES = os.cpu_count() or CORES
KIB = 1024


class Sample(NamedTuple):
    """One run: how many calls, how long, at what cost; `foreign` is a share (0 to 1) of all cores."""

    calls: int
    seconds: float
    cpu: float
    foreign: float

    @property
    def rate(self) -> float:
        """Calls per second."""
        return self.calls / self.seconds

    @property
    def cost(self) -> float:
        """CPU seconds per 1,000 calls."""
        return self.cpu / self.calls * 1000


class Figures(NamedTuple):
    """The medians of some runs of one side, and the rates of each."""

    rate: float
    cost: float
    foreign: float
    rates: list[float]


def medians(samples: list[Sample]) -> Figures:
    """Return the median of each figure by itself."""
    return Figures(
        statistics.median(sample.rate for sample in samples),
        statistics.median(sample.cost for sample in samples),
        statistics.median(sample.foreign for sample in samples),
        [sample.rate for sample in samples],
    )


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that `share` of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


class Stopwatch:
    """Measures from its making to `stop`; `side` and `server` are the ids of their first processes."""

    def __init__(self, side: Iterable[int], server: Iterable[int]) -> None:
        self._side, self._server = list(side), list(server)
        self._cpu, self._served = cpu(self._side), cpu(self._server)
        self._own, self._busy = time.process_time(), busy()
        self._began = time.monotonic()

    def stop(self, calls: int) -> Sample:
        """Return what it was since the beginning."""
        seconds = time.monotonic() - self._began
        spent = cpu(self._side) - self._cpu
        known = spent + cpu(self._server) - self._served + time.process_time() - self._own
        foreign = max(0.0, busy() - self._busy - known) / (seconds * ALL_CORES)
        return Sample(calls, seconds, spent, foreign)


def busy() -> float:
    """Return the CPU seconds that the whole machine has spent on anything, or that its host took away."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / TICKS


def tree(roots: Iterable[int]) -> set[int]:
    """Return the ids of these processes and of all their descendants that live."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal() and (fields := _stat(int(name))):
            children.setdefault(int(fields[1]), []).append(int(name))
    found, waiting = set(), list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return found


def cpu(roots: Iterable[int]) -> float:
    """Return the CPU seconds of these processes and their descendants, and of those that ended and were waited for."""
    return sum(sum(map(int, fields[11:15])) for pid in tree(roots) if (fields := _stat(pid))) / TICKS


def memory(roots: Iterable[int]) -> float:
    """Return the most memory in MiB that these processes and their descendants have had, each by itself, in sum."""
    total = 0
    for pid in tree(roots):
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return total / KIB


def lifetimes(roots: Iterable[int]) -> dict[int, str]:
    """Return of these processes and their descendants when each was born: an id may be somebody else's later."""
    return {pid: fields[19] for pid in tree(roots) if (fields := _stat(pid))}


def end(born: dict[int, str]) -> None:
    """Kill of these processes those that still are."""
    for pid, birth in born.items():
        if _stat(pid)[19:20] == [birth]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat behind the name, the state first; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
