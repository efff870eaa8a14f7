"""What a page of the bench has found, and the same as Markdown.

Pages are kept in docs/benchmarks.json, so that one can be measured again without the others; docs/benchmarks.md and
the plots are made from that.
"""

import dataclasses
import datetime as dt
import json
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.measure import CORES
from bench.plots import Plot, figure, svg


@dataclass
class Table:
    """Rows under a head; cells are text already."""

    head: list[str]
    rows: list[list[str]]
    title: str = ""


@dataclass
class Bar:
    """What was wanted, and what there is: met when `value` is at least (or, `most`, at most) `bound`."""

    text: str
    value: float
    bound: float
    most: bool = False

    @property
    def met(self) -> bool:
        """Whether it is as high, or as low, as it has to be."""
        return self.value <= self.bound if self.most else self.value >= self.bound

    @property
    def cells(self) -> list[str]:
        """Its cells of the table of bars."""
        sign = "≤" if self.most else "≥"
        return [
            self.text,
            figure(round(self.value, 3)),
            f"{sign} {figure(self.bound)}",
            "met" if self.met else "**not met**",
        ]


@dataclass
class Page:
    """One page: its figures, its bars, and what was missing, each with the reason."""

    name: str
    title: str
    text: str
    tables: list[Table] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)


def machine(folder: Path) -> str:
    """Return on what it was measured, in one line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return (
        f"{CORES} cores of {model}, {memory:.0f} GiB, {system}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, spool on {_filesystem(folder)}"
    )


def _filesystem(folder: Path) -> str:
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    inside = [(place, kind) for place, kind in mounts if folder.resolve().is_relative_to(place)]
    return max(inside, key=lambda mount: len(mount[0]), default=("", "an unknown filesystem"))[1]


def today() -> str:
    """Return the date, in UTC."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%d")


def bars_table(bars: list[Bar]) -> Table:
    """Return all bars as a table."""
    return Table(["bar", "measured", "wanted", ""], [bar.cells for bar in bars])


def table_text(table: Table) -> str:
    """Return a table of Markdown, its columns aligned so that it can be read as it is."""
    rows = [table.head, *table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    title = [f"**{table.title}**", ""] if table.title else []
    return "\n".join([*title, *lines])


def page_text(page: Page) -> str:
    """Return a page as Markdown."""
    measured = page.measured
    versions = ", ".join(f"{name} {version}" for name, version in sorted(measured.get("versions", {}).items()))
    parts = [f"## {page.title}", page.text, *map(table_text, page.tables)]
    if page.bars:
        parts.append(table_text(bars_table(page.bars)))
    parts += [f"![{plot.title}](benchmarks-{plot.name}.svg)" for plot in page.plots]
    if page.missing:
        parts.append("Not measured:\n\n" + "\n".join(f"* {name}: {why}" for name, why in page.missing.items()))
    if measured:
        rounds = "one round" if measured["rounds"] == 1 else f"medians of {measured['rounds']} rounds"
        scale = "" if measured["scale"] == 1 else f", at {measured['scale']:g} of the full size"
        parts.append(
            f"*{measured['date']}, inboxd {measured['inboxd']}, {rounds}{scale}; "
            f"{measured['machine']}.{' Versions: ' + versions + '.' if versions else ''}*"
        )
    return "\n\n".join(parts)


def document(pages: list[Page]) -> str:
    """Return docs/benchmarks.md."""
    bars = [bar for page in pages for bar in page.bars]
    met = sum(bar.met for bar in bars)
    parts = ["# Benchmarks", INTRODUCTION, f"Of {len(bars)} bars {met} are met.", *map(page_text, pages)]
    return "\n\n".join(parts) + "\n"


INTRODUCTION = """\
Made by `make bench` ([bench/](../bench)), which sets up the peers, starts the servers and runs all sides in turn on the
same work (A B A B). Figures are medians; dots in the plots are single rounds. *CPU* counts all processes of a side, its
broker too, but not the nginx that everybody calls. *Foreign* is the share of the machine that other processes and the
kernel's own threads took meanwhile: figures with much of it say little. Starting up is not counted: every side says
when it is ready. inboxd runs as its real command with a durable spool, as shipped except for what a table says. Peers
keep connections alive, have 32 calls in flight, use their fastest documented settings and keep every answer; how they
are set is in [bench/peers](../bench/peers)."""


def load(folder: Path) -> dict[str, Page]:
    """Return the pages that were measured before."""
    path = folder / "benchmarks.json"
    return {name: _page(found) for name, found in json.loads(path.read_bytes()).items()} if path.exists() else {}


def _page(found: dict[str, Any]) -> Page:
    kinds: dict[str, Any] = {"tables": Table, "bars": Bar, "plots": Plot}
    made: dict[str, Any] = {key: [kind(**one) for one in found[key]] for key, kind in kinds.items()}
    return Page(**{**found, **made})


def save(folder: Path, measured: list[Page], order: list[str]) -> None:
    """Write pages into folder/benchmarks.json, and from all that is there benchmarks.md and the plots."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {**load(folder), **{page.name: page for page in measured}}
    pages = [known[name] for name in order if name in known]
    kept = {page.name: dataclasses.asdict(page) for page in pages}
    (folder / "benchmarks.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    (folder / "benchmarks.md").write_text(document(pages))
    for old in folder.glob("benchmarks-*.svg"):
        old.unlink()
    for plot in (plot for page in pages for plot in page.plots):
        (folder / f"benchmarks-{plot.name}.svg").write_text(svg(plot))
