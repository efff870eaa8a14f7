"""The gateway's connections: uvicorn's protocol, with the bounds that keep slow and greedy clients harmless.

A head must come within seconds and a few kilobytes, and no more than so many connections are open at a time; whoever
is one too many is told so at once, instead of waiting in a queue that nobody sees.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

# Seconds from the first byte of a request, or from the connection, until its head is complete.
HEAD_TIME = 10.0
# Bytes of a head; a long URL and a cookie or two fit into a quarter of it.
HEAD_SIZE = 32 * 1024
# Bytes that are not worth being held back for more.
LARGE = 16 * 1024
# Stands in the scope of a request whose body had come before anybody asked for it.
WHOLE = "inboxd.whole"
# Seconds for which a connection that is refused stays open for its client to read why.
LINGER = 1.0

_CLOSE = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n"


def _short(status: bytes, text: bytes, headers: bytes = b"") -> bytes:
    length = str(len(text)).encode()
    return b"HTTP/1.1 " + status + b"\r\n" + _CLOSE + headers + b"content-length: " + length + b"\r\n\r\n" + text


_FULL = _short(b"503 Service Unavailable", b"too many connections\n", b"retry-after: 1\r\n")
_LATE = _short(b"408 Request Timeout", b"the request's head took too long\n")
_LARGE = _short(b"431 Request Header Fields Too Large", b"the request's head is too large\n")


class Joined:
    """A transport that writes together what is written in one turn of the loop.

    uvicorn writes an answer's head and its body one after the other, and for a short one the system call is the most of
    what that costs, to its reader too. What is large goes out at once.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Write, in a moment."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        if len(data) > LARGE:
            self._flush()

    def _flush(self) -> None:
        held, self._held = self._held, []
        if held and not self._transport.is_closing():
            self._transport.write(b"".join(held))

    def write_eof(self) -> None:
        """Write no more after this."""
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Close, once all is written."""
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        # All else is the transport's own business.
        return getattr(self._transport, name)


def respond(cycle: RequestResponseCycle, status: int, head: bytes, body: bytes) -> None:
    """Answer a request as a whole and at once; `head` are its lines, but for those that are the connection's."""
    if cycle.disconnected:
        return
    lines = [STATUS_LINE[status], *(b"%b: %b\r\n" % header for header in cycle.default_headers), head]
    if not cycle.keep_alive:
        lines.append(b"connection: close\r\n")
    cycle.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (b"".join(lines), len(body), body))
    cycle.response_started = cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `most` counts for all of one server."""

    most = 2000
    # Answers by itself what it can, and says whether it will; all else goes to the application. It is asked once the
    # body is here.
    short: Callable[[RequestResponseCycle], bool] | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_size = 0
        self._trailer_size = 0
        self._in_head = True
        self._ending = False
        self._head_timer: asyncio.TimerHandle | None = None
        # A request whose body may come with this piece.
        self._reading = False
        self._begun: tuple[RequestResponseCycle, ASGI3Application] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take a connection in, or refuse it."""
        super().connection_made(cast(asyncio.Transport, Joined(transport, self.loop)))
        if len(self.connections) > self.most:
            self.connections.discard(self)
            self._end(_FULL)
            return
        self._head_timer = self.loop.call_later(HEAD_TIME, self._end, _LATE)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, within bounds."""
        if self._ending or self.transport.is_closing():
            return
        if self._in_head:
            self._head_size += len(data)
        self._reading = True
        super().data_received(data)
        self._reading = False
        if self._begun is not None:
            begun, self._begun = self._begun, None
            self._start_asgi_task(*begun)
        # A body may have come along with its head; only a head that is still open has grown too large.
        if (self._in_head and self._head_size > HEAD_SIZE) or self._trailer_size > HEAD_SIZE:
            self._end(_LARGE)
        elif self._in_head and self._head_timer is None:
            # Most come whole, and a timer costs as much as a look at a header.
            self._head_timer = self.loop.call_later(HEAD_TIME, self._end, _LATE)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Serve a request, the short way if it is one for that."""
        if self.short is None:
            super()._start_asgi_task(cycle, app)
        elif self._reading:
            self._begun = cycle, app
        elif cycle.more_body or cycle.flow.write_paused or not self.short(cycle):
            super()._start_asgi_task(cycle, app)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer behind a chunked body."""
        if not self._in_head:
            self._trailer_size += len(name) + len(value)
        super().on_header(name, value)

    def on_message_begin(self) -> None:
        """Begin to read a head."""
        super().on_message_begin()
        self._in_head = True
        # Of the piece that it begins in, one read of the socket, we do not know how much belongs to it.
        self._head_size = self._trailer_size = 0

    def on_headers_complete(self) -> None:
        """Leave the head behind."""
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Take note that all of a request is here."""
        super().on_message_complete()
        cast("dict[str, object]", self.scope)[WHOLE] = True

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end(self, last_words: bytes) -> None:
        """Say why, and close a moment later: closed at once, with something unread, the words would get lost."""
        self._stop_timer()
        if self._ending or self.transport.is_closing():
            return
        self._ending = True
        self.transport.write(last_words)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER, self.transport.close)

    def eof_received(self) -> None:
        """Take note that nothing more comes."""
        if self._ending:
            self.transport.close()
