"""What the tests of the log share: a log that runs for as long as a block does, and ways to read what it wrote."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inboxd.daemon.log import Logs, Sink, start

PATIENCE = 20.0


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        threading.Event().wait(0.005)


@contextmanager
def logging_to(file: Path | str, **options: Any) -> Iterator[Logs]:
    logs = start(file=str(file), **options)
    try:
        yield logs
    finally:
        logs.stop()


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(file)]


def record(message: object = "event", *args: object, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("inboxd.test", logging.INFO, "", 0, message, args, None)
    made.__dict__["fields"] = fields
    return made


class Flaky(Sink):
    """A sink whose disk may be full."""

    def __init__(self, *, full: bool) -> None:
        self.full = full
        self.got: list[str] = []

    def write(self, lines: list[str]) -> bool:
        self.got += [] if self.full else lines
        return not self.full
