"""Reading requests within bounds, and writing answers: what the routes of all dialects share."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from inboxd.daemon.desk import LONGEST_WAIT, Refused
from inboxd.daemon.gateway_door import HEADERS
from inboxd.daemon.gateway_wire import WHOLE
from inboxd.jobs.faults import Invalid

log = logging.getLogger("inboxd.gateway")

_Result = TypeVar("_Result")
Handler = Callable[[Request], Awaitable[Response]]

# A body gets this many seconds, and one more for each so many bytes that came: whoever drips ties up nothing for long.
BODY_TIME = 30.0
BYTES_A_SECOND = 4096
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])", re.IGNORECASE)
JSON = "application/json"
PROBLEM = "application/problem+json"
BOM = b"\xef\xbb\xbf"


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with JSON; bytes are JSON already."""
    try:
        body = value if isinstance(value, bytes) else orjson.dumps(value)
    except TypeError:
        # A whole number beyond 64 bits, which is JSON too.
        body = json.dumps(value).encode()
    return Response(body, status, headers, JSON)


def refusal(refused: Refused | Invalid) -> Response:
    """Answer a request that cannot be served."""
    if isinstance(refused, Invalid):
        return json_response({"error": str(refused)}, 400)
    said: dict[str, Any] = {"error": refused.why} | ({"field": refused.field} if refused.field else {})
    headers = {"retry-after": str(refused.retry_after)} if refused.retry_after is not None else {}
    if refused.status == 413:  # noqa: PLR2004  # the status is its own name
        # The rest of the body is not read.
        headers["connection"] = "close"
    response = json_response(said, refused.status, headers)
    if refused.title is not None:
        problem = {"title": refused.title, "status": refused.status, "detail": refused.why, **said}
        response = Response(orjson.dumps(problem), refused.status, headers, PROBLEM)
    return response


class Endpoint:
    """What is served at one path: for each method a function, which may raise Refused or Invalid instead of answering.

    It is an ASGI application of its own; starlette's layers for the same cost a third of a short request.
    """

    def __init__(self, methods: Mapping[str, Handler]) -> None:
        self.methods = dict(methods)
        if "GET" in methods:
            self.methods.setdefault("HEAD", methods["GET"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        handler = self.methods.get(scope["method"])
        if handler is None:
            allow = {"allow": ", ".join(sorted(self.methods))}
            status = 405 if self.methods else 404
            response = json_response({"error": HTTPStatus(status).phrase}, status, allow if self.methods else {})
        else:
            response = await self._answer(handler, Request(scope, receive, send))
        await response(scope, receive, send)

    @staticmethod
    async def _answer(handler: Handler, request: Request) -> Response:
        try:
            return await handler(request)
        except (Refused, Invalid) as error:
            return refusal(error)
        except ClientDisconnect:
            # Nobody reads it.
            return Response(status_code=400)
        except Exception:
            log.exception("internal error in the gateway", extra={"fields": {"path": request.url.path}})
            return json_response({"error": "internal error; see the log"}, 500)


def header(request: Request, name: str) -> str | None:
    """Give a header, whose name is in lower case."""
    found: str | None = request.scope[HEADERS].get(name)
    return found


NOTHING = Endpoint({})
Table = Mapping[str, Mapping[str, Handler]]


def application(table: Table) -> ASGIApp:
    """Make an application of a table: for each path and method a function; everything else is answered with 404.

    A path without parameters is looked up. The router tries one route after the other, which costs as much as all else
    that we do to accept a job.
    """
    endpoints = {path: Endpoint(methods) for path, methods in table.items()}
    patterns = [Route(path, endpoint) for path, endpoint in endpoints.items() if "{" in path]
    router = Router(patterns, redirect_slashes=False, default=NOTHING)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await endpoints.get(scope["path"], router)(scope, receive, send)

    return app


async def chunks(request: Request, limit: int) -> AsyncIterator[bytes]:
    """Read a body piece by piece; raises Refused when it is larger than `limit` bytes, or too slow."""
    try:
        promised = int(header(request, "content-length") or 0)
    except ValueError:
        raise Refused(400, "Content-Length: expected a number of bytes") from None
    if promised > limit:
        raise _too_large(limit)
    size, loop = 0, asyncio.get_running_loop()
    began, more = loop.time(), True
    while more:
        try:
            async with asyncio.timeout_at(began + BODY_TIME + size / BYTES_A_SECOND):
                message = await request.receive()
        except TimeoutError:
            raise Refused(408, "the body came too slowly") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        if chunk:
            yield chunk


def _too_large(limit: int) -> Refused:
    return Refused(413, f"the body is larger than {limit} bytes")


async def read(request: Request, limit: int) -> bytes:
    """Read a whole body of at most `limit` bytes. Raises Refused."""
    if WHOLE not in request.scope:
        return b"".join([chunk async for chunk in chunks(request, limit)])
    # Of a body that is here nobody need watch how slowly it comes.
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    body: bytes = message.get("body", b"")
    if len(body) > limit:
        raise _too_large(limit)
    return body


def media_type(request: Request) -> str:
    """Give the type of the body, lower case and without parameters."""
    return plain_type(header(request, "content-type") or "")


def plain_type(said: str) -> str:
    """Give the media type that a Content-Type names, lower case and without parameters."""
    return said.partition(";")[0].strip().lower()


def is_json(kind: str) -> bool:
    """Tell whether a media type is JSON (RFC 6839 3.1)."""
    return kind == JSON or kind.endswith("+json")


def preferred_wait(request: Request) -> float:
    """Give the seconds that a client prefers to wait (RFC 7240 4.3), at most the longest that we hold a request."""
    prefer = header(request, "prefer")
    match = _WAIT.search(prefer) if prefer else None
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
