"""Longer and longer backlogs, as files that wait at the start and as lines of one batch: jobs/s, and memory."""

from pathlib import Path

from bench.field import Field, tell
from bench.measure import Sample, Stopwatch, memory
from bench.plots import Plot, figure
from bench.report import Bar, Page, Table
from bench.side import WHOLE_MACHINE, Batch, answers, prepared, started, told, wait_for, warmed_up
from bench.work import Work, gets

PLACE = 5
SIZES = (1_000, 10_000, 100_000, 1_000_000)
REFERENCE = 10_000
Run = tuple[Sample, float]


def measure(field: Field) -> Page:
    """Run each size once as lines and once as files."""
    sizes = [size for size in SIZES if size <= field.options.most]
    runs: dict[str, list[Run]] = {"lines": [], "files": []}
    for size in sizes:
        for way, done in runs.items():
            with field.scratch() as folder:
                sample, most = {"lines": lines, "files": files}[way](
                    folder, gets(field.server, size), field.server.pids
                )
            done.append((sample, most))
            tell(f"{size:>9,} {way}  {sample.rate:8,.0f}/s  {most:4.0f} MiB  foreign {sample.foreign:.0%}")
    rows = [
        [f"{size:,}", *(cell for done in runs.values() for cell in cells(done[number]))]
        for number, size in enumerate(sizes)
    ]
    head = ["jobs", *(f"{way}: {what}" for way in runs for what in ("jobs/s", "memory, MiB", "foreign"))]
    return Page(
        "backlog",
        "Backlogs",
        f"*Lines* are one batch; *files* lie in the inbox when the daemon starts, and count from when it is ready. "
        f"Memory is the most that it had. inboxd: {told(WHOLE_MACHINE)}.",
        [Table(head, rows)],
        [bar for way, done in runs.items() for bar in bars(way, sizes, done)],
        [
            Plot(
                "backlog",
                "Jobs per second over the length of the backlog",
                "jobs/s, over jobs",
                lines=[(way, [(run[0].calls, run[0].rate) for run in done]) for way, done in runs.items()],
            )
        ],
    )


def cells(run: Run) -> list[str]:
    """Return a run's cells of the table."""
    sample, most = run
    return [figure(round(sample.rate)), f"{most:.0f}", f"{sample.foreign:.0%}"]


def bars(way: str, sizes: list[int], done: list[Run]) -> list[Bar]:
    """Return the bars between the longest backlog and the one of 10,000; none when it is not longer."""
    if sizes[-1] <= REFERENCE:
        return []
    (shorter, less), (longer, more) = done[sizes.index(REFERENCE)], done[-1]
    title = f"{way}: {sizes[-1]:,} against {REFERENCE:,}"
    return [
        Bar(f"{title}, jobs/s", longer.rate / shorter.rate, 0.9),
        Bar(f"{title}, more memory in MiB", more - less, 50, most=True),
    ]


def lines(folder: Path, work: Work, server: list[int]) -> Run:
    """Run a batch."""
    with started(folder, WHOLE_MACHINE) as daemon:
        warmed_up(daemon, WHOLE_MACHINE)
        batch = Batch(daemon, work)
        watch = Stopwatch([daemon.pid], server)
        batch.go()
        run = watch.stop(work.size), memory([daemon.pid])
        batch.check()
    return run


def files(folder: Path, work: Work, server: list[int]) -> Run:
    """Run files that wait at the start."""
    waiting = prepared(folder, WHOLE_MACHINE)
    waiting.drop((f"job-{number}", job) for number, job in enumerate(work.jobs()))
    with started(folder, WHOLE_MACHINE) as daemon:
        before, watch = answers(daemon), Stopwatch([daemon.pid], server)
        wait_for(lambda: answers(daemon), work.size)
        return watch.stop(work.size - before), memory([daemon.pid])
