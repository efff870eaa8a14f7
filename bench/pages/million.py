"""One million calls from one batch: the headline. It takes minutes, so it is run by name."""

from bench.field import Field, tell
from bench.measure import Stopwatch, memory
from bench.plots import figure
from bench.report import Bar, Page, Table
from bench.side import WHOLE_MACHINE, Batch, started, told, warmed_up
from bench.work import gets

PLACE = 3
ALONE = True
BAR = 60


def measure(field: Field) -> Page:
    """Run one batch, once."""
    size = field.size(1_000_000)
    with field.scratch() as folder, started(folder, WHOLE_MACHINE) as daemon:
        warmed_up(daemon, WHOLE_MACHINE)
        batch = Batch(daemon, gets(field.server, size))
        tell(f"{size:,} calls")
        watch = Stopwatch([daemon.pid], field.server.pids)
        batch.go()
        sample = watch.stop(size)
        most = memory([daemon.pid])
        batch.check()
    cells = [
        told(WHOLE_MACHINE),
        f"{sample.seconds:.1f}",
        figure(round(sample.rate)),
        f"{sample.cost * 1000:.0f}",
        f"{most:.0f}",
        f"{sample.foreign:.0%}",
    ]
    return Page(
        "million",
        f"{size:,} calls from one batch",
        "One durable batch of GETs, run once.",
        [Table(["settings", "seconds", "jobs/s", "CPU µs per call", "most memory, MiB", "foreign"], [cells])],
        [Bar(f"seconds for {size:,} calls", sample.seconds, BAR * size / 1_000_000, most=True)],
    )
