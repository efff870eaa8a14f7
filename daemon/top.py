"""`inboxd top`: the spool at a glance, drawn anew every second; what changed since the last look is told as a rate."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from inboxd.daemon.status import of_limit
from inboxd.daemon.why import span


def picture(found: dict[str, Any], before: dict[str, Any] | None, seconds: float) -> RenderableType:
    """Draw what `status.gather` found now, with rates since `before`, which is so many seconds ago."""
    daemon = found["daemon"] or {}
    head = Text(f"{found['spool']}  ", style="bold")
    if found["running"]:
        head.append(f"process {daemon.get('pid', '?')} since {daemon.get('since', '?')}", style="green")
    else:
        head.append("no daemon is running", style="red")
    parts: list[RenderableType] = [head, _folders(found["folders"])]
    parts += [Text(f"trouble: {trouble}", style="red") for trouble in daemon.get("trouble", ()) if found["running"]]
    if found["running"]:
        rate = _rate(daemon, (before or {}).get("daemon") or {}, seconds)
        window = daemon.get("window", {})
        parts.append(
            Text(
                f"{rate:.1f} answers/s   {daemon.get('answered', 0)} answered   "
                f"{window.get('running', 0)} being called   {window.get('held', 0)} of {window.get('of', 0)} in memory"
            )
        )
        parts.append(_lanes(daemon.get("lanes", {})))
        parts += [Text(f"batch {batch['name']}: {batch['answered']} answered") for batch in daemon.get("batches", ())]
    return Group(*parts)


def _rate(now: dict[str, Any], before: dict[str, Any], seconds: float) -> float:
    if not seconds or now.get("pid") != before.get("pid"):
        return 0.0
    return float(max(now.get("answered", 0) - before.get("answered", 0), 0)) / seconds


def _folders(folders: dict[str, int]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in folders:
        table.add_column(name, justify="right")
    table.add_row(*map(str, folders.values()))
    return table


def _lanes(lanes: dict[str, dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("API", "running", "waiting", "calls/s", "faults", "state"):
        table.add_column(title, justify="left" if title in {"API", "state"} else "right")
    for name, lane in sorted(lanes.items(), key=lambda pair: -pair[1]["waiting"]):
        table.add_row(name, str(lane["running"]), str(lane["waiting"]), _pace(lane), str(lane["faults"]), _state(lane))
    return table


def _pace(lane: dict[str, Any]) -> str:
    limit = lane.get("limit")
    return of_limit(lane.get("per_second", 0.0), limit) if limit else f"{lane.get('per_second', 0.0):g}"


def _state(lane: dict[str, Any]) -> Text:
    if lane.get("paused"):
        return Text("paused", style="yellow")
    if lane["rests_for"] > 0:
        return Text(f"rests {span(lane['rests_for'])}", style="yellow")
    return Text("")
