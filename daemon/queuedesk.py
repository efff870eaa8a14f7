"""Message queues as the gateway uses them: many requests share one thread's turn and one flush of the disk.

What is asked of a queue in the same moment is done in one go, in the order in which it was asked, and then made durable
together. Whoever polls for messages waits on the loop; when some come, one is woken, and wakes the next if there are
more, so that a message does not wake hundreds for nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from inboxd.daemon.desk import Desk, Refused, key_reused
from inboxd.jobs.message import Draft, Message
from inboxd.jobs.messages import LONGEST_WAIT, KeyReused, MessageQueue, NotHeld, Publication, TooLarge, TooMany
from inboxd.jobs.queueerrors import QueueError
from inboxd.jobs.queues import NoQueue, Queues

_Result = TypeVar("_Result")
Deed = Callable[[MessageQueue], Any]

# Requests that may wait for one queue's turn.
WAITING = 5000
# What is done in one turn, so that the first does not wait for thousands behind it.
TOGETHER = 500
# Seconds after which who polls looks by himself: a shell may have put something there, or a lease have run out.
GLANCE = 1.0


class QueueDesk:
    """One queue. Its coroutines run on the gateway's loop."""

    def __init__(self, queue: MessageQueue, desk: Desk) -> None:
        self.queue = queue
        self._desk = desk
        self._loop = asyncio.get_running_loop()
        self._asked: deque[tuple[Deed, asyncio.Future[Any]]] = deque()
        self._turns: asyncio.Task[None] | None = None
        self._pollers: deque[asyncio.Event] = deque()
        queue.listen(self._came)

    async def do(self, deed: Callable[[MessageQueue], _Result]) -> _Result:
        """Have something done with the queue, and made durable. Raises Refused, and what `deed` raises."""
        if len(self._asked) >= WAITING:
            raise Refused(503, f"too many are asking {self.queue.name} at a time", retry_after=1)
        future: asyncio.Future[_Result] = self._loop.create_future()
        self._asked.append((deed, future))
        if self._turns is None or self._turns.done():
            self._turns = self._loop.create_task(self._take_turns())
        return await future

    async def _take_turns(self) -> None:
        while self._asked:
            group = [self._asked.popleft() for _ in range(min(len(self._asked), TOGETHER))]
            try:
                results = await self._desk.look(self._turn, [deed for deed, _ in group])
            except Exception as error:
                results = [error] * len(group)
            for (_, future), result in zip(group, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _turn(self, deeds: Sequence[Deed]) -> list[Any]:
        """Do what was asked, on a thread; then everything is durable."""
        results: list[Any] = []
        with self.queue.together():
            for deed in deeds:
                try:
                    results.append(deed(self.queue))
                except Exception as error:
                    results.append(error)
        self.queue.commit()
        return results

    # -- what can be asked ------------------------------------------------------------------------------------

    async def publish(self, drafts: Sequence[Draft]) -> list[str]:
        """Publish messages; gives their ids once they are durable. Raises Refused."""
        self._desk.check_room()
        try:
            publication: Publication = await self.do(lambda queue: queue.begin_publish(drafts))
            return publication.result()
        except TooLarge as error:
            raise Refused(413, str(error)) from None
        except KeyReused:
            raise key_reused() from None
        except ValueError as error:
            raise Refused(400, str(error)) from None
        except OSError as error:
            raise Refused(503, f"the disk refuses: {error.strerror}", retry_after=1) from None

    async def receive(
        self, most: int = 10, *, wait: float = 0.0, lease: float | None = None, consumer: str | None = None
    ) -> list[Message]:
        """Lease up to `most` messages; waits up to `wait` seconds for the first. Raises Refused."""
        until = self._loop.time() + min(wait, LONGEST_WAIT)

        def deed(queue: MessageQueue) -> list[Message]:
            return queue.receive(most, lease=lease, consumer=consumer)

        while True:
            try:
                found = await self.do(deed)
            except TooMany as error:
                raise Refused(429, str(error), retry_after=1) from None
            left = until - self._loop.time()
            if found:
                self._wake_one()
            if found or left <= 0 or self._desk.closing.is_set():
                return found
            await self.poll(left)

    async def confirm(self, which: str | int, consumer: str | None = None) -> bool:
        """Be done with a message, durably; False when it is not held, or by another consumer. Raises Refused."""
        try:
            await self.do(lambda queue: queue.begin_confirm(which, consumer=consumer))
        except NotHeld:
            return False
        return True

    # -- polling ------------------------------------------------------------------------------------------------

    async def poll(self, seconds: float) -> None:
        """Wait until there may be something to receive, for `seconds` at most, or a little less."""
        event = asyncio.Event()
        self._pollers.append(event)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(seconds, GLANCE)):
                    await event.wait()
        except BaseException:
            # Whoever was woken and is gone passes it on.
            if event.is_set():
                self._wake_one()
            raise
        finally:
            with suppress(ValueError):
                self._pollers.remove(event)

    def _came(self) -> None:
        """Take the queue's word, on any thread, that there may be something to receive."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._wake_one)

    def _wake_one(self) -> None:
        if self._pollers:
            self._pollers.popleft().set()


class QueueDesks:
    """All queues; each is opened when it is first asked for."""

    def __init__(self, queues: Queues, desk: Desk) -> None:
        self._queues = queues
        self._desk = desk
        self._open: dict[str, QueueDesk] = {}

    async def get(self, name: str) -> QueueDesk:
        """Give a queue that is there. Raises Refused."""
        return await self._of(self._queues.get, name)

    async def made(self, name: str, **said: Any) -> QueueDesk:
        """Give a queue, made with these settings if it is not there. Raises Refused."""

        def make(name: str) -> MessageQueue:
            return self._queues.create(name, **said)

        known = self._open.get(name)
        return known if known is not None else await self._of(make, name)

    async def _of(self, find: Callable[[str], MessageQueue], name: str) -> QueueDesk:
        try:
            queue = await self._desk.look(find, name)
        except NoQueue as error:
            raise Refused(404, str(error)) from None
        except (QueueError, ValueError) as error:
            raise Refused(400, str(error)) from None
        return self.of(queue)

    def of(self, queue: MessageQueue) -> QueueDesk:
        """Give what serves a queue that is open."""
        opened = self._open.get(queue.name)
        if opened is None or opened.queue is not queue:
            opened = self._open[queue.name] = QueueDesk(queue, self._desk)
        return opened

    async def with_all(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        """Have something done with all queues, on a thread. Raises Refused."""
        return await self._desk.look(function, self._queues, *arguments)

    async def names(self) -> list[str]:
        """Give the names of all queues. Raises Refused."""
        return await self._desk.look(self._queues.names)

    async def remove(self, name: str) -> None:
        """Remove a queue with all that it holds. Raises Refused."""
        try:
            await self._desk.look(self._queues.remove, name)
        except NoQueue as error:
            raise Refused(404, str(error)) from None
        self._open.pop(name, None)
