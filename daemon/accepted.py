"""What the desk remembers of the jobs that it accepted: how many have no answer yet, and whether one came before."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet

from inboxd.daemon.postbox import Letter

# Answers that are remembered in case they come before we know of their jobs.
EARLY = 1000


class Backlog:
    """The jobs accepted here and not yet answered: at most `most`, and of one lane as many as are left for others."""

    def __init__(self, most: int) -> None:
        self._most = most
        # By place, the lane.
        self._open: dict[str, str] = {}
        self._held: Counter[str] = Counter()
        # An answer may be there before we are told that its job is.
        self._early: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, place: object) -> bool:
        return place in self._open

    def has_room(self, letters: list[Letter]) -> bool:
        """Tell whether so many more may come; a long list is taken by an empty desk, whatever its length."""
        free = self._most - len(self._open)
        if len(letters) == 1:
            # A job at a time is how most come, and a Counter costs as much as its check.
            return not self._open or self._held[letters[0].lane or ""] < free
        wanted = Counter(letter.lane or "" for letter in letters)
        return not self._open or all(self._held[lane] + count <= free for lane, count in wanted.items())

    def add(self, letters: list[Letter]) -> None:
        """Take note of jobs that were accepted."""
        for letter in letters:
            lane = letter.lane or ""
            if not letter.known and letter.place not in self._open and letter.place not in self._early:
                self._open[letter.place] = lane
                self._held[lane] += 1

    def remove(self, place: str) -> None:
        """Take note of an answer; that of a job which came in an earlier run is none of ours."""
        lane = self._open.pop(place, None)
        if lane is None:
            self._early[place] = None
            if len(self._early) > EARLY:
                del self._early[next(iter(self._early))]
        else:
            self._held[lane] -= 1


class Known:
    """Tells which jobs are known by name; all who ask while a look is under way share the next.

    `look` has the folders looked into for many names at once.
    """

    def __init__(self, look: Callable[[frozenset[str]], Awaitable[set[str]]]) -> None:
        self._look = look
        self._asked: dict[str, asyncio.Future[bool]] = {}
        self._turns: asyncio.Task[None] | None = None

    async def among(self, wanted: AbstractSet[str]) -> set[str]:
        """Give those of the names that are known. Raises Refused."""
        loop = asyncio.get_running_loop()
        futures = {name: self._asked.setdefault(name, loop.create_future()) for name in wanted}
        if self._turns is None or self._turns.done():
            self._turns = loop.create_task(self._run())
        return {name for name, future in futures.items() if await asyncio.shield(future)}

    async def _run(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            try:
                known = await self._look(frozenset(asked))
            except Exception as error:
                for future in asked.values():
                    future.set_exception(error)
                    # Whoever asked may be gone by now, and nobody else is to be told.
                    future.exception()
            else:
                for name, future in asked.items():
                    future.set_result(name in known)
