"""What people ask of a whole queue: how many, which, away with them, and back from the dead. Each within a turn."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace

from inboxd.jobs.ledger import LEASED, READY, make_key, pos_of, rank_of
from inboxd.jobs.message import Message, decode
from inboxd.jobs.shelf import DEAD, MIDDLE, name_of
from inboxd.jobs.shelf import LEASED as LEASED_FOLDER
from inboxd.jobs.shelf import READY as READY_FOLDER
from inboxd.jobs.stock import Stock

# The last four digits of a file's number.
_LINES = 10_000


@dataclass(frozen=True, slots=True)
class Counts:
    """How many messages a queue holds: to be taken, leased, waiting for their delay to end, and dead letters."""

    ready: int
    leased: int
    delayed: int
    dead: int


def count(stock: Stock) -> Counts:
    """Count; a file that a shell put there is one message until it is opened."""
    ledger = stock.ledger
    waiting = sum(key % _LINES or 1 for key in stock.index)
    keys, others = stock.shelf.scan(DEAD)
    dead = sum(key % _LINES for key in keys) + len(others)
    return Counts(ledger.ready + waiting, ledger.leased, ledger.hidden, dead)


def peek(stock: Stock, place: str, most: int) -> list[Message]:
    """Give the first messages of a place without taking them."""
    found: list[Message] = []
    if place != DEAD:
        for one in stock.ledger.lines(READY if place == READY_FOLDER else LEASED):
            if len(found) >= most:
                return found
            message = stock.message(one)
            held = stock.ledger.held.get(one) if place == LEASED_FOLDER else None
            if message is not None:
                found.append(message if held is None else replace(message, until=held.until, consumer=held.consumer))
    return found if place == LEASED_FOLDER else found + _read_ahead(stock, place, most - len(found))


def _read_ahead(stock: Stock, place: str, most: int) -> list[Message]:
    keys, others = stock.shelf.scan(place)
    found: list[Message] = []
    for key in heapq.nsmallest(most, [*keys, *others]):
        lines = stock.shelf.read(place, others.get(key) or name_of(key))
        some = enumerate(lines[: most - len(found)], pos_of(key))
        found += [decode(line, MIDDLE - rank_of(key), number) for number, line in some]
    return found


def purge(stock: Stock, *, dead: bool) -> int:
    """Remove the dead letters, or all other messages; gives their number."""
    place = DEAD if dead else READY_FOLDER
    keys, others = stock.shelf.scan(place)
    for key in (*keys, *others):
        stock.shelf.remove(place, others.get(key) or name_of(key))
    gone = sum(key % _LINES for key in keys) + len(others)
    if not dead:
        groups = stock.ledger.groups
        gone += sum(group.left for group in groups.values())
        stock.record(*[["x", key, list(range(len(group.states)))] for key, group in groups.items()])
        stock.flush(durably=True)
        stock.forget()
    stock.shelf.files.sync_folder(stock.shelf.places[place])
    return gone


def redrive(stock: Stock, most: int | None, now: float) -> int:
    """Move files of dead letters to the tail until there are `most` messages; gives their number."""
    shelf, moved = stock.shelf, 0
    for key in sorted(shelf.scan(DEAD)[0]):
        if most is not None and moved >= most:
            break
        lines = key % _LINES
        new = make_key(rank_of(key), shelf.numbers(lines, now), lines)
        shelf.files.rename(shelf.path(DEAD, name_of(key)), shelf.path(READY_FOLDER, name_of(new)))
        stock.add(new)
        moved += lines
    shelf.files.sync_folder(shelf.places[READY_FOLDER])
    return moved
