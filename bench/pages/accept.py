"""Jobs over HTTP: an Express accept loop, which keeps them in memory, against durable `POST /jobs`."""

import json

from bench import load, sides
from bench.field import Field
from bench.pages.queue import flushes_of
from bench.plots import figure
from bench.report import Bar, Page, Table
from bench.side import WHOLE_MACHINE, told

PLACE = 10
EVERYTHING, ACCEPTING = "inboxd, calls made too", "inboxd"
# Accepted in a second: 15 million in an hour.
WANTED = 4167


def measure(field: Field) -> Page:
    """Run all in turn: Express, ours while nothing is called, and ours while the calls are made."""
    url = field.server.url("/items/1")
    body = json.dumps({"url": url, "json": {"number": 17}})
    origin = url.removesuffix("/items/1")
    everybody = [
        load.express(field.kit, "express_accept.mjs"),
        load.inboxd(ACCEPTING, paused=origin),
        load.inboxd(EVERYTHING, settings=WHOLE_MACHINE),
    ]
    found = load.in_turn(field, everybody, "accept.lua", body)
    with field.scratch() as folder:
        flushes = flushes_of(folder)
    ours = found[ACCEPTING].rate if ACCEPTING in found else 0.0
    return Page(
        "accept",
        "Jobs over HTTP",
        f"{load.CONNECTIONS} clients that keep their connections post the same job as fast as they get answers. "
        "Express keeps them in memory and does nothing else; ours are on the disk before they are accepted, first with "
        "their API paused, then with every call made meanwhile. "
        f"The last is run with {told(WHOLE_MACHINE)}. "
        f"The disk flushed {flushes:,.0f} small appends a second beside it.",
        [table(everybody, found, "accepted/s")],
        [
            *sides.faster(found, ACCEPTING, "Express", 1.0, "POST /jobs"),
            Bar("POST /jobs: accepted in a second", ours, WANTED),
        ],
        [sides.plot("accept", "Accepted jobs per second", found)],
    )


def table(everybody: list[load.ServerSide], found: dict[str, sides.Figures], what: str) -> Table:
    """Return a row for each side."""
    rows = []
    for side in everybody:
        one = found.get(side.name)
        cells = [figure(round(one.rate)), f"{one.cost:.3f}", f"{one.foreign:.0%}"] if one else ["-", "-", "-"]
        rows.append([side.name, side.keeps, *cells])
    return Table(["side", "kept in", what, "CPU s per 1,000", "foreign"], rows)
