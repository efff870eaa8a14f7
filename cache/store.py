"""The folder of stored answers: `ab/cdef….json`, one entry a file, named by its key.

The room's promise: wrong or torn content is never served, and every problem is a miss. A file is written beside its
place and renamed into it, so readers, also those of other processes on the same folder, see a whole entry or none.
Nothing is synced: a power cut may lose or tear a file, its seal tells, and the call is made again.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

from inboxd.cache.entry import Entry

_KEY = re.compile(r"[0-9a-f]{64}")
_FAN = re.compile(r"[0-9a-f]{2}")
_FILE = re.compile(r"([0-9a-f]{62})\.json")
# A leftover of a writer that died; `.tmp` and the leading dot keep it out of every listing.
_LEFTOVER = re.compile(r"\.[0-9a-f]{62}\.[0-9a-f]{16}\.tmp")

# A link is not followed, and a FIFO that somebody laid there does not make the reader wait.
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
# Answers are as private as the credentials that fetched them.
_FILE_MODE = 0o600
_FOLDER_MODE = 0o700


class Store:
    """Entries in one folder, which threads and processes may share; it is made when the first entry is put.

    No method raises for anything the disk or another program does.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = os.fspath(folder)

    def __repr__(self) -> str:
        return f"Store({self._folder!r})"

    def get(self, key: str, now: float) -> Entry | None:
        """Return the entry if it is fresh at `now` (seconds since the epoch), else None."""
        entry = self._read(key)
        return entry if entry is not None and entry.fresh(now) else None

    def put(self, key: str, entry: Entry) -> bool:
        """Store the entry in place of an older one; False when it could not be."""
        if not _KEY.fullmatch(key):
            return False
        fan = f"{self._folder}/{key[:2]}"
        tmp = f"{fan}/.{key[2:]}.{os.urandom(8).hex()}.tmp"
        try:
            _write(tmp, entry.to_json(key))
            os.rename(tmp, f"{fan}/{key[2:]}.json")
        except (OSError, ValueError):
            with suppress(OSError):
                os.unlink(tmp)
            return False
        return True

    def purge(self, key: str | None = None) -> int:
        """Remove one entry, or all with the leftovers of dead writers; return how many entries went.

        Files that are not ours stay. A writer whose file is swept away under its hands loses that one entry.
        """
        if key is not None:
            return int(_KEY.fullmatch(key) is not None and _unlinked(self._path(key)))
        count = 0
        for fan, name in self._files():
            path = f"{self._folder}/{fan}/{name}"
            if _FILE.fullmatch(name):
                count += _unlinked(path)
            elif _LEFTOVER.fullmatch(name):
                _unlinked(path)
        return count

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Yield each key and entry, stale ones too, in no order; one entry is in memory at a time."""
        for fan, name in self._files():
            match = _FILE.fullmatch(name)
            if match and (entry := self._read(fan + match[1])):
                yield fan + match[1], entry

    def _path(self, key: str) -> str:
        return f"{self._folder}/{key[:2]}/{key[2:]}.json"

    def _read(self, key: str) -> Entry | None:
        if not _KEY.fullmatch(key):
            return None
        try:
            data = _content(self._path(key))
        except OSError:
            return None
        return Entry.from_json(data, key)

    def _files(self) -> Iterator[tuple[str, str]]:
        for fan in _names(self._folder):
            if _FAN.fullmatch(fan):
                for name in _names(f"{self._folder}/{fan}"):
                    yield fan, name


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _content(path: str) -> bytes:
    descriptor = os.open(path, _READ)
    try:
        status = os.fstat(descriptor)
        if not S_ISREG(status.st_mode):
            raise OSError(f"{path} is no regular file")
        # A file never grows or shrinks after its rename; a read that ends early is told by the seal.
        return os.read(descriptor, status.st_size)
    finally:
        os.close(descriptor)


def _write(path: str, data: bytes) -> None:
    descriptor = _created(path)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(f"no room for {path}")
    finally:
        os.close(descriptor)


def _created(path: str) -> int:
    try:
        return os.open(path, _WRITE, _FILE_MODE)
    except FileNotFoundError:
        # The first entry of its folder. Another writer may make the folder at the same moment.
        fan = os.path.dirname(path)
        os.makedirs(os.path.dirname(fan), _FOLDER_MODE, exist_ok=True)
        with suppress(FileExistsError):
            os.mkdir(fan, _FOLDER_MODE)
        return os.open(path, _WRITE, _FILE_MODE)


def _unlinked(path: str) -> bool:
    try:
        os.unlink(path)
    except OSError:
        return False
    return True
