"""Many ask, one calls: single flight per key, among threads (`Flight`) and among processes (`Locks`).

No thread waits here. The one rule: who leads must land and let go, whatever became of the call, else those who joined
are never told. The kernel lets go for a process that dies. What a waiter is, and what a failed leader means for the
waiters, is the caller's business.
"""

import errno
import os
import struct
from contextlib import suppress
from fcntl import F_OFD_SETLK, F_UNLCK, F_WRLCK, fcntl
from threading import Lock
from typing import Generic, TypeVar

from inboxd.cache.files import FILE_MODE, FOLDER_MODE

Waiter = TypeVar("Waiter")

# Which byte of the lock file stands for a key: its first 62 bits, as far as an offset reaches.
_DIGITS, _OFFSET = 16, 0x3FFF_FFFF_FFFF_FFFF
LOCK_FILE = ".flights"


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


class Locks:
    """One leader per key among all processes on a folder: a lock on one byte of one file, `.flights`.

    Open file description locks (fcntl(2)) cost two system calls a call, leave nothing to be swept, and end with their
    process. A folder that cannot be locked keeps nobody from calling.
    """

    def __init__(self, folder: str) -> None:
        self._path = f"{folder}/{LOCK_FILE}"
        self._folder = folder
        # For opening and closing only: the kernel sees to the rest, and threads would queue up here at each call.
        self._opening = Lock()
        self._descriptor: int | None = None

    def take(self, key: str) -> bool:
        """Return True when no other process leads for `key`; the lock is held until it is let go."""
        try:
            self._set(self._descriptor or self._open(), key, F_WRLCK)
        except OSError as error:
            return error.errno not in {errno.EAGAIN, errno.EACCES}
        return True

    def let_go(self, key: str) -> None:
        """Let another process lead for `key`; nothing happens if we do not."""
        with suppress(OSError):
            if self._descriptor is not None:
                self._set(self._descriptor, key, F_UNLCK)

    def close(self) -> None:
        """Let go of everything."""
        with self._opening:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _open(self) -> int:
        with self._opening:
            if self._descriptor is None:
                try:
                    os.makedirs(self._folder, FOLDER_MODE, exist_ok=True)
                    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
                    self._descriptor = os.open(self._path, flags, FILE_MODE)
                except OSError as error:
                    # Not EACCES, which would be taken for a lock that another process holds.
                    raise OSError(errno.ENOLCK, error.strerror) from error
            return self._descriptor

    @staticmethod
    def _set(descriptor: int, key: str, kind: int) -> None:
        byte = int(key[:_DIGITS], 16) & _OFFSET
        # struct flock: type, whence (0: from the beginning), start, length, process (0 for this sort of lock).
        fcntl(descriptor, F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, byte, 1, 0))
