"""Tables, bars and plots of pages that compare sides by calls per second."""

from collections.abc import Sequence

from bench.field import Side
from bench.measure import Figures
from bench.plots import Plot, figure
from bench.report import Bar, Table


def table(sides: Sequence[Side], figures: dict[str, dict[str, Figures]]) -> Table:
    """Return a row for each side, and for each work its calls per second, CPU and foreign share."""
    head = ["side", "settings", "answers kept in"]
    for title in figures:
        head += [f"{title}, jobs/s", "CPU s per 1,000", "foreign"]
    rows = []
    for side in sides:
        row = [side.name, side.says, side.keeps]
        for found in figures.values():
            one = found.get(side.name)
            row += [figure(round(one.rate)), f"{one.cost:.3f}", f"{one.foreign:.0%}"] if one else ["-", "-", "-"]
        rows.append(row)
    return Table(head, rows)


def plot(name: str, title: str, found: dict[str, Figures]) -> Plot:
    """Return bars of calls per second, the fastest first."""
    fastest = sorted(found, key=lambda side: -found[side].rate)
    return Plot(
        name, title, "jobs/s", rows=[(side, [round(rate, 1) for rate in found[side].rates]) for side in fastest]
    )


def faster(found: dict[str, Figures], ours: str, theirs: str, bound: float, work: str) -> list[Bar]:
    """Return the bar `at least so many times as fast`; none when the peer is missing, unmet when we are."""
    if theirs not in found:
        return []
    ratio = found[ours].rate / found[theirs].rate if ours in found else 0.0
    return [Bar(f"{work}: jobs/s, times those of {theirs}", ratio, bound)]


def cheaper(found: dict[str, Figures], ours: str, theirs: str, work: str) -> list[Bar]:
    """Return the bar `costs at most as much CPU`."""
    if theirs not in found:
        return []
    ratio = found[ours].cost / found[theirs].cost if ours in found else float("inf")
    return [Bar(f"{work}: CPU per job, times that of {theirs}", ratio, 1.0, most=True)]
