"""10,000 single files, from the first that is dropped to the last answer."""

from bench import sides
from bench.field import Field
from bench.report import Page
from bench.side import WHOLE_MACHINE, Inboxd
from bench.work import gets

PLACE = 2
FASTER = {"script": 2, "Huey fsync": 5, "fastq + axios": 1}


def measure(field: Field) -> Page:
    """Run inboxd on files and the peers of the bars in turn."""
    count = field.size(10_000)
    ours = Inboxd("files", WHOLE_MACHINE)
    everybody = [*field.peers(*FASTER), ours]
    work = gets(field.server, count)
    found = field.in_turn(everybody, work)
    return Page(
        "files",
        f"{count:,} single files",
        "inboxd's jobs are files that one program moves into the inbox one by one (`mv`); each is answered by a file. "
        "The peers do what they did in the batch.",
        [sides.table(everybody, {work.title: found})],
        [bar for theirs, bound in FASTER.items() for bar in sides.faster(found, ours.name, theirs, bound, "files")],
        [sides.plot("files", f"{count:,} single files, from first drop to last answer", found)],
    )
