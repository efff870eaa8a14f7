"""The desk: what can be asked of the spool over HTTP, as coroutines, whatever dialect is spoken.

Every route of the gateway stands on these few functions. None of them keeps the loop from others: what touches the
disk is done by threads, of which there are few, and whoever would have to wait for one too long is refused at once.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

from inboxd.daemon import names
from inboxd.daemon.accepted import Backlog, Known
from inboxd.daemon.collection import Collection
from inboxd.daemon.entrance import First
from inboxd.daemon.postbox import Key, Letter, Parcel, Postbox
from inboxd.daemon.posted import Taken
from inboxd.daemon.spool import Spool
from inboxd.daemon.whereabouts import Found, Whereabouts
from inboxd.jobs.result import Answer

_Result = TypeVar("_Result")

# Threads that look at the disk, and how many may ask for one at a time.
LOOKERS = 4
LOOKING = 500
# Seconds between two looks at how much of the disk is free.
FREE_LOOK = 0.5
# What a client is told that came when there was no room.
RETRY_AFTER = 1
# Seconds that a request waits for an answer at most, whatever it prefers.
LONGEST_WAIT = 60.0


class Refused(Exception):
    """A request that cannot be served; the HTTP status, why in words, and the seconds after which it may be again.

    `title` makes it a problem in the form of RFC 9457, where a standard asks for that.
    """

    def __init__(
        self,
        status: int,
        why: str,
        *,
        retry_after: int | None = None,
        field: str | None = None,
        title: str | None = None,
    ) -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        self.retry_after = retry_after
        self.field = field
        self.title = title


def no_room(why: str, status: int = 503) -> Refused:
    """Make the refusal of what may be tried again soon."""
    return Refused(status, why, retry_after=RETRY_AFTER)


def key_reused() -> Refused:
    """Make the refusal of a key that comes with something else than before (draft-ietf-httpapi-idempotency-key)."""
    why = "this Idempotency-Key, or id, was used for something else before; send the same, or take another key"
    return Refused(422, why, title="Idempotency-Key is already used")


def _set(decided: asyncio.Future[None], _: Parcel) -> None:
    # Whoever asked may be gone.
    if not decided.done():
        decided.set_result(None)


class Desk:
    """What HTTP can ask of one spool. Its coroutines run on the gateway's loop.

    Of the disk's bytes `min_free` stay free; `backlog` is of jobs.
    """

    def __init__(
        self, spool: Spool, postbox: Postbox, whereabouts: Whereabouts, *, min_free: int, backlog: int
    ) -> None:
        self._spool = spool
        self._postbox = postbox
        self._collection = Collection(postbox.send)
        self._whereabouts = whereabouts
        self._min_free = min_free
        self.backlog = Backlog(backlog)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = ThreadPoolExecutor(LOOKERS, thread_name_prefix="look")
        self._looking = 0
        self._waiters: dict[str, set[asyncio.Event]] = {}
        # Places of jobs that were answered; the loop is woken once for all that come meanwhile.
        self._answered: deque[str] = deque()
        self._woken = False
        self._has_space = (0.0, True)
        # Set when everything stops: from then on nobody waits for anything.
        self.closing = asyncio.Event()
        self._known = Known(partial(self.look, whereabouts.known))

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to serve the coroutines of `loop`, on it."""
        self._loop = loop
        # What was answered before there was a loop to be woken.
        self._tell()

    def end_waits(self) -> None:
        """Let all who wait for an answer have what there is; on the loop."""
        self.closing.set()
        for events in self._waiters.values():
            for event in events:
                event.set()

    def close(self) -> None:
        """Serve nobody any more."""
        self._loop = None
        self._threads.shutdown(wait=False, cancel_futures=True)

    # -- jobs in ----------------------------------------------------------------------------------------------

    async def post(self, letters: list[Letter]) -> None:
        """Accept jobs, durably, all or none of them; then each has its id. Raises Refused."""
        self.check_room()
        fresh = await self._unknown(letters) if any(letter.place for letter in letters) else letters
        if not fresh:
            return
        decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        parcel = Parcel(fresh, partial(_set, decided))
        self.put(parcel)
        await decided
        if parcel.error is not None:
            raise no_room(parcel.error)
        if any(letter.clash for letter in fresh):
            raise key_reused()

    def put(self, parcel: Parcel) -> None:
        """Accept jobs that are not known yet; `parcel.decided` is called when that is done. Raises Refused."""
        if not self.backlog.has_room(parcel.letters):
            raise no_room(f"{len(self.backlog)} jobs wait for their answers already", 429)
        if not self._postbox.post(parcel):
            raise no_room("the disk is behind")
        self._collection.posted(asyncio.get_running_loop())

    async def _unknown(self, letters: list[Letter]) -> list[Letter]:
        """Mark those that came before, and give the others. Raises Refused when something else came before."""
        keys = {key for letter in letters for key in letter.keys}
        wanted = {letter.name for letter in letters if letter.place} | {key.name for key in keys}
        # On its way from active/ to outbox/ a job is seen in neither; it has no answer yet when it sets out.
        open_now = {name for name in wanted if name in self.backlog}
        known = open_now | (await self._known.among(wanted - open_now) if wanted - open_now else set())
        await self._check([key for key in keys if key.name in known])
        for letter in letters:
            letter.known = letter.name in known
        return [letter for letter in letters if not letter.known]

    async def drop(self, filename: str, path: str, key: Key | None) -> bool:
        """Put a file that was written into the inbox, durably; tells whether it was known. Raises Refused."""
        self.check_room()
        name = os.path.splitext(filename)[0]
        known = await self._known.among({name} if key is None else {name, key.name})
        if known:
            await self._check([] if key is None else [key])
            self._spool.discard_written([path])
            return True
        firsts = {} if key is None else {key.name: First(key.digest, (name,))}
        return bool(await self.look(self._spool.drop_written, {filename: path}, self._spool.staged, firsts))

    async def _check(self, known: list[Key]) -> None:
        """Raise Refused when one of these keys, which were used before, was used for something else."""
        if known and any(await self.look(lambda: [self._postbox.clashes(key) for key in known])):
            raise key_reused()

    def check_room(self) -> None:
        """Raise Refused when the disk is too full to accept anything."""
        now = time.monotonic()
        if now >= self._has_space[0]:
            self._has_space = (now + FREE_LOOK, self._spool.free_bytes() >= self._min_free)
        if not self._has_space[1]:
            raise no_room("the disk is full: less than min_free is left")

    def delivered(self, group: list[Parcel]) -> None:
        """Take the word of the postbox, on its thread, that the fate of these parcels is decided."""

        def tell() -> None:
            for parcel in group:
                if parcel.error is None:
                    self.backlog.add(parcel.letters)
                parcel.decided(parcel)

        self._call_soon(tell)

    # -- answers out ------------------------------------------------------------------------------------------

    def answered(self, name: str, line: int | None, _: Answer | bytes) -> None:
        """Take the word of the outbox, on its thread, that a job has its answer."""
        if names.is_posted(name) or self._waiters:
            self._answered.append(names.place_of(name, line))
            if not self._woken:
                self._woken = True
                self._call_soon(self._tell)

    def _tell(self) -> None:
        self._woken = False
        while self._answered:
            place = self._answered.popleft()
            if names.is_posted(place):
                self.backlog.remove(place)
            for event in self._waiters.get(place, ()):
                event.set()

    def _call_soon(self, function: Callable[[], None]) -> None:
        if self._loop is not None:
            # A loop that was closed in this moment has nobody left to tell.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(function)

    async def find(self, identifier: str, wait: float = 0.0) -> Found | None:
        """Find a job; if it has no answer yet, wait for that up to `wait` seconds. Raises Refused."""
        if wait <= 0 or self.closing.is_set():
            return await self.look(self._whereabouts.find, identifier)
        with self._waiting(identifier) as event:
            found = await self.look(self._whereabouts.find, identifier)
            if found is None or found.answer is not None:
                return found
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait, LONGEST_WAIT)):
                    await event.wait()
            return await self.look(self._whereabouts.find, identifier)

    @contextmanager
    def _waiting(self, identifier: str) -> Iterator[asyncio.Event]:
        """Give what is set when the job has its answer."""
        event = asyncio.Event()
        places = names.places(identifier)
        for place in places:
            self._waiters.setdefault(place, set()).add(event)
        try:
            yield event
        finally:
            for place in places:
                self._waiters[place].discard(event)
                if not self._waiters[place]:
                    del self._waiters[place]

    async def cancel(self, identifier: str) -> Taken | None:
        """Take a job back; gives what came of that, or None when nobody knows it. Raises Refused."""
        try:
            return await self.look(self._whereabouts.cancel, identifier)
        except TimeoutError as error:
            raise no_room(str(error)) from None

    async def answer(self, name: str) -> bytes | None:
        """Give the latest answer of that name. Raises Refused."""
        return await self.look(self._whereabouts.answer, name)

    async def body(self, name: str) -> str | None:
        """Give the path of the body of the latest answer of that name. Raises Refused."""
        return await self.look(self._whereabouts.body, name)

    async def look(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        """Have something done by one of the few threads that touch the disk. Raises Refused when too many ask."""
        if self._looking >= LOOKING:
            raise no_room("too many are asking at a time")
        self._looking += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *arguments))
        except OSError as error:
            raise no_room(f"the disk refuses: {error.strerror}") from None
        finally:
            self._looking -= 1
