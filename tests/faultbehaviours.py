"""What the fault server does, by the first part of the path. Seconds are `gap`, bytes are `bytes`.

A behaviour gets the connection and the request. It returns to go on with the next request of the connection, and raises
Hangup to end it. It waits by `wire.pause` only, so that the server can always stop.
"""

import json
import zlib
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faultserver import Seen, Wire

Behaviour: TypeAlias = "Callable[[Wire, Seen], None]"
BEHAVIOURS: dict[str, Behaviour] = {}
_CHUNK = 64 * 1024
_JSON = "Content-Type: application/json"


class Hangup(Exception):
    """The connection ends here."""


def _behaviour(name: str) -> "Callable[[Behaviour], Behaviour]":
    def keep(function: Behaviour) -> Behaviour:
        BEHAVIOURS[name] = function
        return function

    return keep


@_behaviour("ok")
def ok(wire: "Wire", _seen: "Seen") -> None:
    """Answer 200 `{"ok": true}`."""
    wire.answer(b'{"ok": true}', headers=(_JSON,))


@_behaviour("echo")
def echo(wire: "Wire", seen: "Seen") -> None:
    """Answer the request as JSON: method, path, query, target, headers, body (as Latin-1 text)."""
    shown = {name: getattr(seen, name) for name in ("method", "path", "query", "target", "headers")}
    body = json.dumps({**shown, "body": seen.body.decode("latin-1")}).encode()
    wire.answer(body, headers=(_JSON,))


@_behaviour("back")
def back(wire: "Wire", seen: "Seen") -> None:
    """Answer with the request's own body, as JSON."""
    wire.answer(seen.body, headers=(_JSON,))


@_behaviour("status")
def status(wire: "Wire", seen: "Seen") -> None:
    """`/status/503?retry-after=2`: answer that status; 204 and 304 have no body and no length."""
    code = int(seen.path.split("/")[2])
    again = (f"Retry-After: {seen.query['retry-after']}",) if "retry-after" in seen.query else ()
    if code in {204, 304}:
        wire.send("\r\n".join([f"HTTP/1.1 {code} Fault", *again]).encode() + b"\r\n\r\n")
    else:
        wire.answer(b'{"status": %d}' % code, code, (_JSON, *again))


@_behaviour("flaky")
def flaky(wire: "Wire", seen: "Seen") -> None:
    """`/flaky/KEY?times=2&status=503`: fail the first `times` calls of KEY, then answer ok. Status 0: hang up.

    `&retry-after=2` goes with the failures.
    """
    if not wire.server.fails_again(seen.path, int(seen.query.get("times", "1"))):
        ok(wire, seen)
        return
    code = int(seen.query.get("status", "503"))
    if code == 0:
        raise Hangup
    again = (f"Retry-After: {seen.query['retry-after']}",) if "retry-after" in seen.query else ()
    wire.answer(b'{"ok": false}', code, (_JSON, *again))


@_behaviour("slow")
def slow(wire: "Wire", seen: "Seen") -> None:
    """`/slow?ms=100`: answer ok after so many milliseconds."""
    wire.pause(float(seen.query.get("ms", "100")) / 1000)
    ok(wire, seen)


@_behaviour("never")
def never(wire: "Wire", _seen: "Seen") -> None:
    """Take the request and say nothing."""
    wire.pause(60)


@_behaviour("drip-head")
def drip_head(wire: "Wire", seen: "Seen") -> None:
    """Send one header byte every `gap` (0.02) seconds, for ever."""
    wire.send(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while True:
        wire.pause(float(seen.query.get("gap", "0.02")))
        wire.send(b"x")


@_behaviour("drip-body")
def drip_body(wire: "Wire", seen: "Seen") -> None:
    """Send one body byte every `gap` (0.02) seconds, for ever."""
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        wire.pause(float(seen.query.get("gap", "0.02")))
        wire.send(b"x")


@_behaviour("reset")
def reset(wire: "Wire", _seen: "Seen") -> None:
    """Break the connection (RST) before any answer."""
    wire.reset()


@_behaviour("close")
def close(_wire: "Wire", _seen: "Seen") -> None:
    """End the connection (FIN) before any answer."""
    raise Hangup


@_behaviour("half-head")
def half_head(wire: "Wire", _seen: "Seen") -> None:
    """Close in the middle of the headers."""
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: applic")
    raise Hangup


@_behaviour("short")
def short(wire: "Wire", _seen: "Seen") -> None:
    """Announce 100 bytes, send 10, close."""
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")
    raise Hangup


@_behaviour("long")
def long(wire: "Wire", _seen: "Seen") -> None:
    """Announce 10 bytes, send 20, close."""
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234567890123456789")
    raise Hangup


@_behaviour("reset-body")
def reset_body(wire: "Wire", _seen: "Seen") -> None:
    """Break the connection (RST) in the middle of the body."""
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")
    wire.pause(0.05)
    wire.reset()


@_behaviour("endless")
def endless(wire: "Wire", _seen: "Seen") -> None:
    """Send chunks for ever."""
    wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not wire.server.stopping.is_set():
        wire.send(b"%x\r\n%s\r\n" % (_CHUNK, b"x" * _CHUNK))


@_behaviour("cut-chunk")
def cut_chunk(wire: "Wire", _seen: "Seen") -> None:
    """Close in the middle of a chunk."""
    wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n01234")
    raise Hangup


@_behaviour("bad-chunk")
def bad_chunk(wire: "Wire", _seen: "Seen") -> None:
    """Send a chunk size that is no number."""
    wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n")
    raise Hangup


@_behaviour("bomb")
def bomb(wire: "Wire", seen: "Seen") -> None:
    """`/bomb?bytes=1073741824`: a gzip body a thousandth of what it becomes, made while it is sent."""
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    for _ in range(int(seen.query.get("bytes", str(1 << 30))) // _CHUNK):
        if packed := packer.compress(bytes(_CHUNK)):
            wire.send(b"%x\r\n%s\r\n" % (len(packed), packed))
    packed = packer.flush()
    wire.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(packed), packed))


