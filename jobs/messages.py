"""`MessageQueue`: messages that are held for other programs, each leased to one of them at a time.

A queue is a folder: ready/ holds what may be taken, leased/ what is, dead/ what nobody could digest. Any number of
threads and processes may use it at once, and a shell too: `mv` of a file out of ready/ takes its messages, `mv` into
ready/ publishes. What was published or confirmed is durable when the call returns; callers share flushes of the disk.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Self

from inboxd.jobs import stocktaking
from inboxd.jobs.clock import Clock
from inboxd.jobs.expiry import Expiry
from inboxd.jobs.files import Files
from inboxd.jobs.ledger import Held, Place
from inboxd.jobs.message import Draft, Message
from inboxd.jobs.publishing import Publication, Publisher
from inboxd.jobs.queueerrors import KeyReused, NotHeld, QueueError, TooLarge, TooMany
from inboxd.jobs.queuesettings import QueueSettings
from inboxd.jobs.shelf import READY as READY_FOLDER
from inboxd.jobs.stock import Stock
from inboxd.jobs.stocktaking import Counts

__all__ = [
    "Counts",
    "Draft",
    "KeyReused",
    "Message",
    "MessageQueue",
    "NotHeld",
    "Publication",
    "QueueError",
    "TooLarge",
    "TooMany",
]

# Messages a receiver gets at most, and seconds that it may wait for them.
MOST, LONGEST_WAIT = 1000, 20.0
# SQS has the same bound on messages that are leased and not confirmed.
MOST_LEASED = 120_000
# While somebody waits, what a shell put into ready/ is looked for this often.
GLANCE = 0.1


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
        self._expire = Expiry(self._stock, lambda: self.settings)
        self._publisher = Publisher(self._stock, self.clock, lambda: self.settings, self._expire)
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
        """Take drafts, which the next `commit` publishes; raises as `publish` does."""
        return self._publisher.begin(drafts)

    def commit(self) -> None:
        """Make durable what was begun before: publications and confirmations. Many threads may call this at once."""
        if self._publisher.commit():
            self._tell()

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
        lease = next(one for one in (lease, message.lease, self.settings.lease) if one is not None)
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
        with self._stock.turn():
            self._expire(self.clock.wall())
            (key, line), _ = self._held(which, consumer)
            self._stock.record(["x", key, [line]])

    def confirm_all(self, which: Sequence[str | int], *, consumer: str | None = None, key: str | None = None) -> None:
        """Be done with messages, all or none, durably; raises NotHeld. With a `key`, a second time is no error."""
        with self._stock.turn():
            self._expire(self.clock.wall())
            if key is None or key not in self._stock.ledger.keys:
                held = [self._held(one, consumer)[0] for one in which]
                moved = [[str(place[0]), [place[1]]] for place in held]
                self._stock.record(["b", 0, "", [] if key is None else [[key, ""]], "", moved])
        self.commit()

    def begin_confirm_many(self, which: Sequence[str | int], *, consumer: str | None = None) -> list[NotHeld | None]:
        """Confirm messages; durable after the next `commit`. Gives what was wrong with each."""
        problems: list[NotHeld | None] = []
        with self._stock.turn():
            for one in which:
                try:
                    self.begin_confirm(one, consumer=consumer)
                    problems.append(None)
                except NotHeld as problem:
                    problems.append(problem)
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

    # -- looking and housekeeping -------------------------------------------------------------------------------

    def counts(self) -> Counts:
        """Say how many messages there are."""
        now = self.clock.wall()
        with self._stock.turn():
            self._expire(now)
            self._stock.look(now, closely=True)
            return stocktaking.count(self._stock)

    def peek(self, most: int = 10, place: str = READY_FOLDER) -> list[Message]:
        """Show messages of ready, leased or dead without taking them."""
        with self._stock.turn():
            self._expire(self.clock.wall())
            return stocktaking.peek(self._stock, place, most)

    def purge(self, *, dead: bool = False) -> int:
        """Remove all messages but the dead letters, or, with `dead`, those; gives their number."""
        with self._stock.turn():
            return stocktaking.purge(self._stock, dead=dead)

    def redrive(self, most: int | None = None) -> int:
        """Bring dead letters back to the tail, with a new life; files are moved whole until `most` are reached."""
        with self._stock.turn():
            moved = stocktaking.redrive(self._stock, most, self.clock.wall())
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


def _told(message: Message) -> list[Any]:
    """Give what a record of a lease says of it."""
    assert message.receipt is not None
    nonce = message.receipt.partition(".")[2]
    return [message.id, message.until, nonce, message.consumer, message.receives, message.first]
