"""Reading requests within bounds, and writing answers: what the routes of all dialects share."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from inboxd.daemon.desk import LONGEST_WAIT, Refused
from inboxd.jobs.faults import Invalid

_Result = TypeVar("_Result")
Handler = Callable[[Request], Awaitable[Response]]

# A body gets this many seconds, and one more for each so many bytes that came: whoever drips ties up nothing for long.
BODY_TIME = 30.0
BYTES_A_SECOND = 4096
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])", re.IGNORECASE)
JSON = "application/json"


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with JSON; bytes are JSON already."""
    body = value if isinstance(value, bytes) else orjson.dumps(value)
    return Response(body, status, headers, JSON)


def refusal(refused: Refused) -> Response:
    """Answer a request that cannot be served."""
    said = {"error": refused.why} | ({"field": refused.field} if refused.field else {})
    headers = {"retry-after": str(refused.retry_after)} if refused.retry_after is not None else {}
    if refused.status == 413:  # noqa: PLR2004  # the status is its own name
        # The rest of the body is not read.
        headers["connection"] = "close"
    return json_response(said, refused.status, headers)


def speaks(handler: Handler) -> Handler:
    """Let a route raise Refused or Invalid, and have it cut off when its client is gone."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except Refused as refused:
            return refusal(refused)
        except Invalid as fault:
            return json_response({"error": str(fault)}, 400)
        except ClientDisconnect:
            return Response(status_code=400)

    return handle


async def told_otherwise(_: Request, error: Exception) -> Response:
    """Answer what no route takes, as JSON: not found, method not allowed."""
    assert isinstance(error, HTTPException)
    return json_response({"error": error.detail}, error.status_code, dict(error.headers or {}))


async def chunks(request: Request, limit: int) -> AsyncIterator[bytes]:
    """Read a body piece by piece; raises Refused when it is larger than `limit` bytes, or too slow."""
    try:
        promised = int(request.headers.get("content-length", 0))
    except ValueError:
        raise Refused(400, "Content-Length: expected a number of bytes") from None
    if promised > limit:
        raise _too_large(limit)
    size, loop = 0, asyncio.get_running_loop()
    began = loop.time()
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout_at(began + BODY_TIME + size / BYTES_A_SECOND):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise Refused(408, "the body came too slowly") from None
        if chunk is None:
            return
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        if chunk:
            yield chunk


def _too_large(limit: int) -> Refused:
    return Refused(413, f"the body is larger than {limit} bytes")


async def read(request: Request, limit: int) -> bytes:
    """Read a whole body of at most `limit` bytes. Raises Refused."""
    return b"".join([chunk async for chunk in chunks(request, limit)])


def media_type(request: Request) -> str:
    """Give the type of the body, lower case and without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_json(kind: str) -> bool:
    """Tell whether a media type is JSON (RFC 6839 3.1)."""
    return kind == JSON or kind.endswith("+json")


def preferred_wait(request: Request) -> float:
    """Give the seconds that a client prefers to wait (RFC 7240 4.3), at most the longest that we hold a request."""
    match = _WAIT.search(request.headers.get("prefer", ""))
    return min(float(match[1]), LONGEST_WAIT) if match else 0.0


async def until_gone(request: Request, work: Coroutine[Any, Any, _Result]) -> _Result:
    """Give what `work` comes to, and give it up when the client goes away; raises ClientDisconnect then."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def number(request: Request, name: str, default: float, low: float, high: float) -> float:
    """Read a number of the query; raises Refused when it is none between `low` and `high`."""
    text = request.query_params.get(name)
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = high + 1
    if not low <= value <= high:
        raise Refused(400, f"{name}: expected a number between {low:g} and {high:g}", field=name)
    return value
