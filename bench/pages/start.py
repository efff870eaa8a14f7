"""A start with 100,000 files waiting: until it is ready, and from then until the first answer."""

import functools
import statistics
import time

from bench.field import Field, tell
from bench.report import Bar, Page, Table
from bench.side import WHOLE_MACHINE, answers, prepared, started, told, wait_for
from bench.work import gets

PLACE = 6


def measure(field: Field) -> Page:
    """Start with the same backlog in each round."""
    size, starts, firsts = field.size(100_000), [], []
    for _ in range(field.options.rounds):
        with field.scratch() as folder:
            work = gets(field.server, size)
            prepared(folder, WHOLE_MACHINE).drop((f"job-{number}", job) for number, job in enumerate(work.jobs()))
            began = time.monotonic()
            with started(folder, WHOLE_MACHINE) as daemon:
                ready = time.monotonic()
                wait_for(functools.partial(answers, daemon), 1)
                starts.append(ready - began)
                firsts.append(time.monotonic() - ready)
                tell(f"ready after {starts[-1]:.2f} s, first answer {firsts[-1]:.2f} s later")
    ready_after, first_after = statistics.median(starts), statistics.median(firsts)
    rows = [["ready", f"{ready_after:.2f}"], ["first answer, later", f"{first_after:.2f}"]]
    return Page(
        "start",
        f"A start with {size:,} files waiting",
        f"From starting the process. inboxd: {told(WHOLE_MACHINE)}.",
        [Table(["", "median, s"], rows)],
        [
            Bar("start to ready, s", ready_after, 3, most=True),
            Bar("ready to the first answer, s", first_after, 1, most=True),
        ],
    )
