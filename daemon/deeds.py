"""Small deeds that others ask of the intake's thread, so that nobody else moves the same job meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TypeVar

_Result = TypeVar("_Result")


class Deeds:
    """What is to be done between two turns; `wake` has the next turn come at once."""

    def __init__(self, wake: threading.Event) -> None:
        self._wake = wake
        self._asked: SimpleQueue[Callable[[float], None]] = SimpleQueue()

    def ask(self, deed: Callable[[float], _Result]) -> Future[_Result]:
        """Have `deed` done, which is given the time (wall); its future gives what came of it."""
        future: Future[_Result] = Future()

        def do(now: float) -> None:
            try:
                future.set_result(deed(now))
            except Exception as error:  # whoever asked is told, and the thread goes on
                future.set_exception(error)

        self._asked.put(do)
        self._wake.set()
        return future

    def do(self, now: float) -> None:
        """Do all that was asked for."""
        try:
            while True:
                self._asked.get_nowait()(now)
        except Empty:
            return
