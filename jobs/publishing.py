"""The way into a queue: many publications at once become few files, and few flushes of the disk.

Plain messages need nothing but a file that appears in ready/. Those with a key or a delay are told to the ledger
first, in a record that decides whether they are published at all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from inboxd.jobs.clock import Clock
from inboxd.jobs.ledger import Record, make_key
from inboxd.jobs.message import Draft, encode, named, new_ids
from inboxd.jobs.queueerrors import KeyReused, TooLarge
from inboxd.jobs.queuesettings import QueueSettings
from inboxd.jobs.shelf import LEASED as LEASED_FOLDER
from inboxd.jobs.shelf import MIDDLE
from inboxd.jobs.shelf import READY as READY_FOLDER
from inboxd.jobs.stock import Stock

# Bytes of messages that share a file, unless one is larger.
FILE_BYTES = 1 << 20


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


class Publisher:
    """Publishes into one queue. `expire` lets leases run out before a message goes to the tail."""

    def __init__(
        self, stock: Stock, clock: Clock, settings: Callable[[], QueueSettings], expire: Callable[[float], None]
    ) -> None:
        self._stock = stock
        self._clock = clock
        self._settings = settings
        self._expire = expire
        # Publications begun and done, by their count; whether somebody is at it.
        self._commits = threading.Condition(threading.Lock())
        self._pending: list[Publication] = []
        self._begun = self._done = 0
        self._committing = False

    def begin(self, drafts: Sequence[Draft]) -> Publication:
        """Take drafts, which the next `commit` publishes, with all others that came in the meantime."""
        encoded = [encode(draft) for draft in drafts]
        for line in encoded:
            if len(line) > self._settings().max_message:
                raise TooLarge(
                    f"a message of {len(line)} bytes; the queue takes at most {self._settings().max_message}"
                )
        publication = Publication(drafts, encoded)
        with self._commits:
            self._pending.append(publication)
            self._begun += 1
        return publication

    def commit(self) -> bool:
        """Make durable what was begun before, confirmations too; True when this call published something.

        One thread does it for all; who comes while it is at work waits, and then one of those does it for all of them.
        """
        written = self._stock.log.written
        with self._commits:
            begun = self._begun
            while self._committing:
                self._commits.wait()
                if self._done >= begun and self._stock.log.synced >= written:
                    return False
            self._committing = True
            publications, self._pending, begun = self._pending, [], self._begun
        try:
            if publications:
                self._publish(publications, self._clock.wall())
            self._stock.sync()
        finally:
            with self._commits:
                self._committing, self._done = False, begun
                self._commits.notify_all()
        return bool(publications)

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

    def _is_told(self, draft: Draft) -> bool:
        """Tell whether the ledger must know of a draft before it appears."""
        return draft.key is not None or self._delay(draft) > 0

    def _delay(self, draft: Draft) -> float:
        return self._settings().delay if draft.delay is None else draft.delay

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
            publications = self._without_clashes(publications)
            first = shelf.numbers(sum(len(one.drafts) for one in publications), now)
            by_place: dict[tuple[int, float], list[tuple[int, bytes]]] = {}
            keys: dict[str, tuple[str, str]] = {}
            keyed: dict[int, str] = {}
            for number, (publication, draft, line) in enumerate(_each(publications), first):
                known = None if draft.key is None else stock.ledger.keys.get(draft.key) or keys.get(draft.key)
                publication.ids.append(known[0] if known is not None else new_ids(number, 1)[0])
                if known is not None:
                    continue
                if draft.key is not None:
                    keys[draft.key] = publication.ids[-1], draft.digest
                    keyed[number] = draft.key
                place = (MIDDLE - draft.priority, self._delay(draft))
                by_place.setdefault(place, []).append((number, named(publication.ids[-1], line)))
            if by_place:
                self._tell_and_show(by_place, keyed, keys, now)

    def _without_clashes(self, publications: list[Publication]) -> list[Publication]:
        """Refuse those under a key that stands for something else, as a whole, and give the others."""
        digests: dict[str, str] = {}
        accepted: list[Publication] = []
        for publication in publications:
            said = {one.key: one.digest for one in publication.drafts if one.key is not None and one.digest}
            before = {key: digests.get(key) or self._stock.ledger.keys.get(key, ("", ""))[1] for key in said}
            clash = next((key for key, digest in said.items() if before[key] not in {"", digest}), None)
            if clash is not None:
                publication.error = KeyReused(f"{clash[:200]}: something else was published under this key before")
                continue
            digests |= said
            accepted.append(publication)
        return accepted

    def _tell_and_show(
        self,
        by_place: dict[tuple[int, float], list[tuple[int, bytes]]],
        keyed: dict[int, str],
        keys: dict[str, tuple[str, str]],
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
                records.append(["b", key, folder, [[one, *keys[one]] for one in of_chunk], staged, []])
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
            if chunk and (gap or len(chunk) >= self._settings().per_file or size + len(line) > FILE_BYTES):
                yield chunk
                chunk, size = [], 0
            chunk.append((number, line))
            size += len(line)
        if chunk:
            yield chunk


def _each(publications: list[Publication]) -> Iterable[tuple[Publication, Draft, bytes]]:
    for publication in publications:
        for draft, line in zip(publication.drafts, publication.encoded, strict=True):
            yield publication, draft, line
