"""The folders of one queue: ready/, leased/, dead/, what files are called in them, and the lock.

A file of ours holds one message a line, and its name is its place: RANK-POS-LINES.jsonl, which `ls` sorts as they will
be received. Any other file in ready/ was put there by somebody: a `.jsonl` is a message a line, everything else is one
message. Whoever renames a file out of ready/ has its messages, be it us or a shell.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress

from inboxd.jobs.files import Files
from inboxd.jobs.ledger import make_key

READY, LEASED, DEAD = "ready", "leased", "dead"
# The rank of priority 0, in the middle of those of -1000..1000, higher first; a name has four digits for it.
MIDDLE = 1000
# What the spool ignores too: hidden, or still being written.
_UNFINISHED = (".tmp", ".part", "~", ".swp")
_NAME = re.compile(r"(\d{4})-(\d{16})-(\d{4})\.jsonl", re.ASCII)
_TAKEN = re.compile(r"(\d{4})-(\d{16})-(\d{4})~(.+)", re.ASCII | re.DOTALL)
_NUMBER_BYTES = 16
# A file that was not written to for so many seconds is whole.
_QUIET = 0.5
# A staged file that nobody has made to appear for so many seconds was left by a crash.
_FORSAKEN = 3600.0


def name_of(key: int, suffix: str = ".jsonl") -> str:
    """Give the name of a file from its number; `suffix` is `~NAME` of one that somebody else made."""
    digits = f"{key:024d}"
    return f"{digits[:4]}-{digits[4:20]}-{digits[20:]}{suffix}"


def key_of(name: str) -> int | None:
    """Give the number of one of our files, None for any other."""
    match = _NAME.fullmatch(name)
    return int(match[1] + match[2] + match[3]) if match else None


class Shelf:
    """The folders below `folder`, which are made when they are missing."""

    def __init__(self, folder: str, files: Files) -> None:
        self.folder = folder
        self.files = files
        self.places = {name: os.path.join(folder, name) for name in (READY, LEASED, DEAD)}
        for path in self.places.values():
            os.makedirs(path, exist_ok=True)
        self._lock = os.open(os.path.join(folder, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    @property
    def log(self) -> str:
        """The path of the records."""
        return os.path.join(self.folder, ".ledger")

    def close(self) -> None:
        """Let go of the lock's file."""
        os.close(self._lock)

    # -- among processes ----------------------------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def numbers(self, count: int, now: float) -> int:
        """Take `count` numbers that no message of this queue has, beginning at the one given; needs the lock."""
        last = os.pread(self._lock, _NUMBER_BYTES, 0)
        first = max(int(now * 1e6), int(last) + 1 if last.isdigit() else 0)
        os.pwrite(self._lock, b"%016d" % (first + count - 1), 0)
        return first

    # -- looking ------------------------------------------------------------------------------------------------

    def path(self, place: str, name: str) -> str:
        """Give the path of a file."""
        return f"{self.places[place]}/{name}"

    def changed(self, place: str = READY) -> int:
        """Give a number that is another one when a name in the folder has come or gone."""
        return os.stat(self.places[place]).st_mtime_ns

    def scan(self, place: str = READY) -> tuple[list[int], dict[int, str]]:
        """Give the numbers of our files, and the names of the others by numbers made from the times they came."""
        keys: list[int] = []
        others: dict[int, str] = {}
        with os.scandir(self.places[place]) as entries:
            for entry in entries:
                key = key_of(entry.name)
                if key is not None:
                    keys.append(key)
                elif _is_message(entry):
                    with suppress(FileNotFoundError):
                        pos = entry.stat(follow_symlinks=False).st_mtime_ns // 1000
                        while make_key(MIDDLE, pos, 0) in others:
                            pos += 1
                        others[make_key(MIDDLE, pos, 0)] = entry.name
        return keys, others

    def read(self, place: str, name: str) -> list[bytes]:
        """Give the lines of a file, or the whole of one that has no lines of ours; [] when it is not there."""
        try:
            fd = os.open(self.path(place, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return []
        with open(fd, "rb") as file:
            data = file.read()
        return [line for line in data.splitlines() if line.strip()] if name.endswith(".jsonl") else [data]

    def is_unfinished(self, name: str) -> bool:
        """Tell whether a file of somebody else's in ready/ may still be being written."""
        try:
            written = os.stat(self.path(READY, name), follow_symlinks=False).st_mtime
        except FileNotFoundError:
            return False
        if not 0 <= time.time() - written < _QUIET:
            return False
        # Of lines nobody can tell whether more will come.
        return name.endswith(".jsonl") or not all(map(_is_json, self.read(READY, name) or [b""]))

    # -- moving -------------------------------------------------------------------------------------------------

    def take(self, key: int, other: str | None) -> str | None:
        """Move a file from ready/ to leased/; gives its suffix there, None when somebody else has it."""
        # 255 bytes is the longest name.
        suffix = ".jsonl" if other is None else "~" + os.fsdecode(os.fsencode(other)[-200:])
        source = name_of(key) if other is None else other
        try:
            self.files.rename(self.path(READY, source), self.path(LEASED, name_of(key, suffix)))
        except FileNotFoundError:
            return None
        return suffix

    def stage(self, lines: list[bytes]) -> str:
        """Write a file of messages out of sight, durably; gives the name under which it waits to appear."""
        # A name that no other has: two files with one key may come to be, one after the other.
        staged = f".{os.urandom(8).hex()}"
        self.files.write(self.path(LEASED, staged), b"".join(lines))
        return staged

    def show(self, staged: str, key: int) -> None:
        """Let a staged file appear in ready/."""
        self.files.rename(self.path(LEASED, staged), self.path(READY, name_of(key)))

    def is_staged(self, staged: str) -> bool:
        """Tell whether a file still waits to appear."""
        return bool(staged) and os.path.lexists(self.path(LEASED, staged))

    def appear(self, staged: str, key: int, folder: str) -> None:
        """Let a staged file appear in `folder`, also in the place of one of the same name."""
        # First: what lies there once nothing is staged any more is a newer one.
        self.remove(LEASED, name_of(key))
        self.files.rename(self.path(LEASED, staged), os.path.join(folder, name_of(key)))

    def remove(self, place: str, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            self.files.unlink(self.path(place, name))

    def orphans(self, known: Container[int]) -> Iterator[tuple[str, str]]:
        """Give the files in leased/ that are none of the groups `known`, each with its name in ready/."""
        now = time.time()
        for name in os.listdir(self.places[LEASED]):
            if name.startswith("."):
                with suppress(FileNotFoundError):
                    path = self.path(LEASED, name)
                    if now - os.stat(path).st_mtime > _FORSAKEN:
                        self.files.unlink(path)
                continue
            taken = _TAKEN.fullmatch(name)
            key: int | None = int(taken[1] + taken[2] + taken[3]) if taken else key_of(name)
            if key is None or key not in known:
                yield name, taken[4] if taken else name


def _is_message(entry: os.DirEntry[str]) -> bool:
    name = entry.name
    return not name.startswith(".") and not name.endswith(_UNFINISHED) and entry.is_file(follow_symlinks=False)


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True
