"""What a queue holds right now: the files on its shelf and the ledger of those that were opened, kept in step.

Everything here happens inside of `turn`, under the queue's lock, and begins with what other processes did since. What
an error interrupts is forgotten and read again from the disk.
"""

from __future__ import annotations

import errno
import heapq
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from inboxd.jobs.files import Files
from inboxd.jobs.ledger import Ledger, Place, Record, make_key, pos_of, rank_of
from inboxd.jobs.ledgerlog import Log
from inboxd.jobs.message import Message, carried, decode
from inboxd.jobs.queueerrors import QueueError
from inboxd.jobs.shelf import LEASED, MIDDLE, Shelf, name_of
from inboxd.jobs.shelf import READY as READY_FOLDER

# Texts of so many opened files are kept in memory.
TEXTS = 16
# Seconds between two looks at a folder that changes while there is something to do, or so many times what one costs.
LOOK, LOOK_SHARE = 1.0, 20
# Nanoseconds by which a folder's time stamp may be behind.
GRAIN = 20_000_000
# Seconds without a receive, after which opened files are closed again, and into how many new ones at a time.
IDLE, RUNS = 1.0, 64
# Seconds between two looks for what dead processes left.
TIDY = 5.0


class Stock:
    """The state of the queue in `folder`, shared by the threads of this process and with other processes."""

    def __init__(self, folder: str, files: Files) -> None:
        self.shelf = Shelf(folder, files)
        self.ledger = Ledger()
        self.log = Log(self.shelf.log, files)
        self.mutex = threading.RLock()
        # Files in ready/ that we know of, as a heap of their numbers, and names of those that are not ours.
        self.index: list[int] = []
        self.others: dict[int, str] = {}
        self._texts: dict[int, list[bytes]] = {}
        self._stale = True
        self._inside = False
        self._unwritten: list[Record] = []
        # When a message was last received here, as far as is known.
        self.received_at = 0.0
        self._tidied = 0.0
        self._seen = -1
        self._looked_at = self._look_at = 0.0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have the queue for ourselves, as it is now; what was recorded is written at the end.

        Turns within a turn are part of it. When one of them met an error, the whole ends in one, and nothing is so.
        """
        with self.mutex:
            if self._inside:
                with self._watched():
                    yield
                return
            with self.shelf.locked(), self._watched():
                self._inside = True
                try:
                    self._catch_up()
                    yield
                except QueueError:
                    self._end()
                    raise
                else:
                    self._end()
                finally:
                    self._inside = False

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """After anything but an answer to who asked, begin anew from the disk."""
        try:
            yield
        except QueueError:
            raise
        except BaseException:
            self._stale = True
            raise

    def _end(self) -> None:
        if self._stale:
            raise OSError(errno.EIO, "the disk has refused before", self.shelf.folder)
        self.flush()

    def record(self, *records: Record) -> None:
        """Let these records be so; they are durable after the next `flush` and `sync`."""
        for record in records:
            self.ledger.apply(record)
        self._unwritten += records

    def flush(self, *, durably: bool = False) -> None:
        """Write what was recorded: other processes know of it now, and it outlives this one, or even a power cut."""
        if self._unwritten:
            records, self._unwritten = self._unwritten, []
            self.log.append(records)
            if durably:
                self.sync()
            self.sweep()

    def sweep(self) -> None:
        """Remove the files of which nothing is left, and write a long log anew."""
        for key, suffix in self.ledger.closing():
            self._texts.pop(key, None)
            self.shelf.remove(LEASED, name_of(key, suffix))
        if self.log.is_long:
            # What the log forgets must be on the disk.
            for path in self.shelf.places.values():
                self.shelf.files.sync_folder(path)
            self.ledger.closed.clear()
            self.log.replace(self.ledger.snapshot())

    # -- keeping in step ----------------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        if self._stale:
            self.log.close()
            self._unwritten.clear()
        afresh, records = self.log.news()
        if afresh:
            self.ledger = Ledger()
            self._texts.clear()
            self._seen = -1
        for record in records:
            self.ledger.apply(record)
            if record[0] == "l":
                self.received_at = max(self.received_at, record[8])
            if record[0] == "b" and self.shelf.is_staged(record[4]):
                # Its writer died in between, perhaps before it was durable, and then nothing may be moved yet.
                self.log.force()
                self.shelf.appear(record[4], record[1], os.path.join(self.shelf.folder, record[2]))
        if records:
            self.sweep()
        if self._stale:
            self._mend()
            self._stale = False

    def _mend(self) -> None:
        """Bring the folders in line with the ledger, after a crash or a power cut that undid some moves."""
        shelf, ledger = self.shelf, self.ledger
        for key, suffix in ledger.closed.items():
            self._undo_revival(key, suffix)
        for key, group in list(ledger.groups.items()):
            if not os.path.lexists(shelf.path(LEASED, name_of(key, group.suffix))):
                other = None if group.suffix.startswith(".") else group.suffix[1:]
                if shelf.take(key, other) is None:
                    self.record(["x", key, list(range(len(group.states)))])
        self.tidy()

    def _undo_revival(self, key: int, suffix: str) -> None:
        """Remove a file that a power cut has put back into ready/ though all its messages were done."""
        if suffix.startswith("."):
            self.shelf.remove(READY_FOLDER, name_of(key))
            return
        path = self.shelf.path(READY_FOLDER, suffix[1:])
        if os.path.lexists(path) and os.stat(path).st_mtime_ns // 1000 == pos_of(key):
            self.shelf.remove(READY_FOLDER, suffix[1:])

    def tidy(self) -> None:
        """Put files back into ready/ that somebody took and died before he said so."""
        for name, original in self.shelf.orphans(set(self.ledger.groups)):
            target = self.shelf.path(READY_FOLDER, original)
            if not os.path.lexists(target):
                self.shelf.files.rename(self.shelf.path(LEASED, name), target)

    def tidy_sometimes(self, now: float) -> None:
        """Tidy up after processes that died and did not come back."""
        if not 0 <= now - self._tidied < TIDY:
            self._tidied = now
            self.tidy()

    def look(self, now: float, *, closely: bool = False) -> None:
        """Look what is in ready/ if somebody may have changed that; with much to do only now and then, or `closely`."""
        changed = self.shelf.changed()
        soon = bool(self.index) and not closely and self._looked_at <= now < self._look_at
        if changed == self._seen or soon:
            return
        began = time.monotonic()
        self.index, self.others = self.shelf.scan()
        self.index.extend(self.others)
        heapq.heapify(self.index)
        # The kernel's stamps are some milliseconds coarse: what came in the same grain would not be seen.
        self._seen = changed if abs(time.time_ns() - changed) > GRAIN else -1
        self._looked_at, self._look_at = now, now + max(LOOK, LOOK_SHARE * (time.monotonic() - began))

    # -- taking -------------------------------------------------------------------------------------------------

    def next_ready(self) -> Place | None:
        """Take the message whose turn it is off the list; opens the file that it is in."""
        while True:
            head = self.ledger.head()
            if not self.index or (head is not None and head <= (rank_of(self.index[0]), pos_of(self.index[0]))):
                return None if head is None else self.ledger.take()
            self._open(heapq.heappop(self.index))

    def _open(self, key: int) -> None:
        other = self.others.pop(key, None)
        if other is not None and self.shelf.is_unfinished(other):
            # It is looked at again when the folder is.
            self._seen = -1
            return
        suffix = self.shelf.take(key, other)
        if suffix is None:
            return
        lines = self._read(key, suffix)
        self.record(["o", key, len(lines), None, suffix])
        if not lines:
            self.record(["x", key, []])

    def _read(self, key: int, suffix: str) -> list[bytes]:
        lines = self.shelf.read(LEASED, name_of(key, suffix))
        while len(self._texts) >= TEXTS:
            del self._texts[next(iter(self._texts))]
        self._texts[key] = lines
        return lines

    def message(self, place: Place) -> Message | None:
        """Read a message of an opened file, with what the ledger knows of it; None when the file is gone."""
        key, line = place
        lines = self._texts.get(key)
        if lines is None:
            lines = self._read(key, self.ledger.groups[key].suffix)
        if line >= len(lines):
            return None
        message = decode(lines[line], MIDDLE - rank_of(key), pos_of(key) + line)
        known = self.ledger.held.get(place)
        return message if known is None else known.told(message)

    def hand_back(self, now: float) -> None:
        """Put what is ready in opened files back into ready/, for a shell to see, when nobody received for a while."""
        if not self.ledger.ready or now - self.received_at < IDLE:
            return
        runs = self.ledger.runs()
        for places in [next(runs, []) for _ in range(RUNS)]:
            if places:
                _, pos = self.ledger.spot(places[0])
                key = self.move(places, self.shelf.places[READY_FOLDER], pos)
                if key is not None:
                    self.add(key)

    # -- moving into other files --------------------------------------------------------------------------------

    def move(self, places: Iterable[Place], folder: str, pos: int, dead: Mapping[str, Any] | None = None) -> int | None:
        """Put lines of opened files of one rank into a new file in `folder`, at one stroke and durably; its key."""
        lines: list[bytes] = []
        done: dict[int, list[int]] = {}
        rank = MIDDLE
        for key, line in places:
            message = self.message((key, line))
            if message is not None:
                lines.append(carried(message, dead))
            rank = rank_of(key)
            done.setdefault(key, []).append(line)
        if not lines:
            self.record(*(["x", key, numbers] for key, numbers in done.items()))
            return None
        new = make_key(rank, pos, len(lines))
        staged = self.shelf.stage(lines)
        self.shelf.files.sync_folder(self.shelf.places[LEASED])
        moved = [[str(key), numbers] for key, numbers in done.items()]
        self.record(["b", new, os.path.relpath(folder, self.shelf.folder), [], staged, moved])
        self.flush(durably=True)
        self.shelf.appear(staged, new, folder)
        return new

    def add(self, key: int) -> None:
        """Take note of a file put into ready/."""
        heapq.heappush(self.index, key)

    def sync(self) -> None:
        """Make the records durable that were written before; needs no turn."""
        with self.mutex:
            handle = self.log.handle()
        if handle is not None:
            self.log.sync(handle)

    def forget(self) -> None:
        """Take it that nothing is known of what is in ready/."""
        self._seen = -1
        self.index, self.others = [], {}

    def close(self) -> None:
        """Let go of the files."""
        with self.mutex:
            self.log.close()
            self.shelf.close()
