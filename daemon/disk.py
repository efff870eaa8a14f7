"""The few things the daemon does to a disk, as one object, so that a test can crash between any two of them.

What is written is durable only after `sync` has seen the file and its folder; with fsync off nothing ever is, and a
power cut may take what it likes. Errors are the operating system's own.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from inboxd.cache.files import write_all

# From this many files on, one syncfs is cheaper than an fsync of each (measured: about 200 µs of CPU for
# each fsync, 60 µs for each file of a group). It also waits for what others have written; a group can.
MANY = 8

_LIBC = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_CLOEXEC


_NOT_REGULAR = {
    errno.ELOOP: "the file is a symbolic link; drop the file itself",
    errno.EACCES: "the file may not be read by the daemon's user; set its permissions",
    errno.EPERM: "the file may not be read by the daemon's user; set its permissions",
    errno.ENXIO: "not a regular file",
}


class NotRegular(OSError):
    """What lies under the name is no regular file that we may read."""

    def __str__(self) -> str:
        return str(self.strerror)


class Disk:
    """The real disk. `fsync` False leaves durability to the kernel's own good time.

    `owners` are the users (uids) whose files are opened as jobs and attachments; everybody's when empty.
    """

    def __init__(self, *, fsync: bool = True, owners: frozenset[int] = frozenset()) -> None:
        self._fsync = fsync
        self._owners = owners

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Create or empty the file and write it whole; not durable yet."""
        fd = os.open(path, _WRITE, mode)
        try:
            write_all(fd, data)
        finally:
            os.close(fd)

    def write_lines(self, path: str, lines: Iterable[bytes]) -> None:
        """Create or empty the file and write many lines; not durable yet."""
        with open(path, "wb") as file:
            file.writelines(lines)

    def append(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Append to the file, which is made if need be, and make that durable."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, mode)
        try:
            write_all(fd, data)
            if self._fsync:
                os.fdatasync(fd)
        finally:
            os.close(fd)

    def truncate(self, path: str, size: int) -> None:
        """Cut the file to `size` bytes."""
        os.truncate(path, size)

    def open_regular(self, path: str) -> BinaryIO:
        """Open a file that somebody else made, for reading; raises NotRegular for what only looks like one."""
        fd, _ = self._open_regular(path)
        return os.fdopen(fd, "rb")

    def read_regular(self, path: str, limit: int) -> tuple[os.stat_result, bytes]:
        """Read up to `limit` bytes of a file that somebody else made; gives its status too. Raises NotRegular."""
        fd, status = self._open_regular(path)
        try:
            # One read of just the right size: a buffer of `limit` bytes for each small file costs more than all else.
            return status, os.read(fd, min(status.st_size + 1, limit))
        finally:
            os.close(fd)

    def _open_regular(self, path: str) -> tuple[int, os.stat_result]:
        try:
            fd = os.open(path, _READ | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in _NOT_REGULAR:
                raise NotRegular(error.errno, _NOT_REGULAR[error.errno], path) from None
            raise
        status = os.fstat(fd)
        why = None if stat.S_ISREG(status.st_mode) else "not a regular file"
        if why is None and self._owners and status.st_uid not in self._owners:
            why = f"the file belongs to user {status.st_uid}, from whom no jobs are accepted (owners in the config)"
        if why is not None:
            os.close(fd)
            raise NotRegular(errno.EINVAL, why, path)
        return fd, status

    def rename(self, source: str, target: str) -> None:
        """Rename; an existing target is replaced, so this is for names that nobody else can have."""
        os.rename(source, target)

    def rename_new(self, source: str, target: str) -> None:
        """Rename, but never over anything: raises FileExistsError (renameat2(2), RENAME_NOREPLACE)."""
        if _LIBC.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in {errno.ENOSYS, errno.EINVAL}:
            raise OSError(code, os.strerror(code), target)
        # A filesystem that knows no such flag; only this process writes where it is used.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        """Remove the file."""
        os.unlink(path)

    def set_mtime(self, path: str, moment: float) -> None:
        """Set the file's times, in seconds since the epoch."""
        os.utime(path, (moment, moment), follow_symlinks=False)

    def sync(self, paths: Sequence[str], folder: str | None) -> None:
        """Make files in `folder` durable, content and name; without a folder their content alone."""
        if not self._fsync or not paths:
            return
        if folder is not None and len(paths) >= MANY:
            self._call_on(folder, _syncfs)
            return
        for path in paths:
            self._call_on(path, os.fsync)
        if folder is not None:
            self._call_on(folder, os.fsync)

    def sync_around(self, path: str) -> None:
        """Make everything on the filesystem of a file durable."""
        if self._fsync:
            self._call_on(path, _syncfs)

    def sync_folders(self, folders: Iterable[str]) -> None:
        """Make what happened to the names in `folders` durable."""
        if self._fsync:
            for folder in folders:
                self._call_on(folder, os.fsync)

    @staticmethod
    def _call_on(path: str, call: object) -> None:
        assert callable(call)
        fd = os.open(path, _READ)
        try:
            call(fd)
        finally:
            os.close(fd)


def _syncfs(fd: int) -> None:
    if _LIBC.syncfs(fd) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
