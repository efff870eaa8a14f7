"""The file of a queue's records, which several processes append to in turn, each under the queue's lock.

`news` gives what was appended since, by whomever; a line that a power cut tore is cut off before the next is written.
The file is written anew, as the fewest records that say the same, when it has grown to many times that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

import orjson

from inboxd.jobs.files import Files
from inboxd.jobs.ledger import Record

# Bytes below which a log is not worth writing anew.
SMALL = 1 << 20


class Log:
    """The records at `path`. Who calls anything but `sync` holds the queue's lock."""

    def __init__(self, path: str, files: Files) -> None:
        self._path = path
        self._files = files
        self._fd = -1
        self._offset = 0
        self._compact_size = 0
        # How many bytes were appended by us, and how many of them are known to be durable.
        self.written = 0
        self.synced = 0

    def news(self) -> tuple[bool, list[Record]]:
        """Give the records appended since the last look; True when they begin from nothing."""
        afresh = self._reopen()
        size = os.fstat(self._fd).st_size
        if size <= self._offset:
            return afresh, []
        data = os.pread(self._fd, size - self._offset, self._offset)
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.ftruncate(self._fd, self._offset + whole)
        self._offset += whole
        if afresh:
            self._compact_size = self._offset
        return afresh, [record for line in data[:whole].splitlines() if (record := _read(line)) is not None]

    def _reopen(self) -> bool:
        """Open the file if it is not open, or if another process has put a new one in its place."""
        if self._fd >= 0:
            if os.fstat(self._fd).st_nlink:
                return False
            self.close()
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._offset = 0
        return True

    def append(self, records: Iterable[Record]) -> None:
        """Write records behind the others; they outlive this process, and a power cut after `sync`."""
        data = b"".join(map(_line, records))
        try:
            self._files.append(self._fd, data)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._fd, self._offset)
            raise
        self._offset += len(data)
        self.written += len(data)

    def handle(self) -> tuple[int, int] | None:
        """Give what `sync` needs, if there is anything to make durable."""
        if self.written == self.synced:
            return None
        # A descriptor of its own: another thread may meanwhile write the log anew, which is durable.
        return os.dup(self._fd), self.written

    def sync(self, handle: tuple[int, int]) -> None:
        """Make everything durable that was appended before the handle was taken; needs no lock."""
        fd, written = handle
        try:
            self._files.sync(fd)
        finally:
            os.close(fd)
        self.synced = max(self.synced, written)

    def force(self) -> None:
        """Make everything durable, whoever wrote it."""
        self._files.sync(self._fd)

    @property
    def is_long(self) -> bool:
        """Tell whether it should be written anew."""
        return self._offset > max(SMALL, 4 * self._compact_size)

    def replace(self, records: Iterable[Record]) -> None:
        """Write the log anew, durably."""
        data = b"".join(map(_line, records))
        self._files.write(self._path + ".new", data)
        self._files.rename(self._path + ".new", self._path)
        self._files.sync_folder(os.path.dirname(self._path))
        self.close()
        self._reopen()
        self._offset = self._compact_size = len(data)
        self.synced = self.written

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _line(record: Record) -> bytes:
    # The number of a file has 80 bits, and orjson writes 64.
    return orjson.dumps([record[0], str(record[1]), *record[2:]]) + b"\n"


def _read(line: bytes) -> Record | None:
    """Read a record; what a power cut made of one is none."""
    try:
        what, key, *rest = orjson.loads(line)
        return [what, int(key), *rest]
    except (ValueError, TypeError):
        return None
