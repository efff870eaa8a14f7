"""What `inboxd status` says: how many files lie in each folder, and what the daemon wrote about itself.

The folders are the truth; a daemon that is not running is said to be so, whatever it wrote last.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from inboxd.daemon.spool import SHOWN, Spool

# Seconds after which a daemon, which says every second how it goes, seems to stand still; and what to do then.
SILENT = 10.0
STANDS = "it may stand still: look at its log, and start it again"
# What is said of a batch beside the number of answers of each status.
OF_BATCH = {"name", "answered", "put_aside"}


def gather(folder: str) -> dict[str, Any] | None:
    """Look into the spool; None when there is none. Raises OSError."""
    spool = Spool(folder)
    if not os.path.isdir(spool.inbox):
        return None
    try:
        with open(spool.state("status.json"), "rb") as file:
            daemon = json.load(file)
    except (OSError, ValueError):
        daemon = None
    return {
        "spool": spool.root,
        "running": spool.is_served(),
        "free_bytes": spool.free_bytes(),
        "folders": {name: _count(spool.folder(name)) for name in SHOWN},
        "daemon": daemon,
        "silent": round(silence(daemon or {}, time.time()), 1),
    }


def silence(daemon: Mapping[str, Any], now: float) -> float:
    """Say for how many seconds a daemon has said nothing at `now` (wall time), by its last word."""
    with suppress(KeyError, ValueError, TypeError):
        return max(now - datetime.fromisoformat(daemon["at"]).timestamp(), 0.0)
    return 0.0


def _count(folder: str) -> int:
    try:
        with os.scandir(folder) as entries:
            return sum(not entry.name.startswith(".") for entry in entries)
    except FileNotFoundError:
        # The next start of the daemon makes it again.
        return 0


def in_words(found: dict[str, Any]) -> str:
    """Say it to a person."""
    daemon = found["daemon"] or {}
    if found["running"]:
        head = f"{found['spool']}: process {daemon.get('pid', '?')} serves it since {daemon.get('since', '?')}"
    else:
        head = f"{found['spool']}: no daemon is running"
    lines = [head, *(f"  {name:<9} {count:>9}" for name, count in found["folders"].items())]
    lines.append(f"  {found['free_bytes'] / 2**20:.0f} MiB free on the disk")
    if found["running"]:
        if found["silent"] > SILENT:
            lines.append(f"  trouble: the daemon has said nothing for {found['silent']:.0f} s; {STANDS}")
        lines += [f"  trouble: {trouble}" for trouble in daemon.get("trouble", ())]
        lines += [cache_in_words(daemon["cache"])] if daemon.get("cache", {}).get("uses") else []
        lines += [_process(process) for process in daemon.get("processes", ())]
        lines += [_batch(batch) for batch in daemon.get("batches", ())]
        lines += [_lane(name, lane) for name, lane in sorted(daemon.get("lanes", {}).items())]
        lines += [f"  {api}: paused" for api in daemon.get("paused", ()) if api not in daemon.get("lanes", {})]
        lines += [f"  {one['at']} {one['name']}: {one['kind']}: {one['message']}" for one in daemon.get("errors", ())]
    return "\n".join(lines)


def cache_in_words(cache: dict[str, Any]) -> str:
    """Say what the cache did since the daemon's start: of all answers that asked for it, those that needed no call."""
    uses = {use: count for use, count in cache["uses"].items() if use != "off"}
    asked = sum(uses.values())
    spared = sum(uses.get(use, 0) for use in ("hit", "shared", "stale"))
    counts = ", ".join(f"{count} {use}" for use, count in sorted(uses.items()))
    return f"  cache: {spared / asked if asked else 0:.0%} of {asked} answers without a call ({counts})"


def _process(process: dict[str, int]) -> str:
    return f"  process {process['number']} (pid {process['pid']}) helps with {process['jobs']} jobs"


def _batch(batch: dict[str, Any]) -> str:
    counts = ", ".join(f"{count} {status}" for status, count in batch.items() if status not in OF_BATCH)
    aside = ", being put aside" if batch.get("put_aside") else ""
    return f"  batch {batch['name']}: {batch['answered']} lines answered{f' ({counts})' if counts else ''}{aside}"


def of_limit(made: float, limit: float, what: str = "") -> str:
    """Say how many calls are made of those that a limit (a second) allows; of a low one, in its own measure."""
    if limit >= 1:
        return f"{made:g} of {limit:g}{what}{' a second' if what else ''}"
    each, seconds = ("a minute", 60) if limit * 60 >= 1 else ("an hour", 3600)
    return f"at most {limit * seconds:g}{what} {each}"


def _lane(name: str, lane: dict[str, Any]) -> str:
    line = f"  {name}: {lane['running']} running, {lane['waiting']} waiting"
    if lane.get("limit"):
        line += f", {of_limit(lane['per_second'], lane['limit'], ' calls')}"
    if lane.get("paused"):
        line += ", paused"
    elif lane["rests_for"] > 0:
        why = f"after {lane['faults']} faults in a row" if lane["trips"] else "because the server said so"
        line += f", rests for {lane['rests_for']:.1f} s {why}"
    return line
