"""A server that takes 50 ms for each answer, with 256 calls in flight."""

from bench import sides
from bench.field import Field
from bench.kit import Missing
from bench.report import Bar, Page
from bench.side import WHOLE_MACHINE, Inboxd
from bench.work import gets

PLACE = 9
FLIGHT, DELAY = 256, 0.05
IDEAL = FLIGHT / DELAY


def measure(field: Field) -> Page:
    """Run a batch that would take five seconds at best."""
    if field.server.no_slow:
        raise Missing(f"nginx cannot be slow: {field.server.no_slow}")
    work = gets(field.server, field.size(int(IDEAL * 5)), "slow")
    ours = Inboxd("batch", {"threads": FLIGHT, **WHOLE_MACHINE})
    found = field.in_turn([ours], work)
    ratio = found[ours.name].rate / IDEAL if ours.name in found else 0.0
    return Page(
        "slow",
        f"A server that takes {DELAY * 1000:g} ms",
        f"A batch of {work.size:,} GETs with {FLIGHT} in flight; the ideal is {IDEAL:,.0f} a second.",
        [sides.table([ours], {work.title: found})],
        [Bar("jobs/s, times the ideal", ratio, 0.9)],
    )
