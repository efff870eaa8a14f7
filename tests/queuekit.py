"""A queue's disk that crashes on cue, and that forgets what was not made durable when the power is cut."""

from __future__ import annotations

import os

from inboxd.jobs.files import Files
from tests.crashkit import Crashing, keep


class CrashingFiles(Crashing, Files):
    """A real disk that stops before its `fuse`th operation, and that can undo what a power cut would take.

    Contents are safe once they were synced. Of the moves of names since any folder was last synced, a power cut leaves
    the first so many, as a journal does.
    """

    def write(self, path: str, data: bytes) -> None:
        self._burn("write")
        fresh = not os.path.exists(path)
        super().write(path, data[: len(data) // 2])
        if fresh:
            self._undo.append(lambda: os.path.exists(path) and os.unlink(path))
        self._burn("write")
        super().write(path, data)

    def append(self, fd: int, data: bytes) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")
        self._burn("append")
        self._unsynced.setdefault(path, os.fstat(fd).st_size)
        super().append(fd, data)

    def sync(self, fd: int) -> None:
        self._burn("sync")
        self._unsynced.pop(os.readlink(f"/proc/self/fd/{fd}"), None)

    def sync_folder(self, path: str) -> None:
        self._burn("sync_folder")
        self._undo.clear()

    def rename(self, source: str, target: str) -> None:
        self._burn("rename")
        kept = keep(target)
        super().rename(source, target)

        def undo() -> None:
            if os.path.exists(target):
                os.rename(target, source)
            kept()

        self._undo.append(undo)

    def unlink(self, path: str) -> None:
        self._burn("unlink")
        kept = keep(path)
        super().unlink(path)
        self._undo.append(kept)

    def cut_power(self, kept: int) -> None:
        """Take back what was appended and never synced, and all moves of names but the first `kept`."""
        for path, size in self._unsynced.items():
            if os.path.exists(path):
                # A power cut may leave a part of it, which is torn.
                os.truncate(path, min(size + 3, os.path.getsize(path)))
        self._take_back(kept)
        self.settle_down()
