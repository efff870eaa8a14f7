"""What the tests of the engine share: a task from nothing, an API in one line, a wait for a condition."""

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from inboxd.jobs.api import Api
from inboxd.jobs.exchange import prepare
from inboxd.jobs.job import parse_object
from inboxd.jobs.task import Errand, Task

_NUMBERS = itertools.count()


def api(name: str = "a", **policy: Any) -> Api:
    return Api.model_validate({"name": name, "base_url": f"http://{name}.example"} | policy)


def task(of: Api, *, due: float = 0.0, expires: float = float("inf"), **job: Any) -> Task:
    parsed = parse_object({"url": of.base_url + "/x"} | job)
    call = prepare(parsed, of, "id")
    made = Task(parsed, "id", of, call, Errand(), 0.0, [], 0, due, expires, seq=next(_NUMBERS))
    made.future = Future()
    return made


def eventually(condition: Callable[[], bool], timeout: float = 20.0) -> bool:
    """Return whether `condition` comes true within `timeout` seconds; looks a hundred times a second."""
    until = time.monotonic() + timeout
    nudge = threading.Event()
    while not condition():
        if time.monotonic() > until:
            return False
        nudge.wait(0.01)
    return True
