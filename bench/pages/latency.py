"""From a drop to its answer with an idle daemon, against running one curl process for the same URL."""

import os
import shutil
import time
from pathlib import Path

from bench.field import Field
from bench.kit import PATH, Missing
from bench.measure import percentile
from bench.plots import Plot
from bench.report import Bar, Page, Table
from bench.rig import Daemon
from bench.side import started, wait_for

PLACE = 4
# Seconds between drops, so that the daemon is idle again.
PAUSE = 0.01
LOOK = 0.0001


def measure(field: Field) -> Page:
    """Drop and run curl in turn."""
    curl = shutil.which("curl", path=PATH)
    if curl is None:
        raise Missing("no curl on this machine")
    count = field.size(300)
    ours, theirs = times(field, curl, count)
    sides = {"inboxd, drop to answer": ours, "one curl process": theirs}
    shares = {side: [percentile(took, share) * 1000 for share in (0.1, 0.5, 0.9, 0.99)] for side, took in sides.items()}
    return Page(
        "latency",
        "From drop to answer",
        f"{count} drops into the inbox of an idle daemon, one at a time, from the writing of the file until its answer "
        f"is seen in the outbox (looked for each {LOOK * 1000:g} ms), and as many runs of "
        "`curl --silent --output FILE URL`.",
        [
            Table(
                ["", "10 %, ms", "median", "90 %", "99 %"],
                [[side, *map("{:.2f}".format, ms)] for side, ms in shares.items()],
            )
        ],
        [
            Bar(
                "median, times that of one curl process",
                percentile(ours, 0.5) / percentile(theirs, 0.5),
                0.5,
                most=True,
            )
        ],
        [
            Plot(
                "latency",
                "From drop to answer: median (dots: 10 and 90 %)",
                "ms",
                [(s, ms[:3]) for s, ms in shares.items()],
            )
        ],
    )


def times(field: Field, curl: str, count: int) -> tuple[list[float], list[float]]:
    """Return how long each drop and each curl took; the first few are for warming up."""
    ours, theirs = [], []
    with field.scratch() as folder, started(folder, {}) as daemon:
        for number in range(-5, count):
            url = field.server.url(f"/items/{number}")
            one, other = drop(daemon, f"job-{number}", url), run(curl, url, folder / f"{number}.json")
            if number >= 0:
                ours.append(one)
                theirs.append(other)
    return ours, theirs


def drop(daemon: Daemon, name: str, url: str) -> float:
    """Drop one job; returns how long its answer took."""
    time.sleep(PAUSE)
    unfinished, answer = f"{daemon.spool}/inbox/.{name}.tmp", f"{daemon.spool}/outbox/{name}.json"
    began = time.perf_counter()
    with open(unfinished, "w") as file:
        file.write(f'{{"url": "{url}"}}')
    os.rename(unfinished, f"{daemon.spool}/inbox/{name}.json")
    wait_for(lambda: os.path.exists(answer), 1, 30, LOOK)
    return time.perf_counter() - began


def run(curl: str, url: str, output: Path) -> float:
    """Run one curl; returns how long it took."""
    time.sleep(PAUSE)
    began = time.perf_counter()
    process = os.posix_spawn(curl, ["curl", "--silent", "--output", str(output), url], os.environ)
    os.waitpid(process, 0)
    return time.perf_counter() - began
