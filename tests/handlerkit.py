"""Functions for jobs that say `do`: a good one, and one for each way in which a function can go wrong."""

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO

from inboxd import TryAgain
from inboxd.jobs.functions import Context

_NEVER = threading.Event()


def double(number: int = 1) -> int:
    return number * 2


def size_of(file: BinaryIO, unit: int = 1) -> dict[str, int]:
    return {"size": len(file.read()) // unit}


def about(context: Context) -> dict[str, Any]:
    return {"id": context.id, "attempt": context.attempt, "timeout": context.timeout}


def text(of: str = "ä") -> str:
    return of


def many_bytes(count: int) -> bytes:
    return b"\xff" * count


def not_json() -> object:
    return object()


def nothing() -> None:
    return None


def raising(kind: str) -> None:
    errors: dict[str, Callable[[], BaseException]] = {
        "value": lambda: ValueError("no such width"),
        "exit": lambda: SystemExit(3),
        "refused": lambda: ConnectionRefusedError(111, "refused"),
        "missing": lambda: FileNotFoundError(2, "missing"),
        "again": lambda: TryAgain("busy", retry_after=7.0),
    }
    error = errors[kind]()
    raise error


def second_time(context: Context) -> str:
    if context.attempt == 1:
        raise TryAgain("once more")
    return "done"


def segfault() -> None:
    ctypes.string_at(0)


def leave() -> None:
    os._exit(7)


def eat() -> int:
    """Take memory without end, in pieces of all sizes."""
    eaten: list[Any] = []
    while True:
        eaten.append([bytearray(1 << 20), *range(1000)])


def never(beside: str | None = None, *, really: bool = True) -> None:
    """Never return; with `beside`, begin another process that does not end either and write both numbers there."""
    if not really:
        return
    if beside is not None:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with open(beside, "w") as file:
            file.write(f"{os.getpid()} {child.pid}")
    while True:
        _NEVER.wait(60)


def until_there(path: str) -> str:
    """Return when there is a file of that name."""
    while not os.path.exists(path):
        _NEVER.wait(0.01)
    return path


def pid() -> int:
    return os.getpid()


def compute(seconds: float) -> int:
    """Keep one core busy for so long; gives the process that did."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    return os.getpid()


def noisy() -> str:
    sys.stdout.write("said to standard output\n")
    return "quiet"


def runs(pid: int | str) -> bool:
    """Tell whether there is such a process; for tests, not for jobs."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
