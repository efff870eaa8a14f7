"""The cache by itself against requests-cache with files of JSON, and the daemon's hit path against its miss path."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from statistics import median
from typing import Any

from bench.field import Field, tell
from bench.report import Bar, Page, Table
from bench.rig import ROOT, Late
from bench.side import Batch, started
from bench.work import Work

PLACE = 9
SCRIPT = ROOT / "bench" / "cacheside.py"
THREADS, PROCESSES = 16, 10
# Seconds that an answer is good for in the mode `calls`.
EXPIRY = 1.0
SIDES = ("inboxd", "requests-cache")


def measure(field: Field) -> Page:
    """Run both caches in turn, then many processes on each, then one batch twice."""
    pythons = {"inboxd": sys.executable, "requests-cache": field.kit.python("requests-cache")}
    seconds = max(1.0, 5 * field.options.scale)
    rates: dict[str, dict[str, list[float]]] = {side: {"put": [], "get": []} for side in SIDES}
    for _ in range(field.options.rounds):
        for side in SIDES:
            (found,) = run(field, pythons[side], side, "rates", 1, seconds)
            for what, rate in found.items():
                rates[side][what].append(rate)
            tell(f"{side:<16} put {found['put']:8,.0f}/s  get {found['get']:8,.0f}/s")
    medians = {side: {what: median(some) for what, some in found.items()} for side, found in rates.items()}
    together = {side: agreement(field, pythons[side], side, seconds) for side in SIDES}
    misses, hits = paths(field)
    return Page(
        "cache",
        "The cache",
        f"{THREADS} threads put and get entries of about 1 KB, each with a key of its own. Then {PROCESSES} processes "
        "of as many threads put and get the same few keys, and what is got must have been put under that key; and "
        f"they ask for one URL whose answer is good for {EXPIRY:g} s. Last, one batch is dropped twice into a "
        'daemon of one process, each line with `"cache": "1h"` and a URL of its own: first all are called, then none.',
        [side_by_side(medians, together), daemon_table(misses, hits)],
        bars(medians, together, misses, hits),
    )


def run(field: Field, python: str, side: str, mode: str, count: int, seconds: float) -> list[dict[str, Any]]:
    """Run the script as `count` processes on one empty folder; returns what each has found."""
    url = field.server.url("/items/cache")
    with field.scratch() as folder:
        command = [python, str(SCRIPT), side, mode, str(folder / "cache"), str(THREADS), f"{seconds:g}", url]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        processes = [
            subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(count)
        ]
        try:
            for process in processes:
                assert process.stdout is not None
                if process.stdout.readline() != "ready\n":
                    raise Late(f"{side} did not start")
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("\n")
                process.stdin.flush()
            return [json.loads(process.communicate(timeout=600)[0]) for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()


def agreement(field: Field, python: str, side: str, seconds: float) -> Counter[str]:
    """Let many processes use one folder; returns what they met, and how often the server was called."""
    seen: Counter[str] = Counter()
    for found in run(field, python, side, "agree", PROCESSES, seconds):
        seen.update(found)
    before = field.server.requests()
    asked = run(field, python, side, "calls", PROCESSES, seconds)
    seen["calls"] = field.server.requests() - before
    seen["asked"] = sum(found.get("asked", 0) for found in asked)
    # Each process asks for so many seconds, and all of them began within one more.
    seen["expiries"] = round(seconds / EXPIRY + 1)
    tell(f"{side:<16} {dict(seen)}")
    return seen


def paths(field: Field) -> tuple[float, float]:
    """Return the jobs/s of a batch whose lines are not known, and of the same again."""
    work = Work("cached", field.size(50_000), lambda n: {"url": field.server.url(f"/items/{n}"), "cache": "1h"})
    found = []
    with field.scratch() as folder, started(folder, {"processes": 1}) as daemon:
        for way in ("miss", "hit"):
            before, batch = field.server.requests(), Batch(daemon, work)
            began = time.monotonic()
            batch.go()
            found.append(work.size / (time.monotonic() - began))
            batch.check()
            called = field.server.requests() - before
            if called != (work.size if way == "miss" else 0):
                raise Late(f"the server saw {called} calls on the {way} path")
            for file in (daemon.spool / "outbox").iterdir():
                file.unlink()
            tell(f"batch, all {way}: {found[-1]:8,.0f}/s")
    return found[0], found[1]


def side_by_side(medians: dict[str, dict[str, float]], together: dict[str, Counter[str]]) -> Table:
    head = ["", "put/s", "get/s", "wrong", "exceptions", "not there", "right", "asked", "calls", "expiries"]
    rows = []
    for side in SIDES:
        seen, rate = together[side], medians[side]
        rows.append([side, f"{rate['put']:,.0f}", f"{rate['get']:,.0f}", *map(str, _counts(seen))])
    return Table(head, rows, f"{THREADS} threads, then {PROCESSES} processes of {THREADS} threads")


def _counts(seen: Counter[str]) -> list[int]:
    others = ("not there", "right", "asked", "calls", "expiries")
    return [seen["wrong"], _exceptions(seen), *(seen[what] for what in others)]


def _exceptions(seen: Counter[str]) -> int:
    return sum(count for what, count in seen.items() if what.startswith("exception"))


def daemon_table(misses: float, hits: float) -> Table:
    rows = [["all miss", f"{misses:,.0f}"], ["all hit", f"{hits:,.0f}"]]
    return Table(["a batch of lines with `cache`", "jobs/s"], rows)


def bars(
    medians: dict[str, dict[str, float]], together: dict[str, Counter[str]], misses: float, hits: float
) -> list[Bar]:
    ours, theirs = medians["inboxd"], medians["requests-cache"]
    seen = together["inboxd"]
    return [
        Bar("cache: puts/s, times those of requests-cache", ours["put"] / theirs["put"], 1.0),
        Bar("cache: gets/s, times those of requests-cache", ours["get"] / theirs["get"], 1.0),
        Bar("cache: wrong answers and exceptions under 10 processes", seen["wrong"] + _exceptions(seen), 0, most=True),
        Bar("cache: calls for each expiry under 10 processes", seen["calls"] / seen["expiries"], 1.0, most=True),
        Bar("cache: hit path, times the jobs/s of the miss path", hits / misses, 5.0),
    ]