@_behaviour("gzip")
def gzip(wire: "Wire", _seen: "Seen") -> None:
    """Answer ok, compressed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    wire.answer(packer.compress(b'{"ok": true}') + packer.flush(), headers=(_JSON, "Content-Encoding: gzip"))


@_behaviour("bad-gzip")
def bad_gzip(wire: "Wire", _seen: "Seen") -> None:
    """Call something gzip that is not."""
    wire.answer(b"this is not gzip", headers=("Content-Encoding: gzip",))


@_behaviour("huge")
def huge(wire: "Wire", seen: "Seen") -> None:
    """`/huge?bytes=N`: so many bytes, streamed."""
    left = int(seen.query.get("bytes", str(1 << 30)))
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % left)
    while left:
        wire.send(b"x" * min(_CHUNK, left))
        left -= min(_CHUNK, left)


@_behaviour("binary")
def binary(wire: "Wire", seen: "Seen") -> None:
    """`/binary?bytes=N` (256): every byte value in turn."""
    size = int(seen.query.get("bytes", "256"))
    wire.answer((bytes(range(256)) * (size // 256 + 1))[:size], headers=("Content-Type: application/octet-stream",))


@_behaviour("shrinks")
def shrinks(wire: "Wire", seen: "Seen") -> None:
    """Answer 503 with 100,000 bytes the first time, then ok."""
    if wire.server.fails_again(seen.path, 1):
        wire.answer(b"x" * 100_000, 503)
    else:
        ok(wire, seen)


@_behaviour("redirect")
def redirect(wire: "Wire", seen: "Seen") -> None:
    """`/redirect?to=URL&status=302`: there; without `to`, here again: a loop."""
    code = int(seen.query.get("status", "302"))
    wire.answer(b"", code, (f"Location: {seen.query.get('to', seen.target)}",))


@_behaviour("cookie")
def cookie(wire: "Wire", _seen: "Seen") -> None:
    """Set two cookies."""
    wire.answer(b"{}", headers=("Set-Cookie: session=secret; Path=/", "Set-Cookie: other=1"))


@_behaviour("digest")
def digest(wire: "Wire", seen: "Seen") -> None:
    """Ask for digest authentication, and answer ok to anything that looks like it."""
    if seen.headers.get("authorization", "").startswith("Digest "):
        ok(wire, seen)
    else:
        wire.answer(b"", 401, ('WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"',))


@_behaviour("etag")
def etag(wire: "Wire", seen: "Seen") -> None:
    """`/etag?tag=a&bytes=N`: a body with an ETag; 304 to who has it already. `by=modified`: with a Last-Modified."""
    by_time = seen.query.get("by") == "modified"
    tag = "Sun, 22 Nov 2026 08:00:00 GMT" if by_time else f'"{seen.query.get("tag", "a")}"'
    headers = (f"{'Last-Modified' if by_time else 'ETag'}: {tag}", f"X-Call: {len(wire.server.requests)}", _JSON)
    if seen.headers.get("if-modified-since" if by_time else "if-none-match") == tag:
        wire.send("\r\n".join(["HTTP/1.1 304 Fault", *headers]).encode() + b"\r\n\r\n")
    else:
        wire.answer(b'{"body": "%s"}' % (b"x" * int(seen.query.get("bytes", "1"))), headers=headers)


@_behaviour("vary")
def vary(wire: "Wire", seen: "Seen") -> None:
    """`/vary?on=X-Kind`: a body that repeats that header, and says so; `on=*` says that anything may matter."""
    name = seen.query.get("on", "X-Kind")
    wire.answer(seen.headers.get(name.lower(), "").encode(), headers=(f"Vary: {name}", "Content-Type: text/plain"))


@_behaviour("garbage")
def garbage(wire: "Wire", _seen: "Seen") -> None:
    """Answer with bytes that are no HTTP."""
    wire.send(b"\x00\xff\xfe garbage\r\n" * 10)
    raise Hangup


@_behaviour("http09")
def http09(wire: "Wire", _seen: "Seen") -> None:
    """Answer as HTTP/0.9 did: a body and nothing else."""
    wire.send(b"<html>hello</html>")
    raise Hangup


@_behaviour("big-head")
def big_head(wire: "Wire", seen: "Seen") -> None:
    """`/big-head?bytes=N` (10000): so many bytes of headers."""
    lines = int(seen.query.get("bytes", "10000")) // 1000
    wire.answer(b"{}", headers=tuple(f"X-Big-{line}: {'x' * 980}" for line in range(lines)))


@_behaviour("interim")
def interim(wire: "Wire", seen: "Seen") -> None:
    """Send two interim responses before the answer."""
    wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
    ok(wire, seen)


@_behaviour("unknown")
def unknown(wire: "Wire", _seen: "Seen") -> None:
    """Answer 404: what every path does that is not listed here."""
    wire.answer(b'{"error": "no such behaviour"}', 404, (_JSON,))
