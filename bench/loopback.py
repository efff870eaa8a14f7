"""A small fast HTTP server on loopback, to be run as a process of its own: `python -m bench.loopback [PORT]`.

It prints its port, answers until its standard input ends, and remembers every call: when it came, with which
Idempotency-Key, for which path. The first part of the path says what it does:

    /ok/…?ms=25      200 after so many milliseconds (at once when absent)
    /drip-head/…     a header that comes byte by byte and never ends; /drip-body/… a body that does
    /huge/…          a body of 1 GiB; /endless/… one without an end
    /-/calls         what was seen so far: a line `seconds key path` for each call, by the machine's monotonic clock
    /-/ends          a line `seconds bytes path` for each drip or huge body: how long it went on, what was sent
"""

import asyncio
import contextlib
import sys
import time
from urllib.parse import parse_qs, urlsplit

OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{"ok": true}'
CHUNK = b"x" * 65536
HUGE = 1 << 30
DRIP = 0.05
STREAMS = ("drip-head", "drip-body", "huge", "endless")


class Calls:
    """What was seen so far."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.ends: list[str] = []


class Connection(asyncio.Protocol):
    """One connection. Requests come one after the other, as curl sends them."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._data = b""
        self._stream: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note where answers go."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _exc: Exception | None) -> None:
        """End the answer that is under way."""
        if self._stream is not None:
            self._stream.cancel()

    def pause_writing(self) -> None:
        """Wait with more of an answer."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on with it."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Answer each request that is there as a whole."""
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].decode("latin-1")
            rest = end + 4 + int(_header(head, "content-length") or 0)
            if len(self._data) < rest:
                return
            self._data = self._data[rest:]
            self._answer(head.split(" ", 2)[1], _header(head, "idempotency-key"))

    def _answer(self, target: str, key: str) -> None:
        what = target.split("/", 2)[1]
        if what == "-":
            lines = self._calls.ends if target == "/-/ends" else self._calls.seen
            body = "\n".join(lines).encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            return
        self._calls.seen.append(f"{time.monotonic():.6f} {key} {target}")
        if what in STREAMS:
            self._stream = asyncio.get_running_loop().create_task(self._pour(what, target))
        elif "?" in target:
            delay = float(parse_qs(urlsplit(target).query)["ms"][0]) / 1000
            asyncio.get_running_loop().call_later(delay, self._write, OK)
        else:
            self._transport.write(OK)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)
            self._sent += len(data)

    async def _pour(self, what: str, target: str) -> None:
        began = time.monotonic()
        heads = {
            "drip-head": b"X-Drip: ",
            "drip-body": b"Content-Length: 1000000\r\n\r\n",
            "huge": b"Content-Length: %d\r\n\r\n" % HUGE,
            "endless": b"\r\n",
        }
        try:
            self._write(b"HTTP/1.1 200 OK\r\n" + heads[what])
            while not self._transport.is_closing() and (what == "endless" or self._sent < HUGE):
                if what.startswith("drip"):
                    await asyncio.sleep(DRIP)
                    self._write(b"x")
                else:
                    await self._writable.wait()
                    self._write(CHUNK)
        finally:
            self._calls.ends.append(f"{time.monotonic() - began:.6f} {self._sent} {target}")


def _header(head: str, name: str) -> str:
    start = head.lower().find(f"\r\n{name}:")
    if start < 0:
        return ""
    start += len(name) + 3
    end = head.find("\r\n", start)
    return head[start : end if end >= 0 else None].strip()


async def _serve(port: int) -> None:
    calls = Calls()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(calls), "127.0.0.1", port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Whoever started us ends us by going away.
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(int(sys.argv[1]) if sys.argv[1:] else 0))
