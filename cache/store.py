"""The folder of stored answers: `ab/cdef….json`, one entry a file, named by its key.

The room's promise: wrong or torn content is never served, and every problem is a miss. A file is written beside its
place and renamed into it, so readers, also those of other processes on the same folder, see a whole entry or none.
Nothing is synced: a power cut may lose or tear a file, its seal tells, and the call is made again.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import BinaryIO

from inboxd.cache import files
from inboxd.cache.entry import Entry, Side
from inboxd.cache.sweep import Held, Sweeper

# Bytes: larger bodies, and those that are no text, go to a file of their own.
INLINE = 64 * 1024
# The bounds of a store that was given none.
ENTRIES = 1_000_000
SIZE = 4 * 1024**3
# Who puts also sweeps, so that the bounds hold where nobody else does it: now and then a small step of so many files
# for each put. A cache that only grows so ends up at most about a fifth above its bounds.
_PUTS, _SWEPT_PER_PUT = 16, 6
_CHUNK = 1024 * 1024


class Store:
    """Entries in one folder, which threads and processes may share; it is made when the first entry is put.

    At most about `entries` entries of together `size` bytes are kept; the least recently used go first.
    No method raises for anything the disk or another program does.
    """

    def __init__(self, folder: str | Path, *, entries: int = ENTRIES, size: int = SIZE) -> None:
        self.folder = os.fspath(folder)
        self._sweeper = Sweeper(self.folder, Held(entries, size))
        self._puts = count(1)

    def __repr__(self) -> str:
        return f"Store({self.folder!r})"

    def get(self, key: str, now: float) -> Entry | None:
        """Return the entry, its body in memory, if it is fresh at `now` (seconds since the epoch), else None."""
        entry = self.find(key, now)
        if entry is None or not entry.fresh(now):
            return None
        if entry.side is None:
            return entry
        body = self.body(key, entry.side)
        return None if body is None else entry._replace(body=body, side=None)

    def find(self, key: str, now: float) -> Entry | None:
        """Return the entry, also a stale one, but none from the future; a body in a side file stays there.

        What is no entry, or cannot be one at `now`, is removed.
        """
        if not files.KEY.fullmatch(key):
            return None
        try:
            entry = Entry.from_json(files.read(self._path(key), now), key)
        except OSError:
            return None
        if entry is None or entry.stored_at > now + files.GRAIN:
            self.purge(key)
            return None
        return entry if entry.stored_at <= now else None

    def body(self, key: str, side: Side) -> bytes | None:
        """Return the body in a key's side file; None if it is not the very one.

        It may be the next one already, whose entry is about to appear; so nothing is removed.
        """
        try:
            data = files.read(self._path(key, ".body"), None)
        except OSError:
            data = b""
        return data if len(data) == side.size and sha256(data).hexdigest() == side.sha256 else None

    def copy_body(self, key: str, side: Side, out: BinaryIO) -> bool:
        """Write the body in a key's side file to `out`, in pieces; False if it is not the very one.

        What was written until then is void. Raises the OSError of `out` only.
        """
        digest = sha256()
        try:
            source = os.fdopen(files.open_to_read(self._path(key, ".body"), None)[0], "rb", buffering=0)
        except OSError:
            return False
        with source:
            while chunk := _piece(source):
                out.write(chunk)
                digest.update(chunk)
        return digest.hexdigest() == side.sha256

    def put(self, key: str, entry: Entry, body: BinaryIO | None = None, *, keep: float = 0.0) -> bool:
        """Store the entry in place of an older one; False when it could not be.

        `body` gives the content of an entry with a side file; without, the one of the older entry stays. The entry is
        kept for `keep` seconds after it has expired: to be asked about again, or in case the next call fails.
        """
        if not files.KEY.fullmatch(key):
            return False
        try:
            self._put(key, entry, body, entry.expires_at + keep)
        except (OSError, ValueError, OverflowError):
            return False
        self._sweeper.came(entry.size)
        if next(self._puts) % _PUTS == 0:
            self.sweep(entry.stored_at, _PUTS * _SWEPT_PER_PUT)
        return True

    def _put(self, key: str, entry: Entry, body: BinaryIO | None, until: float) -> None:
        used, aside = entry.stored_at, self._path(key, ".body")
        if entry.side is None and not _fits(entry.body):
            data = entry.body
            entry = entry._replace(body=b"", side=Side(len(data), sha256(data).hexdigest()))
            files.appear(aside, used, until, partial(files.write_all, data=data))
        elif body is not None:
            files.appear(aside, used, until, partial(files.copy, body))
        elif entry.side is not None:
            os.utime(aside, (used, until), follow_symlinks=False)
        line = entry.to_json(key)
        # Last: until then the older entry finds a body that is not its own, which is a miss.
        files.appear(self._path(key), used, until, partial(files.write_all, data=line))

    def purge(self, key: str | None = None) -> int:
        """Remove one entry, or all with the leftovers of dead writers; return how many entries went.

        Files that are not ours stay. A writer whose file is swept away under its hands loses that one entry.
        """
        if key is not None:
            if not files.KEY.fullmatch(key):
                return 0
            gone = files.remove(self._path(key))
            files.remove(self._path(key, ".body"))
            return int(gone)
        removed = 0
        for fan, name in self._files():
            path = f"{self.folder}/{fan}/{name}"
            if files.FILE.fullmatch(name):
                removed += files.remove(path)
            elif files.BODY.fullmatch(name) or files.LEFTOVER.fullmatch(name):
                files.remove(path)
        return removed

    def sweep(self, now: float, most: int) -> int:
        """Make one small step of housekeeping, over at most `most` files; return how many went.

        Goes round the whole store step by step and begins anew: what is past its time, from the future, or the
        leftover of a dead writer goes, and of the rest the least recently used, as far as there is too much.
        """
        return self._sweeper.step(now, most)

    @property
    def held(self) -> Held | None:
        """How many entries and bytes there are, as far as sweeping has found; None before it has seen all."""
        return self._sweeper.held

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Yield each key and entry, stale ones too, in no order; one entry is in memory at a time."""
        for fan, name in self._files():
            match = files.FILE.fullmatch(name)
            if match:
                with suppress(OSError):
                    key = fan + match[1]
                    if entry := Entry.from_json(files.read(f"{self.folder}/{fan}/{name}", None), key):
                        yield key, entry

    def _path(self, key: str, ending: str = ".json") -> str:
        return f"{self.folder}/{key[:2]}/{key[2:]}{ending}"

    def _files(self) -> Iterator[tuple[str, str]]:
        for fan in files.names(self.folder):
            if files.FAN.fullmatch(fan):
                for name in files.names(f"{self.folder}/{fan}"):
                    yield fan, name


def _piece(source: BinaryIO) -> bytes:
    """Return the next piece; a disk that cannot be read any further ends the file, and its digest will tell."""
    try:
        return source.read(_CHUNK)
    except OSError:
        return b""


def _fits(body: bytes) -> bool:
    """Tell whether a body has a place in a file of JSON."""
    if len(body) > INLINE:
        return False
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
