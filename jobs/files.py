"""The few things a queue does to a disk, as one object, so that a test can crash between any two of them."""

from __future__ import annotations

import os

from inboxd.cache.files import write_all

_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


class Files:
    """The real disk. With `fsync` off nothing is made durable: kill -9 still loses nothing, a power cut may."""

    def __init__(self, *, fsync: bool = True) -> None:
        self._fsync = fsync

    def write(self, path: str, data: bytes) -> None:
        """Create or empty a file and write it whole and durably; its name is durable after `sync_folder`."""
        fd = os.open(path, _WRITE, 0o644)
        try:
            write_all(fd, data)
            if self._fsync:
                os.fsync(fd)
        finally:
            os.close(fd)

    def append(self, fd: int, data: bytes) -> None:
        """Append to an open file; not durable yet."""
        write_all(fd, data)

    def sync(self, fd: int) -> None:
        """Make what was appended durable."""
        if self._fsync:
            os.fdatasync(fd)

    def sync_folder(self, path: str) -> None:
        """Make what happened to the names in a folder durable."""
        if self._fsync:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def rename(self, source: str, target: str) -> None:
        """Rename."""
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        """Remove a file."""
        os.unlink(path)
