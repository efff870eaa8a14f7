"""Where workers note what they are doing, for somebody who comes after a crash."""

from __future__ import annotations

from typing import Protocol


class Marks(Protocol):
    """One note for each worker. Neither method may raise: no worker could go on."""

    def begin(self, worker: int, token: str) -> None:
        """Worker number `worker` begins a call of the task known as `token`."""

    def clear(self, worker: int) -> None:
        """Worker number `worker` does nothing now."""


class NoMarks:
    """Marks that nobody reads."""

    def begin(self, worker: int, token: str) -> None:
        """Do nothing."""

    def clear(self, worker: int) -> None:
        """Do nothing."""
