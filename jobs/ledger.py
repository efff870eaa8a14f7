"""Who holds which message: the part of a queue that is not said by where its files lie.

A file of messages that a receiver opened is a group; its lines are ready, leased or done, and this is the account of
them. It changes only by `apply`, one small record after the other, so whoever reads the same records, in another
process or after a crash, has the same account. It takes `now` and does no I/O.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, TypeAlias

from inboxd.jobs.message import Message, number_of

# ["o", key, lines, due, suffix]   a file was opened: its lines are ready, or hidden until `due`
# ["l", key, line, id, until, nonce, consumer, receives, first]     leased
# ["e", key, line, until]          extended
# ["r", key, line, pos]            ready again, at that place
# ["x", key, lines]                done: confirmed, or moved into another file
# ["b", key, folder, keys, staged, moved]
#                                  a staged file is to appear: `keys` are [key, id, digest] of its drafts, the last of
#                                  which may be missing, `moved` [key, lines] of what went into it; one record, for a
#                                  power cut must not take one half of it
Record: TypeAlias = list[Any]
Place: TypeAlias = tuple[int, int]  # the key of a group and the line in it

READY, LEASED, DONE = range(3)
# A file's name as one number: rank (4 digits), pos (16), lines (4).
_RANK, _POS = 10**20, 10**4
# So many keys of drafts are remembered; more than a daemon holds in its window.
KEYS = 10_000


def rank_of(key: int) -> int:
    """Give the rank of a file; lower goes first."""
    return key // _RANK


def pos_of(key: int) -> int:
    """Give the place of a file's first line in its queue: microseconds."""
    return key // _POS % 10**16


def make_key(rank: int, pos: int, lines: int) -> int:
    """Make the number that stands for a file."""
    return rank * _RANK + pos * _POS + lines


@dataclass(slots=True)
class Held:
    """What is known of a message that was received at least once since its file was opened."""

    id: str
    until: float
    nonce: str
    consumer: str | None
    receives: int
    first: float
    pos: int

    def told(self, message: Message) -> Message:
        """Give the message with what happened to it."""
        return replace(message, receives=self.receives, first=self.first)


@dataclass(slots=True)
class Group:
    """An opened file: its lines' states, how many are not done, and until when all are hidden."""

    states: bytearray
    left: int
    due: float | None
    suffix: str


