"""`MessageQueue`: messages that are held for other programs, each leased to one of them at a time.

A queue is a folder: ready/ holds what may be taken, leased/ what is, dead/ what nobody could digest. Any number of
threads and processes may use it at once, and a shell too: `mv` of a file out of ready/ takes its messages, `mv` into
ready/ publishes. What was published or confirmed is durable when the call returns; callers share flushes of the disk.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Self

from inboxd.jobs.clock import Clock
from inboxd.jobs.files import Files
from inboxd.jobs.ledger import LEASED, READY, Held, Place, Record, make_key, rank_of
from inboxd.jobs.message import Draft, Message, encode, named, new_ids
from inboxd.jobs.queuesettings import QueueSettings
from inboxd.jobs.shelf import DEAD, MIDDLE, name_of
from inboxd.jobs.shelf import LEASED as LEASED_FOLDER
from inboxd.jobs.shelf import READY as READY_FOLDER
from inboxd.jobs.stock import QueueError, Stock

# Messages a receiver gets at most, and seconds that it may wait for them.
MOST, LONGEST_WAIT = 1000, 20.0
# SQS has the same bound on messages that are leased and not confirmed.
MOST_LEASED = 120_000
# While somebody waits, what a shell put into ready/ is looked for this often.
GLANCE = 0.1
# Bytes of messages that share a file, unless one is larger.
FILE_BYTES = 1 << 20


class NotHeld(QueueError):
    """The message is not leased to who asks: unknown, confirmed, its lease ran out, or somebody else has it.

    `known` tells that the message is still there, as far as can be told without reading the whole queue.
    """

    def __init__(self, message: str, *, known: bool) -> None:
        super().__init__(message)
        self.known = known


class TooMany(QueueError):
    """So many messages are leased that no more may be received."""


class TooLarge(QueueError):
    """The message is larger than the queue allows."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many messages a queue holds: to be taken, leased, waiting for their delay to end, and dead letters."""

    ready: int
    leased: int
    delayed: int
    dead: int


@dataclass(slots=True)
class Publication:
    """Drafts on their way to the disk; `ids` is theirs once `commit` returned."""

    drafts: Sequence[Draft]
    encoded: list[bytes]
    ids: list[str] = field(default_factory=list)
    error: Exception | None = None

    def result(self) -> list[str]:
        """Give the ids; raises what kept the messages from the disk."""
        if self.error is not None:
            raise self.error
        return self.ids


