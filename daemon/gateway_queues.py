"""Message queues over HTTP, as resources: `/queues/Q/…`.

A message is any JSON. What was published or confirmed is durable when the answer comes; who receives a message has it
for the time of its lease, and afterwards somebody else will.
"""

from __future__ import annotations

from dataclasses import asdict
from hashlib import sha256
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from inboxd.daemon.desk import Refused
from inboxd.daemon.gateway_http import BOM, Table, json_response, number, preferred_wait, read, until_gone
from inboxd.daemon.queuedesk import QueueDesk, QueueDesks
from inboxd.jobs.job import load
from inboxd.jobs.message import Draft
from inboxd.jobs.messages import LONGEST_WAIT, MOST, NotHeld

# A message may be hidden, or held, for twelve hours at a time, as with SQS.
LONGEST_LEASE = 12 * 3600.0
# A message's own bound is its queue's.
LARGEST = 64 * 1024 * 1024
SETTINGS = 64 * 1024


class QueueRoutes:
    """The routes."""

    def __init__(self, queues: QueueDesks) -> None:
        self._queues = queues
        self.table: Table = {
            "/queues": {"GET": self.list},
            "/queues/{queue}": {"GET": self.show, "PUT": self.make, "DELETE": self.remove},
            "/queues/{queue}/messages": {"POST": self.publish, "GET": self.peek, "DELETE": self.purge},
            "/queues/{queue}/receive": {"POST": self.receive},
            "/queues/{queue}/messages/{id}": {"PATCH": self.extend, "DELETE": self.confirm},
            "/queues/{queue}/redrive": {"POST": self.redrive},
        }

    async def _queue(self, request: Request) -> QueueDesk:
        return await self._queues.get(request.path_params["queue"])

    # -- queues -----------------------------------------------------------------------------------------------

    async def list(self, _: Request) -> Response:
        """Name all queues."""
        return json_response({"queues": await self._queues.names()})

    async def show(self, request: Request) -> Response:
        """Say how many messages a queue holds, and how it treats them."""
        return json_response(await self._shown(await self._queue(request)))

    async def make(self, request: Request) -> Response:
        """Make a queue, with settings if there is a body; one that is there stays as it is."""
        body = await read(request, SETTINGS)
        said = load(body) if body else {}
        if not isinstance(said, dict):
            raise Refused(400, 'expected an object of settings, such as {"lease": "30s"}')
        return json_response(await self._shown(await self._queues.made(request.path_params["queue"], **said)))

    async def _shown(self, desk: QueueDesk) -> dict[str, Any]:
        counts = await desk.do(lambda queue: queue.counts())
        return {"name": desk.queue.name, **asdict(counts), "settings": desk.queue.settings.model_dump()}

    async def remove(self, request: Request) -> Response:
        """Remove a queue with all its messages."""
        await self._queues.remove(request.path_params["queue"])
        return Response(status_code=204)

    # -- messages ---------------------------------------------------------------------------------------------

    async def publish(self, request: Request) -> Response:
        """Publish the body, any JSON, as one message."""
        desk = await self._queue(request)
        body = await json_line(request)
        priority = int(number(request, "priority", 0, -1000, 1000))
        delay, lease = number(request, "delay", 0, 0, LONGEST_LEASE), _lease(request)
        key = request.headers.get("idempotency-key")
        digest = "" if key is None else sha256(f"{priority} {delay} {lease} ".encode() + body).hexdigest()
        draft = Draft(orjson.Fragment(body), priority, delay, lease, key=key, digest=digest)
        (identifier,) = await desk.publish([draft])
        return json_response({"id": identifier}, 201)

    async def receive(self, request: Request) -> Response:
        """Lease messages; waits for the first as long as `wait`, or the preference, says."""
        desk = await self._queue(request)
        wait = number(request, "wait", preferred_wait(request), 0, 60)
        most = int(number(request, "amount", 10, 1, MOST))
        consumer = request.query_params.get("consumer")
        work = desk.receive(most, wait=min(wait, LONGEST_WAIT), lease=_lease(request), consumer=consumer)
        messages = await (until_gone(request, work) if wait else work)
        return json_response({"messages": [message.to_dict() for message in messages]})

    async def confirm(self, request: Request) -> Response:
        """Be done with a message, which is named by its receipt, id or number."""
        desk = await self._queue(request)
        which = request.path_params["id"]
        if not await desk.confirm(which, request.query_params.get("consumer")):
            raise Refused(404, f"{which[:100]} is not leased, or to somebody else")
        return Response(status_code=204)

    async def extend(self, request: Request) -> Response:
        """Let a lease end so many seconds from now; 0 gives the message back at once."""
        desk = await self._queue(request)
        which, consumer = request.path_params["id"], request.query_params.get("consumer")
        lease = number(request, "lease", 0, 0, LONGEST_LEASE)
        try:
            if lease:
                await desk.do(lambda queue: queue.extend(which, lease, consumer=consumer))
            else:
                await desk.do(lambda queue: queue.release(which, consumer=consumer))
        except NotHeld as error:
            raise Refused(404, str(error)) from None
        return Response(status_code=204)

    async def peek(self, request: Request) -> Response:
        """Show messages without taking them: those that are ready, leased or dead."""
        desk = await self._queue(request)
        most, place = int(number(request, "amount", 10, 1, MOST)), request.query_params.get("in", "ready")
        if place not in {"ready", "leased", "dead"}:
            raise Refused(400, "in: expected ready, leased or dead", field="in")
        messages = await desk.do(lambda queue: queue.peek(most, place))
        return json_response({"messages": [message.to_dict() for message in messages]})

    async def purge(self, request: Request) -> Response:
        """Remove all messages but the dead letters, or those with `in=dead`."""
        desk = await self._queue(request)
        dead = request.query_params.get("in") == "dead"
        await desk.do(lambda queue: queue.purge(dead=dead))
        return Response(status_code=204)

    async def redrive(self, request: Request) -> Response:
        """Bring dead letters back."""
        desk = await self._queue(request)
        return json_response({"moved": await desk.do(lambda queue: queue.redrive())})


def _lease(request: Request) -> float | None:
    """Read a lease of this request's own, in seconds."""
    return number(request, "lease", 0, 0, LONGEST_LEASE) if "lease" in request.query_params else None


async def json_body(request: Request) -> orjson.Fragment:
    """Read a body that is any JSON, strictly, as what can stand in a message. Raises Refused and Invalid."""
    return orjson.Fragment(await json_line(request))


async def json_line(request: Request) -> bytes:
    """Read a body that is any JSON, strictly; gives it as it stood there, on one line. Raises Refused and Invalid."""
    body = (await read(request, LARGEST)).removeprefix(BOM).strip()
    load(body)
    return body.translate(bytes.maketrans(b"\r\n", b"  "))
