"""A disk that stops on cue, whatever it is the disk of, and that knows how to take back what it did to names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


class Crash(BaseException):
    """The machine stopped here; nothing after it happened."""


class Crashing:
    """What a crashing disk is besides a disk: it stops before its `fuse`th operation.

    `_unsynced` has the sizes to which a power cut would bring files back, `_undo` how the moves of names are undone.
    """

    def __init__(self) -> None:
        # Nothing of this needs to outlive the test, and a real fsync costs more than all the rest.
        super().__init__(fsync=False)
        self.fuse: int | None = None
        self.operations: list[str] = []
        self._unsynced: dict[str, int] = {}
        self._undo: list[Callable[[], None]] = []

    def _burn(self, operation: str) -> None:
        if self.fuse is not None:
            if self.fuse <= 0:
                raise Crash(operation)
            self.fuse -= 1
        self.operations.append(operation)

    def _take_back(self, kept: int) -> None:
        """Undo all moves of names but the first `kept`."""
        while len(self._undo) > kept:
            self._undo.pop()()

    def settle_down(self) -> None:
        """Let so much time pass that everything is on the disk."""
        self._unsynced.clear()
        self._undo.clear()


def keep(path: str) -> Callable[[], None]:
    """Remember a file, if there is one; gives what brings it back."""
    if not os.path.lexists(path):
        return lambda: None
    data, moment = Path(path).read_bytes(), os.stat(path).st_mtime

    def bring_back() -> None:
        Path(path).write_bytes(data)
        os.utime(path, (moment, moment))

    return bring_back
