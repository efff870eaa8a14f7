"""`inboxd drop FILE`, a cold process each time, against `python -c pass`."""

import os
import statistics
import sys
import time
from pathlib import Path

from bench.field import Field
from bench.report import Bar, Page, Table
from bench.rig import Late
from bench.side import prepared

PLACE = 7


def measure(field: Field) -> Page:
    """Run both in turn."""
    count, ours, bare = field.size(30, 10), [], []
    with field.scratch() as folder:
        daemon = prepared(folder, {})
        job = folder / "job.json"
        job.write_text(f'{{"url": "{field.server.url("/items/1")}"}}')
        for number in range(-2, count):
            pair = (
                run("-c", "pass"),
                run(command(), "drop", str(job), "--name", f"n{number}", "--spool", str(daemon.spool)),
            )
            if number >= 0:
                bare.append(pair[0])
                ours.append(pair[1])
    took, least = statistics.median(ours) * 1000, statistics.median(bare) * 1000
    return Page(
        "drop",
        "`inboxd drop`",
        f"{count} processes each, in turn.",
        [Table(["", "median, ms"], [["inboxd drop FILE", f"{took:.0f}"], ["python -c pass", f"{least:.0f}"]])],
        [Bar("inboxd drop, ms (1.5 times python -c pass, and 60 ms)", took, 1.5 * least + 60, most=True)],
    )


def command() -> str:
    """Return the installed command beside this Python."""
    script = Path(sys.executable).with_name("inboxd")
    if not script.exists():
        raise Late(f"no {script}: install inboxd into the environment of this Python")
    return str(script)


def run(*arguments: str) -> float:
    """Run Python with these arguments; returns how long it took, and raises Late if it failed."""
    quiet = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
    began = time.perf_counter()
    process = os.posix_spawn(sys.executable, [sys.executable, *arguments], os.environ, file_actions=quiet)
    _, status = os.waitpid(process, 0)
    took = time.perf_counter() - began
    if status:
        raise Late(f"{' '.join(arguments)} ended with status {os.waitstatus_to_exitcode(status)}")
    return took