class MessageQueue:
    """The queue in `folder`, which is made when it is missing.

    Times are seconds; wall time is the clock's. A message is named by the receipt it came with, by its id or by its
    number, the latter two by any holder of its lease, or only by `consumer` when that is given.
    """

    def __init__(
        self,
        folder: str,
        settings: QueueSettings | None = None,
        *,
        clock: Clock | None = None,
        files: Files | None = None,
    ) -> None:
        self.folder = os.path.abspath(folder)
        self.name = os.path.basename(self.folder)
        self.settings = settings or QueueSettings()
        self.clock = clock or Clock()
        self._stock = Stock(self.folder, files or Files())
        # Publications begun and done, by their count; whether somebody is at it.
        self._commits = threading.Condition(threading.Lock())
        self._pending: list[Publication] = []
        self._begun = self._done = 0
        self._committing = False
        self._came = threading.Condition(threading.Lock())
        self._listeners: list[Callable[[], None]] = []

    def together(self) -> AbstractContextManager[None]:
        """Do many things in one turn, which costs less: other threads and processes see all of them or none.

        When the disk refuses one of them, the end raises OSError, and none of them is so. Do not `commit` within.
        """
        return self._stock.turn()

    # -- publishing ---------------------------------------------------------------------------------------------

    def publish(self, body: Any, **said: Any) -> str:
        """Publish one message, `said` as in `Draft`; gives its id once it is durable.

        Raises ValueError for what is not JSON, TooLarge, and OSError when the disk refuses.
        """
        return self.publish_many([Draft(body, **said)])[0]

    def publish_many(self, drafts: Sequence[Draft]) -> list[str]:
        """Publish messages; gives their ids once all are durable."""
        publication = self.begin_publish(drafts)
        self.commit()
        return publication.result()

    def begin_publish(self, drafts: Sequence[Draft]) -> Publication:
        """Take drafts, which the next `commit` publishes, with all others that came in the meantime."""
        encoded = [encode(draft) for draft in drafts]
        for line in encoded:
            if len(line) > self.settings.max_message:
                raise TooLarge(f"a message of {len(line)} bytes; {self.name} takes at most {self.settings.max_message}")
        publication = Publication(drafts, encoded)
        with self._commits:
            self._pending.append(publication)
            self._begun += 1
        return publication

    def commit(self) -> None:
        """Make durable what was begun before: publications and confirmations. Many threads may call this at once.

        One of them does it for all; who comes while it is at work waits, and then one of those does it for all of them.
        """
        written = self._stock.log.written
        with self._commits:
            begun = self._begun
            while self._committing:
                self._commits.wait()
                if self._done >= begun and self._stock.log.synced >= written:
                    return
            self._committing = True
            publications, self._pending, begun = self._pending, [], self._begun
        try:
            if publications:
                self._publish(publications, self.clock.wall())
            self._stock.sync()
        finally:
            with self._commits:
                self._committing, self._done = False, begun
                self._commits.notify_all()

    def _publish(self, publications: list[Publication], now: float) -> None:
        plain: list[Publication] = []
        told: list[Publication] = []
        for publication in publications:
            (told if any(map(self._is_told, publication.drafts)) else plain).append(publication)
        for batch, put in ((plain, self._put), (told, self._put_told)):
            try:
                if batch:
                    put(batch, now)
            except Exception as error:
                for publication in batch:
                    publication.error = error
        self._tell()

    def _is_told(self, draft: Draft) -> bool:
        """Tell whether the ledger must know of a draft before it appears."""
        return draft.key is not None or self._delay(draft) > 0

    def _delay(self, draft: Draft) -> float:
        return self.settings.delay if draft.delay is None else draft.delay

    def _put(self, publications: list[Publication], now: float) -> None:
        """Write messages into new files in ready/, and then, in one go, make the names durable."""
        shelf = self._stock.shelf
        count = sum(len(one.drafts) for one in publications)
        with self._stock.turn():
            # What expired before goes to the tail before.
            self._expire(now)
            first = shelf.numbers(count, now)
        ids = iter(new_ids(first, count))
        by_rank: dict[int, list[tuple[int, bytes]]] = {}
        for number, (publication, draft, line) in enumerate(_each(publications), first):
            publication.ids.append(next(ids))
            by_rank.setdefault(MIDDLE - draft.priority, []).append((number, named(publication.ids[-1], line)))
        staged: dict[int, str] = {}
        for rank, numbered in by_rank.items():
            for chunk in self._chunks(numbered):
                staged[make_key(rank, chunk[0][0], len(chunk))] = shelf.stage([line for _, line in chunk])
        for key, name in staged.items():
            shelf.show(name, key)
        shelf.files.sync_folder(shelf.places[READY_FOLDER])
        with self._stock.mutex:
            for key in staged:
                self._stock.add(key)

    def _put_told(self, publications: list[Publication], now: float) -> None:
        """Write messages with a key or a delay; a record in the ledger decides that they are published."""
        stock, shelf = self._stock, self._stock.shelf
        with stock.turn():
            self._expire(now)
            first = shelf.numbers(sum(len(one.drafts) for one in publications), now)
            by_place: dict[tuple[int, float], list[tuple[int, bytes]]] = {}
            keys: dict[str, str] = {}
            keyed: dict[int, str] = {}
            for number, (publication, draft, line) in enumerate(_each(publications), first):
                known = None if draft.key is None else stock.ledger.keys.get(draft.key) or keys.get(draft.key)
                publication.ids.append(known or new_ids(number, 1)[0])
                if known is not None:
                    continue
                if draft.key is not None:
                    keys[draft.key] = publication.ids[-1]
                    keyed[number] = draft.key
                place = (MIDDLE - draft.priority, self._delay(draft))
                by_place.setdefault(place, []).append((number, named(publication.ids[-1], line)))
            self._tell_and_show(by_place, keyed, keys, now)

    def _tell_and_show(
        self,
        by_place: dict[tuple[int, float], list[tuple[int, bytes]]],
        keyed: dict[int, str],
        keys: dict[str, str],
        now: float,
    ) -> None:
        stock, shelf = self._stock, self._stock.shelf
        records: list[Record] = []
        shown: list[tuple[str, int, str]] = []
        for (rank, delay), numbered in by_place.items():
            folder = LEASED_FOLDER if delay else READY_FOLDER
            for chunk in self._chunks(numbered):
                key = make_key(rank, chunk[0][0], len(chunk))
                staged = shelf.stage([line for _, line in chunk])
                of_chunk = [keyed[number] for number, _ in chunk if number in keyed]
                records.append(["b", key, folder, [[one, keys[one]] for one in of_chunk], staged, []])
                if delay:
                    records.append(["o", key, len(chunk), now + delay, ".jsonl"])
                shown.append((staged, key, folder))
        shelf.files.sync_folder(shelf.places[LEASED_FOLDER])
        stock.record(*records)
        stock.flush(durably=True)
        for staged, key, folder in shown:
            shelf.appear(staged, key, shelf.places[folder])
            if folder == READY_FOLDER:
                stock.add(key)

    def _chunks(self, numbered: list[tuple[int, bytes]]) -> Iterable[list[tuple[int, bytes]]]:
        """Share messages out among files; those of one are numbered without a gap."""
        chunk: list[tuple[int, bytes]] = []
        size = 0
        for number, line in numbered:
            gap = bool(chunk) and number != chunk[-1][0] + 1
            if chunk and (gap or len(chunk) >= self.settings.per_file or size + len(line) > FILE_BYTES):
                yield chunk
                chunk, size = [], 0
            chunk.append((number, line))
            size += len(line)
        if chunk:
            yield chunk

    # -- receiving ----------------------------------------------------------------------------------------------

    def receive(
        self, most: int = 10, *, wait: float = 0.0, lease: float | None = None, consumer: str | None = None
    ) -> list[Message]:
        """Lease up to `most` messages (1000 at most), the first published first; waits up to `wait` (20 s) for one.

        Without `lease`, a message's own holds, or the queue's. Raises TooMany.
        """
        until = self.clock.mono() + min(wait, LONGEST_WAIT)
        while True:
            found = self._receive(min(most, MOST), lease, consumer, self.clock.wall())
            left = until - self.clock.mono()
            if found or left <= 0:
                return found
            with self._came:
                self._came.wait(min(left, GLANCE))

    def _receive(self, most: int, lease: float | None, consumer: str | None, now: float) -> list[Message]:
        stock, found = self._stock, list[Message]()
        with stock.turn():
            self._expire(now)
            stock.look(now)
            most = min(most, MOST_LEASED - stock.ledger.leased)
            if most <= 0:
                raise TooMany(f"{self.name}: {MOST_LEASED} messages are leased; confirm some before you receive more")
            while len(found) < most and (place := stock.next_ready()) is not None:
                message = stock.message(place)
                if message is None:
                    # Somebody took the file out of leased/.
                    stock.record(["x", place[0], [place[1]]])
                    continue
                received = self._lease(message, lease, consumer, now)
                found.append(received)
                stock.record(["l", *place, *_told(received)])
                stock.received_at = now
        return found

    def _lease(self, message: Message, lease: float | None, consumer: str | None, now: float) -> Message:
        if lease is None:
            lease = self.settings.lease if message.lease is None else message.lease
        return replace(
            message,
            receipt=f"{message.id}.{os.urandom(8).hex()}",
            until=now + lease,
            consumer=consumer,
            receives=message.receives + 1,
            first=message.first or now,
        )

    # -- what a holder may do -----------------------------------------------------------------------------------

    def confirm(self, which: str | int, *, consumer: str | None = None) -> None:
        """Be done with a message, for good and durably; raises NotHeld."""
        self.begin_confirm(which, consumer=consumer)
        self.commit()

    def begin_confirm(self, which: str | int, *, consumer: str | None = None) -> None:
        """Confirm a message; it is durable after the next `commit`. Raises NotHeld."""
        for problem in self.begin_confirm_many([which], consumer=consumer):
            if problem is not None:
                raise problem

    def begin_confirm_many(self, which: Sequence[str | int], *, consumer: str | None = None) -> list[NotHeld | None]:
        """Confirm messages; durable after the next `commit`. Gives what was wrong with each."""
        problems: list[NotHeld | None] = []
        with self._stock.turn():
            self._expire(self.clock.wall())
            for one in which:
                try:
                    (key, line), _ = self._held(one, consumer)
                except NotHeld as problem:
                    problems.append(problem)
                else:
                    self._stock.record(["x", key, [line]])
                    problems.append(None)
        return problems

    def extend(self, which: str | int, lease: float, *, consumer: str | None = None) -> float:
        """Let the lease of a message end `lease` seconds from now; gives that time. Raises NotHeld."""
        now = self.clock.wall()
        with self._stock.turn():
            self._expire(now)
            place, _ = self._held(which, consumer)
            self._stock.record(["e", *place, now + lease])
        return now + lease

    def release(self, which: str | int, *, delay: float = 0.0, consumer: str | None = None) -> None:
        """Give a message back before its lease ends, to be received again after `delay`. Raises NotHeld."""
        now = self.clock.wall()
        with self._stock.turn():
            self._expire(now)
            place, _ = self._held(which, consumer)
            self._stock.record(["e", *place, now + delay])
            self._expire(now)
        self._tell()

    def _held(self, which: str | int, consumer: str | None) -> tuple[Place, Held]:
        identifier, _, nonce = which.partition(".") if isinstance(which, str) else (which, "", "")
        found = self._stock.ledger.find(identifier)
        if found is None:
            known = identifier in self._stock.ledger.places
            raise NotHeld(f"{which}: not leased; it is unknown or confirmed, or its lease ran out", known=known)
        held = found[1]
        if (nonce and nonce != held.nonce) or (consumer is not None and consumer != held.consumer):
            raise NotHeld(f"{which}: somebody else has it by now", known=True)
        return found

    def _expire(self, now: float) -> None:
        """Let the messages whose leases ran out be ready again, or die."""
        stock, ledger = self._stock, self._stock.ledger
        overdue = ledger.overdue(now)
        if not overdue:
            return
        most = self.settings.max_receives
        back = [place for place in overdue if place[1] < 0 or not most or ledger.held[place].receives < most]
        pos = stock.shelf.numbers(len(back), now) if back else 0
        if self.settings.expired == "head":
            stock.record(*[["r", *place, _own_pos(place)] for place in back])
        else:
            stock.record(*[["r", *place, pos + n] for n, place in enumerate(back)])
        dead = sorted(set(overdue).difference(back))
        for _, places in groupby(dead, lambda place: rank_of(place[0])):
            self._bury(list(places), now)

    def _bury(self, places: list[Place], now: float) -> None:
        stock = self._stock
        why = {"at": now, "why": f"received {self.settings.max_receives} times and never confirmed", "queue": self.name}
        folder = stock.shelf.places[DEAD]
        if self.settings.dead_to is not None:
            folder = os.path.join(os.path.dirname(self.folder), self.settings.dead_to, READY_FOLDER)
            os.makedirs(folder, exist_ok=True)
        size = self.settings.per_file
        for start in range(0, len(places), size):
            some = places[start : start + size]
            stock.move(some, folder, stock.shelf.numbers(len(some), now), why)

    # -- looking and housekeeping -------------------------------------------------------------------------------

    def counts(self) -> Counts:
        """Say how many messages there are."""
        now = self.clock.wall()
        with self._stock.turn():
            self._expire(now)
            self._stock.look(now, closely=True)
            ledger = self._stock.ledger
            waiting = sum(key % 10_000 or 1 for key in self._stock.index)
            keys, others = self._stock.shelf.scan(DEAD)
            dead = sum(key % 10_000 for key in keys) + len(others)
            return Counts(ledger.ready + waiting, ledger.leased, ledger.hidden, dead)

    def peek(self, most: int = 10, place: str = READY_FOLDER) -> list[Message]:
        """Show messages of ready, leased or dead without taking them."""
        now, found = self.clock.wall(), list[Message]()
        with self._stock.turn():
            self._expire(now)
            stock = self._stock
            if place != DEAD:
                for one in stock.ledger.lines(READY if place == READY_FOLDER else LEASED):
                    if len(found) >= most:
                        break
                    message = stock.message(one)
                    if message is not None:
                        held = stock.ledger.held.get(one) if place == LEASED_FOLDER else None
                        found.append(replace(message, until=held.until, consumer=held.consumer) if held else message)
            if place != LEASED_FOLDER:
                found += stock.read_ahead(place, most - len(found))
        return found

    def purge(self, *, dead: bool = False) -> int:
        """Remove all messages but the dead letters, or, with `dead`, those; gives their number."""
        with self._stock.turn():
            return self._stock.purge(dead=dead)

    def redrive(self, most: int | None = None) -> int:
        """Bring dead letters back to the tail, with a new life; files are moved whole until `most` are reached."""
        now, moved = self.clock.wall(), 0
        with self._stock.turn():
            shelf = self._stock.shelf
            for key in sorted(shelf.scan(DEAD)[0]):
                if most is not None and moved >= most:
                    break
                lines = key % 10_000
                new = make_key(rank_of(key), shelf.numbers(lines, now), lines)
                shelf.files.rename(shelf.path(DEAD, name_of(key)), shelf.path(READY_FOLDER, name_of(new)))
                self._stock.add(new)
                moved += lines
            shelf.files.sync_folder(shelf.places[READY_FOLDER])
        self._tell()
        return moved

    def turn(self, now: float) -> float | None:
        """Do what is due at `now` (wall time), and wake who waits if there is something; gives when more is due."""
        with self._stock.turn():
            self._expire(now)
            self._stock.tidy_sometimes(now)
            self._stock.hand_back(now)
            self._stock.look(now)
            some = bool(self._stock.index) or self._stock.ledger.ready > 0
            due = self._stock.ledger.next_due()
        if some:
            self._tell()
        return due

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have `listener` called, on any thread, when there may be something to receive; gives what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell(self) -> None:
        with self._came:
            self._came.notify_all()
        for listener in tuple(self._listeners):
            listener()

    def close(self) -> None:
        """Let go of the files; everything is on the disk."""
        self._stock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _each(publications: list[Publication]) -> Iterable[tuple[Publication, Draft, bytes]]:
    for publication in publications:
        for draft, line in zip(publication.drafts, publication.encoded, strict=True):
            yield publication, draft, line


def _told(message: Message) -> list[Any]:
    """Give what a record of a lease says of it."""
    assert message.receipt is not None
    nonce = message.receipt.partition(".")[2]
    return [message.id, message.until, nonce, message.consumer, message.receives, message.first]


def _own_pos(place: Place) -> int:
    return place[0] // 10_000 % 10**16 + place[1]
