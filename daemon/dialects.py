"""Dialects: the HTTP interfaces of other queues and intake services, each a small table on the functions of the desk.

A client that was written for one of them needs no change but the address. Each speaks exactly as its original did,
also where ours would say it differently; what the original left open is answered as our own routes answer it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from inboxd.daemon.desk import Refused
from inboxd.daemon.gateway_http import Table, is_json, json_response, media_type, number, read, until_gone
from inboxd.daemon.gateway_jobs import Jobs
from inboxd.daemon.gateway_queues import LARGEST, LONGEST_LEASE, json_body
from inboxd.daemon.queuedesk import QueueDesk, QueueDesks
from inboxd.daemon.sqs import handle, patience
from inboxd.jobs.faults import Invalid
from inboxd.jobs.ids import uuid7
from inboxd.jobs.job import load
from inboxd.jobs.message import Draft, number_of
from inboxd.jobs.messages import MOST
from inboxd.jobs.units import duration

# A form, or a request for a callback.
SMALL = 64 * 1024
LARGEST_NUMBER = 2**53
# As wonderq's own paper prints it once, `?cid7`, and as everywhere else, `?cid=7`.
_CONSUMER = re.compile(r"(?:^|&)cid=?(-?\d{1,16})(?:&|$)")
Dialect = Callable[[Jobs, QueueDesks], Table]


def wq(_: Jobs, queues: QueueDesks) -> Table:
    """Speak WQ: a message is locked for its timeout, 1 s by default, and then goes to the end."""

    async def queue() -> QueueDesk:
        """Give the one queue that wq has."""
        return await queues.made("wq", lease=1.0, expired="tail")

    async def push(request: Request) -> Response:
        """Publish a message."""
        timeout = number(request, "timeout", 0, 1, LONGEST_LEASE * 1000) if "timeout" in request.query_params else None
        draft = Draft(await json_body(request), lease=None if timeout is None else timeout / 1000)
        (identifier,) = await (await queue()).publish([draft])
        return json_response({"messageID": identifier}, 201)

    async def pull(request: Request) -> Response:
        """Receive up to ten messages."""
        most = min(int(number(request, "amount", 10, 1, LARGEST_NUMBER)), MOST)
        messages = await (await queue()).receive(most)
        return json_response({"messages": [{"id": one.id, "body": one.body} for one in messages]})

    async def confirm(request: Request) -> Response:
        """Have done with a message."""
        if not await (await queue()).confirm(request.path_params["id"]):
            raise Refused(404, "no such message is taken; it is unknown, confirmed, or its timeout is over")
        return Response(status_code=204)

    return {"/": {"POST": push, "GET": pull}, "/{id}": {"PATCH": confirm}}


def wonderq(_: Jobs, queues: QueueDesks) -> Table:
    """Speak WonderQ: consumers have numbers, and only the one that holds a message can delete it."""

    async def queue() -> QueueDesk:
        """Give the one queue that wonderq has."""
        return await queues.made("wonderq")

    def consumer(request: Request) -> str:
        """Give the number of whoever asks."""
        match = _CONSUMER.search(request.url.query)
        if match is None:
            raise Refused(400, "cid: expected the consumer's number", field="cid")
        return match[1]

    async def publish(request: Request) -> Response:
        """Publish a message."""
        desk = await queue()
        draft = Draft(await json_body(request))
        (identifier,) = await desk.publish([draft])
        return json_response({"messageId": number_of(identifier)})

    async def consume(request: Request) -> Response:
        """Receive up to ten messages."""
        cid = consumer(request)
        most = min(int(number(request, "limit", 10, 1, LARGEST_NUMBER)), MOST)
        messages = await (await queue()).receive(most, consumer=cid)
        return json_response([{"id": one.number, "message": one.body} for one in messages])

    async def delete(request: Request) -> Response:
        """Have done with a message that this consumer holds."""
        cid = consumer(request)
        which = request.query_params.get("id", "")
        if not which.isascii() or not which.isdigit() or int(which) > LARGEST_NUMBER:
            raise Refused(400, "id: expected the message's number", field="id")
        return json_response(await (await queue()).confirm(int(which), cid))

    return {"/v1/publish": {"POST": publish}, "/v1/consumer": {"GET": consume, "DELETE": delete}}


def callback(jobs: Jobs, _: QueueDesks) -> Table:
    """Deliver what a provider, which is a named call or a URL, gives to a callback URL."""

    async def post(request: Request) -> Response:
        """Accept a call whose answer goes to the callback URL."""
        asked = _object(await read(request, SMALL))
        for field in ("provider", "callbackUrl"):
            if not isinstance(asked.get(field), str):
                raise Refused(400, f"{field}: expected a string", field=field)
        if unknown := asked.keys() - {"provider", "callbackUrl"}:
            raise Refused(400, f"{min(unknown)[:100]}: unknown; expected provider and callbackUrl", field=min(unknown))
        provider, identifier = asked["provider"], uuid7()
        what = {"url": provider} if "://" in provider else {"call": provider}
        # One after the other, so that what is wrong is told of the right one.
        jobs.check({"url": asked["callbackUrl"]}, "callbackUrl")
        jobs.check(what, "provider")
        await jobs.post_one({"id": identifier, **what, "callback": asked["callbackUrl"]})
        return json_response({"requestId": identifier}, 202)

    return {"/": {"POST": post}}


def sqs(_: Jobs, queues: QueueDesks) -> Table:
    """Speak the SQS protocol, AWS JSON 1.0; credentials are not looked at."""

    async def post(request: Request) -> Response:
        """Do one action; a receive waits for messages as long as it says."""
        said = load(await read(request, LARGEST))
        target = request.headers.get("x-amz-target", "")
        base = str(request.url.replace(query="", path=request.url.path.rpartition("/")[0]))
        until = asyncio.get_running_loop().time()
        held = await queues.with_all(patience, target, said)
        until += held[1] if held else 0.0
        while True:
            status, headers, answer = await queues.with_all(handle, target, said, base)
            left = until - asyncio.get_running_loop().time()
            if held is None or left <= 0 or status != HTTPStatus.OK or answer.get("Messages"):
                return json_response(answer, status, headers | {"x-amzn-requestid": uuid7()})
            await until_gone(request, queues.of(held[0]).poll(left))

    return {"/": {"POST": post}, "/{queue}": {"POST": post}}


def work(jobs: Jobs, queues: QueueDesks) -> Table:
    """Take a name and a delay: a name that is a call's is called, any other waits in the queue `work`."""

    async def post(request: Request) -> Response:
        """Accept a piece of work: a job, or a message in `work`."""
        body = await read(request, SMALL)
        asked = _object(body) if is_json(media_type(request)) else _form(body)
        name, delay = asked.get("name"), asked.get("delay")
        if not isinstance(name, str) or not name:
            raise Refused(400, "You must specify a name.", field="name")
        try:
            seconds = duration(delay)
        except ValueError:
            raise Refused(400, "You must specify a delay, such as 1s or 2m.", field="delay") from None
        if (key := jobs.key_of(name)) is not None:
            identifier = await jobs.post_one({"id": uuid7(), key: name, "delay": seconds})
        else:
            (identifier,) = await (await queues.made("work")).publish([Draft({"name": name}, delay=seconds)])
        return json_response({"id": identifier}, 201)

    return {"/work": {"POST": post}, **{path: jobs.table[path] for path in ("/jobs", "/jobs/{id}")}}


def _object(body: bytes) -> dict[str, Any]:
    try:
        asked = load(body)
    except Invalid as fault:
        raise Refused(400, str(fault), field="body") from None
    if not isinstance(asked, dict):
        raise Refused(400, "expected a JSON object", field="body")
    return asked


def _form(body: bytes) -> dict[str, Any]:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        raise Refused(400, "expected a form or JSON with name and delay", field="body") from None


DIALECTS: dict[str, Dialect] = {"wq": wq, "wonderq": wonderq, "callback": callback, "work": work, "sqs": sqs}
