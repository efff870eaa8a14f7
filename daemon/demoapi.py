"""The API of `inboxd demo`: a small shop on loopback that fails now and then and limits its callers.

The one rule: the same calls get the same answers, whatever their order; which call fails is written in its path, so the
demo can say beforehand how each job has to end.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

# Calls that the shop takes in any one second, and what its callers are asked to keep to. An honest caller at
# RATE is never refused.
LIMIT, RATE = 60, 50
# Of the stock items each of these fails the first time; each of those says for how long to leave the shop in peace.
FAILING, RESTING = 7, 28
# Seconds; the shortest that Retry-After can say.
REST = 1
# A picture of one pixel (PNG), for an answer that is no text.
LABEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c494441"
    "54789c63606060000000040001f61738550000000049454e44ae426082"
)
_STOCK = re.compile(r"/stock/(\d+)")


class Shop:
    """The running API, on a thread of its own; use it in a `with` block. `calls` and `refused` count what came."""

    def __init__(self) -> None:
        self.calls = 0
        self.refused = 0
        self._recent: deque[float] = deque()
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.shop = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="demo-api", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, body: bytes, now: float) -> tuple[int, Any, int | None]:
        """Answer one call that came at `now` (monotonic): status, JSON or bytes, seconds of Retry-After or None."""
        with self._lock:
            self.calls += 1
            while self._recent and self._recent[0] <= now - 1:
                self._recent.popleft()
            if len(self._recent) >= LIMIT:
                self.refused += 1
                return 429, {"error": f"more than {LIMIT} calls in a second"}, REST
            self._recent.append(now)
            first = path not in self._seen
            self._seen.add(path)
        stock = _STOCK.fullmatch(path)
        if stock:
            return _stock(int(stock[1]), first=first)
        return _order(method, path, body, first=first)


def _stock(item: int, *, first: bool) -> tuple[int, Any, int | None]:
    if first and item % FAILING == 0:
        return 503, {"error": "busy"}, REST if item % RESTING == 0 else None
    return 200, {"item": item, "left": item * item % 90}, None


def _order(method: str, path: str, body: bytes, *, first: bool) -> tuple[int, Any, int | None]:
    match method, path:
        case "GET", "/orders":
            return 200, {"items": [{"id": 16, "status": "Closed"}, {"id": 17, "status": "Open"}]}, None
        case "POST", "/orders":
            return 201, {"id": 18, "status": "Open", **json.loads(body)}, None
        case "PATCH", "/orders/17":
            return (503, {"error": "busy"}, None) if first else (200, {"id": 17, **json.loads(body)}, None)
        case "PUT", "/orders/17/photo":
            return 200, {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}, None
        case "GET", "/orders/17/label":
            return 200, LABEL, None
        case _:
            return 404, {"error": f"there is no {path}"}, None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # All clients of a moment may come at once; the default of 5 would drop some.
    request_queue_size = 64
    shop: Shop


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # Without this each answer waits for the acknowledgement of its head: 40 ms.
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        status, reply, rest = self.server.shop.answer(self.command, self.path.partition("?")[0], body, time.monotonic())
        data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "image/png" if isinstance(reply, bytes) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        if rest is not None:
            self.send_header("Retry-After", str(rest))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = _serve  # noqa: N815  # http.server finds methods by these names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is http.server's
        """Say nothing: the daemon's own log is the one to read."""
