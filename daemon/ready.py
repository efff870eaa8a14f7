"""What the house and its mates say to each other: lines that are to be called, and what came of them.

A mate is another process of the daemon; these records go over a socket between the two, and nowhere else.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Asked(NamedTuple):
    """One line of a batch: its number, its bytes, and what has happened to it so far."""

    number: int
    data: bytes
    attempts: list[dict[str, Any]]
    tried: int


class Work(NamedTuple):
    """Some lines of the batch that the house calls `batch`; `name` and `token` are those of its claim."""

    batch: int
    name: str
    token: str
    lines: list[Asked]


class Rest(NamedTuple):
    """Let the lane of the API `name` rest for `seconds`: its server told another process so, or did not answer it."""

    name: str
    seconds: float


class Stop(NamedTuple):
    """Begin nothing more; calls under way get `drain` seconds."""

    drain: float


class Ready(NamedTuple):
    """An answer that only needs to be appended: `data` is its line, `logged` its line of the log once that is done.

    `body`: its body lies staged and is to be published first, under the name that `data` says.
    """

    line: int
    status: str
    data: bytes
    logged: str | None
    body: bool


class Back(NamedTuple):
    """A line that got no answer, to be begun again in `wait` seconds; `ours`: by the house itself."""

    number: int
    wait: float
    attempts: list[dict[str, Any]]
    tried: int
    ours: bool


class Done(NamedTuple):
    """What a mate has to say: answers and returned lines by batch, rests of lanes, and finished lines of the log.

    The first one that it sends is empty and means that it is there.
    """

    ready: dict[int, list[Ready]]
    back: dict[int, list[Back]]
    rests: list[Rest]
    log: list[str]
