"""A tree as it lies in the folders: which of its jobs have ended and how, which wait, and which are still to come.

Nothing else is asked than the files. A job that will be born when its parent ends is known from its parent's file; a
parent whose answer somebody has taken away is known from its children.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from inboxd.daemon import names
from inboxd.daemon.spool import Spool
from inboxd.jobs.result import isotime

GONE, TO_COME = "gone", "to come"


@dataclass(frozen=True, slots=True)
class Node:
    """One job of a tree: its name, its state in a word, what there is to say, the claims of its root and its own."""

    name: str
    state: str
    about: str = ""
    root: str = ""
    claim: str = ""


def gather(spool: Spool, name: str) -> list[Node]:
    """Give the newest tree whose first job is called `name`, each job after its parent; empty when there is none.

    Raises OSError when the spool cannot be looked at.
    """
    found = [*_answered(spool, name), *_waiting(spool, name)]
    roots = [node.root for node in found if node.name == name] or [node.root for node in found]
    newest = max(roots, default="")
    # Of one job that was tried twice, the later claim counts.
    ours = sorted((node for node in found if node.root == newest), key=lambda node: node.claim)
    nodes = {node.name: node for node in ours}
    for each in list(nodes):
        while each != name and (each := each.rpartition("~")[0]) not in nodes:
            nodes[each] = Node(each, GONE, "its answer was taken away", newest)
    return sorted(nodes.values(), key=lambda node: _order(node.name))


def draw(nodes: Sequence[Node]) -> str:
    """Draw what `gather` found."""
    below: defaultdict[str, list[Node]] = defaultdict(list)
    for node in nodes[1:]:
        below[node.name.rpartition("~")[0]].append(node)
    rows = [(nodes[0].name, nodes[0]), *_rows(nodes[0].name, "", below)]
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"{label:<{width}}  {node.state:<9} {node.about}".rstrip() for label, node in rows)


def _rows(above: str, lead: str, below: dict[str, list[Node]]) -> Iterator[tuple[str, Node]]:
    children = below.get(above, [])
    for node in children:
        last = node is children[-1]
        yield f"{lead}{'└─ ' if last else '├─ '}{node.name}", node
        yield from _rows(node.name, f"{lead}{'   ' if last else '│  '}", below)


def _order(name: str) -> list[tuple[int, ...]]:
    """Sort as people count, and callbacks last."""
    steps = name.split("~")[1:]
    return [tuple(int(part) if part.isdigit() else 10**9 for part in re.split(r"\.", step)) for step in steps]


def _ours(filenames: Sequence[str], name: str) -> Iterator[tuple[str, str]]:
    """Give the files of a tree among many, with the names of their jobs."""
    for filename in filenames:
        if filename.startswith(name) and filename.endswith(".json"):
            job = names.bare(filename.removesuffix(".json"))
            if job == name or names.is_below(job, name):
                yield filename, job


def _answered(spool: Spool, name: str) -> Iterator[Node]:
    for filename, job in _ours(os.listdir(spool.outbox), name):
        answer = _read(os.path.join(spool.outbox, filename))
        if answer is not None and "claim" in answer:
            claim = str(answer["claim"])
            error = answer.get("error") or {}
            attempts = len(answer.get("attempts", ()))
            about = error.get("message") or f"{attempts} attempt{'s' * (attempts != 1)}"
            yield Node(job, str(answer.get("status")), about, str(answer.get("root", claim)), claim)


def _waiting(spool: Spool, name: str) -> Iterator[Node]:
    """Give the jobs that have not ended, and those that will come of them."""
    for folder in (spool.active, spool.deferred):
        for filename in os.listdir(folder):
            claim = names.parse(filename)
            if claim is None or not (claim.name == name or names.is_below(claim.name, name)):
                continue
            path = os.path.join(folder, filename)
            job = _read(path) or {}
            tree = job.get("tree") if isinstance(job.get("tree"), dict) else None
            root = str(tree.get("root")) if tree else claim.token
            yield Node(claim.name, *_state(spool, path, job), root, claim.token)
            yield from _to_come(job, claim.name, root)


def _state(spool: Spool, path: str, job: dict[str, Any]) -> tuple[str, str]:
    if os.path.dirname(path) == spool.active:
        return "active", ""
    due = ""
    with suppress(OSError):
        moment = os.stat(path).st_mtime
        due = f"until {isotime(moment)}" if moment > time.time() else "for room"
    return "waits", f"for {', '.join(map(str, job['after']))}" if isinstance(job.get("after"), list) else due


def _to_come(job: dict[str, Any], above: str, root: str) -> Iterator[Node]:
    number = 0
    for key, when in (("then", ""), ("otherwise", "if the one above does not end well")):
        specs = job.get(key)
        for spec in filter(_is_object, specs if isinstance(specs, list) else ()):
            number += 1
            each = f"for each of {spec.get('for_each')}" if "for_each" in spec else ""
            yield Node(f"{above}~{number}", TO_COME, " ".join(filter(None, (each, when))), root)
            yield from _to_come(spec, f"{above}~{number}", root)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            found = json.load(file)
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
