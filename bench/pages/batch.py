"""One batch of 10,000 calls against every peer: GETs, and POSTs of about 300 bytes."""

from bench import sides
from bench.field import Field
from bench.peers import PEERS
from bench.report import Page
from bench.side import WHOLE_MACHINE, Inboxd
from bench.work import gets, posts

PLACE = 1
FASTER = {"script": 4, "fastq + axios": 2, "Huey": 6, "curl --parallel": 1}
CHEAPER = ("script", "Huey", "Dramatiq", "Celery", "fastq + axios")


def measure(field: Field) -> Page:
    """Run inboxd and all peers in turn, first on GETs, then on POSTs."""
    count = field.size(10_000)
    ours = Inboxd("batch", WHOLE_MACHINE)
    everybody = [*field.peers(*PEERS), ours]
    figures = {
        work.title: field.in_turn(everybody, work) for work in (gets(field.server, count), posts(field.server, count))
    }
    bars = []
    for title, found in figures.items():
        for theirs, bound in FASTER.items():
            bars += sides.faster(found, ours.name, theirs, bound, title)
        for theirs in CHEAPER:
            bars += sides.cheaper(found, ours.name, theirs, title)
    return Page(
        "batch",
        f"A batch of {count:,} calls",
        "inboxd is dropped one `.jsonl`. curl keeps no record of what it did and tries nothing again.",
        [sides.table(everybody, figures)],
        bars,
        [
            sides.plot(f"batch-{title.lower()}", f"{count:,} {title}s in one batch", found)
            for title, found in figures.items()
        ],
    )