@dataclass(slots=True)
class Ledger:
    """The account. `closed` are groups of which nothing is left, whose files may not have gone for good yet."""

    groups: dict[int, Group] = field(default_factory=dict)
    held: dict[Place, Held] = field(default_factory=dict)
    # Of what was received, by id and by number.
    places: dict[str | int, Place] = field(default_factory=dict)
    closed: dict[int, str] = field(default_factory=dict)
    # Of drafts, by their keys: the message's id, and the digest of what was asked for, if it had one.
    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    ready: int = 0
    leased: int = 0
    hidden: int = 0
    _closing: list[tuple[int, str]] = field(default_factory=list)
    _queue: list[tuple[int, int, Place]] = field(default_factory=list)
    _due: list[tuple[float, Place]] = field(default_factory=list)

    # -- changing -----------------------------------------------------------------------------------------------

    def apply(self, record: Record) -> None:
        """Change the account by one record; one about what is not there changes nothing."""
        match record:
            case ["o", int(key), int(lines), due, str(suffix)]:
                self._open(key, lines, due, suffix)
            case ["b", int(key), _, list(keys), _, list(moved)]:
                for number, lines in moved:
                    self.apply(["x", int(number), lines])
                # A file of that name lives anew; its writer sees to the old one.
                self.closed.pop(key, None)
                self._closing = [one for one in self._closing if one[0] != key]
                self._remember(keys)
            case ["x", int(key), list(lines)] if key in self.groups:
                for line in lines:
                    self._done(key, line)
                if not self.groups[key].left:
                    self.closed[key] = self.groups.pop(key).suffix
                    self._closing.append((key, self.closed[key]))
            case [str(_), int(key), int(line), *rest] if key in self.groups and line < len(self.groups[key].states):
                self._change(record[0], key, line, rest)
            case _:
                return

    def _open(self, key: int, lines: int, due: float | None, suffix: str) -> None:
        if key in self.groups:
            return
        self.closed.pop(key, None)
        self.groups[key] = Group(bytearray(lines), lines, due, suffix)
        if due is not None:
            self.hidden += lines
            heapq.heappush(self._due, (due, (key, -1)))
        else:
            self._show(key)

    def _show(self, key: int) -> None:
        rank, pos, group = rank_of(key), pos_of(key), self.groups[key]
        for line, state in enumerate(group.states):
            if state == READY:
                self.ready += 1
                heapq.heappush(self._queue, (rank, pos + line, (key, line)))

    def _remember(self, keys: Iterable[list[str]]) -> None:
        self.keys.update((key, (identifier, "".join(digest))) for key, identifier, *digest in keys)
        while len(self.keys) > KEYS:
            del self.keys[next(iter(self.keys))]

    def _change(self, what: str, key: int, line: int, rest: list[Any]) -> None:
        place = (key, line)
        match what, rest:
            case "l", [identifier, until, nonce, consumer, receives, first]:
                if self._reveal(key) and self.groups[key].states[line] == READY:
                    self._count(key, line, LEASED)
                    pos = pos_of(key) + line
                    self.held[place] = Held(identifier, until, nonce, consumer, receives, first, pos)
                    self.places[identifier] = self.places[number_of(identifier)] = place
                    heapq.heappush(self._due, (until, place))
            case "e", [until]:
                if self.groups[key].states[line] == LEASED:
                    self.held[place].until = until
                    heapq.heappush(self._due, (until, place))
            case "r", [pos]:
                if line < 0:
                    self._reveal(key)
                elif self.groups[key].states[line] == LEASED:
                    self._count(key, line, READY)
                    self.held[place].pos = pos
                    heapq.heappush(self._queue, (rank_of(key), pos, place))

    def _reveal(self, key: int) -> bool:
        """Let a hidden group be ready, if it was not."""
        group = self.groups[key]
        if group.due is not None:
            group.due = None
            self.hidden -= group.left
            self._show(key)
        return True

    def _count(self, key: int, line: int, state: int) -> None:
        group = self.groups[key]
        was = group.states[line]
        group.states[line] = state
        if group.due is not None:
            self.hidden -= 1
        else:
            self.ready += (state == READY) - (was == READY)
            self.leased += (state == LEASED) - (was == LEASED)

    def _done(self, key: int, line: int) -> None:
        group = self.groups[key]
        if line < len(group.states) and group.states[line] != DONE:
            self._count(key, line, DONE)
            group.left -= 1
            known = self.held.pop((key, line), None)
            if known is not None:
                self.places.pop(known.id, None)
                self.places.pop(number_of(known.id), None)

    def closing(self) -> list[tuple[int, str]]:
        """Take out the groups that were closed since the last call and not opened again, with their suffixes."""
        found = [(key, suffix) for key, suffix in self._closing if key not in self.groups]
        self._closing.clear()
        return found

    # -- looking ------------------------------------------------------------------------------------------------

    def head(self) -> tuple[int, int] | None:
        """Give rank and pos of the first message that is ready."""
        while self._queue:
            rank, pos, place = self._queue[0]
            if self._stands(pos, place):
                return rank, pos
            heapq.heappop(self._queue)
        return None

    def take(self) -> Place:
        """Take the first message that is ready off the list; there must be one, and a record must follow."""
        return heapq.heappop(self._queue)[2]

    def put_back(self, place: Place) -> None:
        """Undo `take`."""
        heapq.heappush(self._queue, (rank_of(place[0]), self._pos(place), place))

    def _pos(self, place: Place) -> int:
        known = self.held.get(place)
        return known.pos if known is not None else pos_of(place[0]) + place[1]

    def _stands(self, pos: int, place: Place) -> bool:
        group = self.groups.get(place[0])
        return group is not None and group.states[place[1]] == READY and self._pos(place) == pos

    def overdue(self, now: float) -> list[Place]:
        """Take out the leases and the hidden groups (line -1) whose time is up, in the order of their times."""
        found: list[Place] = []
        while self._due and self._due[0][0] <= now:
            until, place = heapq.heappop(self._due)
            if self._is_due(until, place):
                found.append(place)
        return found

    def next_due(self) -> float | None:
        """Tell when the next lease or delay ends."""
        while self._due:
            until, place = self._due[0]
            if self._is_due(until, place):
                return until
            heapq.heappop(self._due)
        return None

    def _is_due(self, until: float, place: Place) -> bool:
        group = self.groups.get(place[0])
        if group is None:
            return False
        if place[1] < 0:
            return group.due == until
        return group.states[place[1]] == LEASED and self.held[place].until == until

    def find(self, which: str | int) -> tuple[Place, Held] | None:
        """Give a leased message by its id or number."""
        place = self.places.get(which)
        if place is None or self.groups[place[0]].states[place[1]] != LEASED:
            return None
        return place, self.held[place]

    def spot(self, place: Place) -> tuple[int, int]:
        """Give rank and pos of a message."""
        return rank_of(place[0]), self._pos(place)

    def runs(self) -> Iterator[list[Place]]:
        """Give what is ready in order, as runs without a gap between their places."""
        ready = sorted((self.spot(place), place) for place in self.lines(READY))
        for _, run in groupby(enumerate(ready), lambda one: (one[1][0][0], one[1][0][1] - one[0])):
            yield [place for _, (_, place) in run]

    def lines(self, state: int) -> Iterator[Place]:
        """Give the lines in that state, group by group; those that are hidden are not ready."""
        for key, group in sorted(self.groups.items()):
            if state != READY or group.due is None:
                yield from ((key, line) for line, found in enumerate(group.states) if found == state)

    def snapshot(self) -> Iterator[Record]:
        """Give the fewest records that make this account from nothing."""
        yield ["b", 0, "", [[key, *known] for key, known in self.keys.items()], "", []]
        for key, group in self.groups.items():
            yield ["o", key, len(group.states), group.due, group.suffix]
            for line, state in enumerate(group.states):
                known = self.held.get((key, line))
                if known is not None:
                    told = [known.id, known.until, known.nonce, known.consumer, known.receives, known.first]
                    yield ["l", key, line, *told]
                    if state == READY:
                        yield ["r", key, line, known.pos]
            done = [line for line, state in enumerate(group.states) if state == DONE]
            if done:
                yield ["x", key, done]
