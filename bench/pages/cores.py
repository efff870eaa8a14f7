"""What more cores bring to a batch: one core against the whole machine."""

import os

from bench import sides
from bench.field import Field
from bench.measure import CORES
from bench.report import Bar, Page
from bench.side import WHOLE_MACHINE, Inboxd
from bench.work import gets

PLACE = 8
BAR = 1.6


def measure(field: Field) -> Page:
    """Run a batch as shipped on one core and on all, and with a process for each core if the config knows that."""
    work = gets(field.server, field.size(20_000))
    one = {min(os.sched_getaffinity(0))}
    single = {"processes": 1} if WHOLE_MACHINE else {}
    everybody = [Inboxd("batch", single, "inboxd, one core", one), Inboxd("batch", single, f"inboxd, {CORES} cores")]
    if WHOLE_MACHINE:
        everybody.append(Inboxd("batch", WHOLE_MACHINE, f"inboxd, {CORES} cores, {CORES} processes"))
    found = field.in_turn(everybody, work)
    alone, whole = everybody[0].name, everybody[-1].name
    return Page(
        "cores",
        "One core and more",
        f"A batch of {work.size:,} GETs. *One core* is what `taskset` gives; nginx may run on any, and takes "
        "its share of the machine in each row.",
        [sides.table(everybody, {work.title: found})],
        [Bar(f"jobs/s of {whole}, times those of {alone}", found[whole].rate / found[alone].rate, BAR)]
        if alone in found and whole in found
        else [],
        [sides.plot("cores", "A batch on one core and on more", found)],
    )
