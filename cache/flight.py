"""Many ask, one calls: single flight per key within a process, without a thread that waits.

The one rule: who leads must land, whatever became of the call, else those who joined are never told. What a waiter
is, and what a failed leader means for the waiters, is the caller's business.
"""

from threading import Lock
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter")


class Flight(Generic[Waiter]):
    """The calls under way, each with those who wait for its answer; any thread may join and land."""

    def __init__(self) -> None:
        # One lock for both steps: between a look and an append the leader could land and the waiter be lost.
        self._lock = Lock()
        self._waiting: dict[str, list[Waiter]] = {}

    def __repr__(self) -> str:
        with self._lock:
            waiters = sum(map(len, self._waiting.values()))
            return f"<Flight: {len(self._waiting)} under way, {waiters} waiting>"

    def join(self, key: str, waiter: Waiter) -> bool:
        """Return True when the caller leads and must make the call; else the waiter is queued behind the leader.

        The leader's own waiter is not kept: it has its answer when the call returns.
        """
        with self._lock:
            waiting = self._waiting.get(key)
            if waiting is None:
                self._waiting[key] = []
                return True
            waiting.append(waiter)
            return False

    def land(self, key: str) -> list[Waiter]:
        """End the leader's flight and return those who waited, in the order they came; the key is forgotten."""
        with self._lock:
            return self._waiting.pop(key, [])
