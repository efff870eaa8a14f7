"""The disk under the store: which files are ours, and private files that appear whole or not at all.

A file's times are the store's index. Its mtime is when it may be swept, its atime when it was last used, so neither
needs a look inside; a file that somebody else wrote there has an mtime in the past and goes with the next sweep.
Whatever the disk or another program does comes out as OSError, or as False where there is nothing to be done.
"""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from stat import S_ISREG
from typing import BinaryIO

# `ab/cdef….json`: the answer to the call whose key is abcdef…; `.body`: its body, when that has no place in the JSON.
KEY = re.compile(r"[0-9a-f]{64}")
FAN = re.compile(r"[0-9a-f]{2}")
FILE = re.compile(r"([0-9a-f]{62})\.json")
BODY = re.compile(r"([0-9a-f]{62})\.body")
# What a writer left that died; the leading dot and `.tmp` keep it out of every listing.
LEFTOVER = re.compile(r"\.[0-9a-f]{62}\.[0-9a-f]{16}\.tmp")

# A link is not followed, a FIFO does not make the reader wait, and reading alone does not count as use.
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOATIME
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
# Answers are as private as the credentials that fetched them.
FILE_MODE = 0o600
FOLDER_MODE = 0o700
# Seconds: uses of one file closer together than this are noted once.
GRAIN = 60
_NANO = 1_000_000_000
_CHUNK = 1024 * 1024


def open_to_read(path: str, now: float | None) -> tuple[int, int]:
    """Open a regular file, note that it was used at `now`, and return descriptor and size; raises OSError."""
    descriptor = os.open(path, _READ)
    try:
        status = os.fstat(descriptor)
        if not S_ISREG(status.st_mode):
            raise OSError(f"{path} is no regular file")
        if now is not None and not now - GRAIN < status.st_atime < now + GRAIN:
            with suppress(OSError, OverflowError):
                os.utime(descriptor, ns=(int(now * _NANO), status.st_mtime_ns))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status.st_size


def read(path: str, now: float | None) -> bytes:
    """Return a file's content; raises OSError. A read that ends early is told by the entry's seal."""
    descriptor, size = open_to_read(path, now)
    try:
        # A file never grows or shrinks after its rename.
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def appear(path: str, used: float, until: float, write: Callable[[int], None]) -> None:
    """Let a file appear at `path`, whole, with the content that `write` gives its descriptor; raises OSError.

    `used` and `until` are its times: last use, and when it may be swept.
    """
    folder, name = os.path.split(path)
    tmp = f"{folder}/.{name[:62]}.{os.urandom(8).hex()}.tmp"
    descriptor = _created(tmp)
    try:
        try:
            write(descriptor)
            os.utime(descriptor, (used, until))
        finally:
            os.close(descriptor)
        os.rename(tmp, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(tmp)
        raise


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`; raises OSError, for a disk that fills up in the middle takes a part and then says so."""
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def copy(source: BinaryIO, descriptor: int) -> None:
    """Write all that `source` still has; raises OSError."""
    while chunk := source.read(_CHUNK):
        write_all(descriptor, chunk)


def remove(path: str) -> bool:
    """Remove a file; False when it could not be, most often because somebody else did."""
    try:
        os.unlink(path)
    except OSError:
        return False
    return True


def names(folder: str) -> list[str]:
    """Return the names in a folder, none when it cannot be read."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _created(path: str) -> int:
    try:
        return os.open(path, _WRITE, FILE_MODE)
    except FileNotFoundError:
        # The first entry of its folder. Another writer may make the folder at the same moment.
        fan = os.path.dirname(path)
        os.makedirs(os.path.dirname(fan), FOLDER_MODE, exist_ok=True)
        with suppress(FileExistsError):
            os.mkdir(fan, FOLDER_MODE)
        return os.open(path, _WRITE, FILE_MODE)
