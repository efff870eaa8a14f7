"""The postbox: jobs that came over HTTP become files of the inbox, those of one moment together and with one sync.

Jobs for the same API that nobody gave an id share a file, which is a batch; so that nobody waits there for somebody
else's API, others do not. A job with an id of its own, with an attachment, or for a later time has a file of its own.
Nothing is acknowledged before it is durable, and whoever finds the box full is told so at once.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import NamedTuple

from inboxd.daemon import names
from inboxd.daemon.entrance import First
from inboxd.daemon.groups import take_all
from inboxd.daemon.growing import grown
from inboxd.daemon.spool import Spool
from inboxd.jobs.clock import Clock
from inboxd.jobs.ids import uuid7

log = logging.getLogger("inboxd.gateway")

# What may wait for the disk: parcels, and their bytes. The thread behind takes all of it with one sync.
PARCELS = 4096
BYTES = 64 * 1024 * 1024
# Jobs that share a file, which the intake reads as one batch.
TOGETHER = 1000
_SUFFIX = ".post"


class Key(NamedTuple):
    """What a request is known by if it comes again: the name of its key, and the digest of what it sent."""

    name: str
    digest: str


@dataclass(slots=True)
class Letter:
    """One job as it is to be dropped: JSON on one line, which says its id already if it `has_id`.

    `lane` is whose calls it may share a file with, None when it may with nobody; `attachment` is the name in the
    inbox and the present path of the file that goes with it. `id` is how the job is asked for, `place` what its answer
    will be known by; unless the sender chose them, they are given when it is dropped. `known` says that a job was there
    already in its place; `clash`, that one of its `keys` was used before, for something else.
    """

    line: bytes
    lane: str | None = None
    has_id: bool = False
    attachment: tuple[str, str] | None = None
    id: str = ""
    place: str = ""
    known: bool = False
    keys: tuple[Key, ...] = ()
    clash: bool = False

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.place.partition(":")[0]


@dataclass(slots=True, eq=False)
class Parcel:
    """The jobs of one request, which are accepted or refused together; `error` says in words why they were refused.

    `decided` is what the parcel is given to then.
    """

    letters: list[Letter]
    decided: Callable[[Parcel], None]
    error: str | None = None
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = sum(len(letter.line) for letter in self.letters)


@dataclass(slots=True)
class Load:
    """A sum of parcels, which one thread adds to."""

    parcels: int = 0
    size: int = 0

    def add(self, parcels: list[Parcel]) -> None:
        """Add some."""
        self.size += sum(parcel.size for parcel in parcels)
        self.parcels += len(parcels)


class Postbox:
    """The thread that drops. `deliver` is told, on that thread, of each group of parcels when its fate is decided.

    `quiet` is how long the intake leaves a batch alone that was just written to.
    """

    def __init__(
        self, spool: Spool, clock: Clock, *, quiet: float, deliver: Callable[[list[Parcel]], None] = lambda _: None
    ) -> None:
        self._spool = spool
        self._clock = clock
        self._quiet = quiet
        self._deliver = deliver
        # Taken in and not yet sent; on the thread of those who post.
        self._gathered: list[Parcel] = []
        # Not a Queue, whose Condition costs as much as all else that is done here for a job.
        self._waiting: SimpleQueue[list[Parcel] | None] = SimpleQueue()
        # What was ever taken in, counted where it is posted, and what became of it, where it is dropped.
        self._taken, self._done = Load(), Load()
        self._thread = threading.Thread(target=self._run, name="postbox", daemon=True)

    def start(self) -> None:
        """Begin to drop."""
        self._thread.start()

    def stop(self) -> None:
        """Drop what was posted, and end."""
        self.send()
        self._waiting.put(None)
        self._thread.join()

    def post(self, parcel: Parcel) -> bool:
        """Take in a parcel, to go with the next `send`; False when there is no room for it."""
        waiting = self._taken.size - self._done.size
        if self._taken.parcels - self._done.parcels >= PARCELS or (waiting and waiting + parcel.size > BYTES):
            return False
        self._taken.add([parcel])
        self._gathered.append(parcel)
        return True

    def send(self) -> None:
        """Have all dropped that was taken in: each group wakes the thread, and wants files and flushes of its own."""
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._waiting.put(gathered)

    def _run(self) -> None:
        more = True
        while more:
            sent, more = take_all(self._waiting)
            if sent:
                self._commit([parcel for parcels in sent for parcel in parcels])

    def _commit(self, group: list[Parcel]) -> None:
        try:
            self.drop([letter for parcel in group for letter in parcel.letters])
        except OSError as error:
            log.error("posted jobs are refused", extra={"fields": {"error": f"{error.filename}: {error.strerror}"}})
            for parcel in group:
                parcel.error = f"the disk refuses: {error.strerror}"
        except Exception:  # whoever waits must hear of it, and the thread go on
            log.exception("internal error in dropping posted jobs")
            for parcel in group:
                parcel.error = "internal error; see the log"
        self._done.add(group)
        self._deliver(group)

    def drop(self, letters: list[Letter]) -> None:
        """Put letters into the inbox, durably, and give each its id; raises OSError, and then some may be there."""
        spool, written = self._spool, dict[str, str]()
        whole = grown(self._clock.wall(), self._quiet)
        firsts = _firsts(letters)
        try:
            for filename, together in _files([letter for letter in letters if not letter.clash]):
                for letter in together:
                    if letter.attachment is not None:
                        written.setdefault(*letter.attachment)
                path = written.setdefault(filename, spool.staging(filename, _SUFFIX))
                spool.disk.write_lines(path, (_with_id(letter) for letter in together))
                spool.disk.set_mtime(path, whole)
            taken = set(spool.drop_written(written, spool.staged, firsts))
        except OSError:
            spool.discard_written(list(written.values()))
            raise
        for letter in letters if taken else ():
            letter.known = not taken.isdisjoint((letter.name + ".json", letter.name + ".jsonl"))
            if letter.known:
                letter.clash = any(self.clashes(key) for key in letter.keys)
                if letter.attachment is not None:
                    spool.discard_written([os.path.join(spool.inbox, letter.attachment[0])])

    def clashes(self, key: Key) -> bool:
        """Tell whether something else came first under a key."""
        first = self._spool.first(key.name)
        return first is not None and first.digest != key.digest


def _firsts(letters: list[Letter]) -> dict[str, First]:
    """Say what comes first under each key of these letters, and mark those that clash with it."""
    firsts: dict[str, First] = {}
    for letter in letters:
        letter.clash = any(key.name in firsts and firsts[key.name].digest != key.digest for key in letter.keys)
        for name, digest in () if letter.clash else letter.keys:
            before = firsts.get(name, First(digest, ())).names
            firsts[name] = First(digest, before if letter.name in before else (*before, letter.name))
    return firsts


def _files(letters: list[Letter]) -> Iterator[tuple[str, list[Letter]]]:
    """Say which letters go into which file, and give an id to those that have none."""
    shared: defaultdict[str, list[Letter]] = defaultdict(list)
    placed: defaultdict[str, list[Letter]] = defaultdict(list)
    for letter in letters:
        if letter.place:
            placed[letter.name].append(letter)
        elif letter.lane is not None:
            shared[letter.lane].append(letter)
        else:
            yield _file([letter])
    for name, together in placed.items():
        if ":" in together[0].place:
            yield name + ".jsonl", together
        else:
            # One of the same id that came in the same moment is the same job.
            yield name + ".json", together[:1]
            for letter in together[1:]:
                letter.known = True
    for together in shared.values():
        for start in range(0, len(together), TOGETHER):
            yield _file(together[start : start + TOGETHER])


def _file(together: list[Letter]) -> tuple[str, list[Letter]]:
    token = uuid7()
    name = names.of_posted(token)
    if len(together) == 1:
        together[0].id, together[0].place = token, name
        return name + ".json", together
    number_lines(token, together)
    return name + ".jsonl", together


def number_lines(token: str, together: list[Letter]) -> None:
    """Give letters their places as the lines of one file."""
    name = names.of_posted(token)
    for number, letter in enumerate(together, 1):
        letter.id, letter.place = f"{token}:{number}", names.place_of(name, number)


def _with_id(letter: Letter) -> bytes:
    if letter.has_id:
        return letter.line + b"\n"
    return names.id_first(letter.id) + b"," + letter.line[1:] + b"\n"
