"""What the house and its mates say to each other: jobs that are to be called, and what came of them.

A mate is another process of the daemon; these records go over a socket between the two, and nowhere else.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from inboxd.jobs.result import Answer

# In bytes; a longer job is not given to another process.
LONGEST = 16 * 1024


class Asked(NamedTuple):
    """A job: its token, the name of its file, its line in a batch, its bytes, its past.

    Without a `line` it is a file of its own, in active/, which whoever gets the job reads himself.
    """

    token: str
    name: str
    line: int | None
    data: bytes
    attempts: list[dict[str, Any]]
    tried: int


class Work(NamedTuple):
    """Some jobs."""

    jobs: list[Asked]


class Rest(NamedTuple):
    """Let the lane of the API `name` rest for `seconds`: its server told another process so, or did not answer it."""

    name: str
    seconds: float


class Recall(NamedTuple):
    """Give a job back, unless it is being called."""

    token: str


class PutDown(NamedTuple):
    """Give back what waits of a batch, to be begun again in `wait` seconds."""

    token: str
    wait: float


class Stop(NamedTuple):
    """Begin nothing more; calls under way get `drain` seconds."""

    drain: float


class Ready(NamedTuple):
    """What came of a job: an answer that only needs to be kept, or one that the house has yet to see to.

    `data` is its line of JSON and `logged` its line of the log, for when it is kept. With `body` a body lies staged;
    a batch's line names the file that it is to become. A single job that did not end well, or that has such a body, is
    given as `answer` instead. The answer of a single job that is given
    as `data` lies staged as well, not yet durable.
    """

    token: str
    line: int | None
    status: str
    data: bytes
    logged: str | None
    body: bool = False
    answer: Answer | None = None


class Back(NamedTuple):
    """A job that got no answer, to be begun again in `wait` seconds; `stopped`: because everything stops.

    `lost`: the process that had it died, and may have staged something.
    """

    token: str
    wait: float
    attempts: list[dict[str, Any]]
    tried: int
    stopped: bool = False
    # The job's id, once it has made an attempt under it.
    id: str | None = None
    lost: bool = False


class Done(NamedTuple):
    """What a mate has to say: answers, returned jobs, rests of lanes, and finished lines of the log.

    `kept` are tokens of jobs that were recalled while they were being called. `counts` says how many of the answers
    were for which API, with which status, after which attempts.
    The first one that it sends is empty and means that it is there.
    """

    ready: list[Ready]
    back: list[Back]
    rests: list[Rest]
    log: list[str]
    kept: list[str]
    counts: dict[tuple[str, str, tuple[str, ...]], int]
