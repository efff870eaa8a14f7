"""The gateway's door: who may come in, judged from a request's head alone, before any route sees it.

A browser is everybody's servant: any page it shows can have it send requests to this machine. So what comes from a page
that is not ours is turned away by Origin and Sec-Fetch-Site, and on loopback the Host must be a name of ours, or a
page could call itself by one (DNS rebinding). From elsewhere a token is asked for.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What says only that we are there.
OPEN = frozenset({"/healthz", "/readyz"})
# Where a request's headers stand by name, in lower case; starlette would look through all of them for each.
HEADERS = "inboxd.headers"
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_PLAIN = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)
_STRICT = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_ASK = ((b"www-authenticate", b"Bearer"), (b"www-authenticate", b'Basic realm="inboxd", charset="UTF-8"'))


@dataclass(frozen=True, slots=True)
class Head:
    """What is judged of a request. `local`: it came through the unix socket."""

    method: str
    path: str
    headers: dict[str, str]
    local: bool = False


@dataclass(frozen=True, slots=True)
class Door:
    """The rule. `token` None asks for none; `hosts` None takes any Host, which is safe only where a token is asked for.

    `pages` are paths that people may come to by a link from anywhere.
    """

    token: bytes | None = None
    hosts: frozenset[str] | None = _LOCAL_NAMES
    pages: frozenset[str] = frozenset()

    def judge(self, head: Head) -> tuple[int, str] | None:
        """Give the status and the reason for which a request is turned away; None for one that may come in."""
        if not head.local and self.hosts is not None and not self._is_ours(head.headers.get("host", "")):
            host = head.headers.get("host", "")
            return 421, f'"{host[:100]}" is no name of this gateway; [gateway] hosts in the config lists further ones'
        if self._is_from_elsewhere(head):
            return 403, "requests from pages of other sites are refused"
        if not head.local and self.token is not None and head.path not in OPEN and not self._knows(head):
            return 401, "the token is missing or wrong; send Authorization: Bearer TOKEN"
        return None

    def _is_ours(self, host: str) -> bool:
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        return name.lower() in (self.hosts or ())

    def _is_from_elsewhere(self, head: Head) -> bool:
        site, origin = head.headers.get("sec-fetch-site", "none"), head.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != head.headers.get("host"):
            return True
        if site in {"none", "same-origin"}:
            return False
        follows_link = head.method == "GET" and head.headers.get("sec-fetch-mode") == "navigate"
        return not (follows_link and head.path in self.pages)

    def _knows(self, head: Head) -> bool:
        scheme, _, given = head.headers.get("authorization", "").partition(" ")
        shown = given.strip().encode()
        if scheme.lower() == "basic":
            try:
                shown = base64.b64decode(shown, validate=True).partition(b":")[2]
            except binascii.Error:
                return False
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(shown, self.token or b"")


class Guarded:
    """The ASGI application behind a door; adds to each answer the headers that keep browsers careful."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or turn it away."""
        if scope["type"] != "http":
            return
        asked = head_of(scope)
        verdict = self._door.judge(asked)
        scope[HEADERS] = asked.headers
        if verdict is None:
            await self._app(scope, receive, _careful(send))
            return
        status, why = verdict
        body = orjson.dumps({"error": why})
        length = (b"content-length", str(len(body)).encode())
        # What is on its way still is not read.
        close = (b"connection", b"close")
        asks = _ASK if status == 401 else ()  # noqa: PLR2004  # the status is its own name
        head = [(b"content-type", b"application/json"), length, close, *asks]
        await _careful(send)({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": body})


def head_of(scope: Scope) -> Head:
    """Give what is judged of a request."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    server = scope.get("server")
    return Head(scope["method"], scope["path"], headers, local=server is not None and server[1] is None)


def add_careful(headers: list[tuple[bytes, bytes]]) -> None:
    """Add to an answer's headers those that keep browsers careful."""
    names = {name for name, _ in headers}
    headers.extend(_PLAIN)
    if _STRICT[0] not in names:
        headers.append(_STRICT)
    if b"cache-control" not in names:
        headers.append((b"cache-control", b"no-store"))


def _careful(send: Send) -> Send:
    async def sent(message: Message) -> None:
        """Send a message on, its head with what browsers are to be told."""
        if message["type"] == "http.response.start":
            add_careful(message.setdefault("headers", []))
        await send(message)

    return sent


def names_of(host: str, more: list[str]) -> frozenset[str]:
    """Give the names by which a gateway that listens on loopback may be called."""
    own = f"[{host}]" if ":" in host else host
    return _LOCAL_NAMES | {own.lower()} | {name.lower() for name in more}
