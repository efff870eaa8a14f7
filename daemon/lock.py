"""The lock of a spool: one daemon serves it at a time, and whoever asks is told whether one does.

The one rule: the lock dies with its process, so nobody ever has to clear one away.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

LOCK_TRIES, LOCK_PAUSE = 4, 0.05


class SpoolError(Exception):
    """The spool cannot be used; the message says why and what to do."""


class Locked:
    """What lies under `root` and belongs to whoever holds the lock of its file `lockfile`."""

    def __init__(self, root: str, lockfile: str) -> None:
        self.root = os.path.abspath(root)
        self._lockfile = f"{self.root}/{lockfile}"
        self._lock: int | None = None

    def lock(self) -> None:
        """Take the spool for this process; raises SpoolError when another daemon has it. Dies with the process."""
        fd = os.open(self._lockfile, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _flock_soon(fd)
        except OSError as error:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
            os.close(fd)
            if error.errno not in {errno.EAGAIN, errno.EACCES}:
                raise SpoolError(f"{self.root}: cannot lock: {error.strerror}") from None
            raise SpoolError(
                f"{self.root}: another inboxd (process {holder or 'unknown'}) serves this spool;"
                " stop it, or use another spool"
            ) from None
        os.truncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._lock = fd

    def is_ours(self) -> bool:
        """Tell whether the lock we hold is still the spool's: one that was moved or replaced is not ours."""
        if self._lock is None:
            return False
        try:
            return os.path.samestat(os.stat(self._lockfile), os.fstat(self._lock))
        except OSError as error:
            # Of a disk that only refuses we do not know; it may come to itself again.
            return error.errno not in {errno.ENOENT, errno.ENOTDIR}

    def unlock(self) -> None:
        """Let others have the spool."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def is_served(self) -> bool:
        """Tell whether a daemon has the spool."""
        try:
            fd = os.open(self._lockfile, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False


def _flock_soon(fd: int) -> None:
    """Take the lock; whoever only looks whether it is taken holds it for an instant, so a few tries are worth it."""
    for tries_left in range(LOCK_TRIES, -1, -1):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.EACCES} or not tries_left:
                raise
            time.sleep(LOCK_PAUSE)
        else:
            return
