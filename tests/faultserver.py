"""A loopback HTTP server that misbehaves on request: the path says how, the query says how much.

    with FaultServer() as server:
        session.get(server.url("/status/503?retry-after=2"))
        assert server.requests[0].headers["idempotency-key"] == "k"

Raw sockets, one thread per connection, keep-alive. Every wait ends when the block does. The behaviours are listed in
`tests/faultbehaviours.py`, and a test may bring `behaviours` of its own; an unknown path is answered 404.
`FaultServer(tls=Tls.make(folder))` speaks TLS.
A TLS hello on the plain port is answered by a reset in the middle of the handshake; `mute=True` answers nothing at all.
"""

import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.faultbehaviours import BEHAVIOURS, Behaviour, Hangup
from tests.tlskit import Tls

# No connection outlives this, whatever a test forgot.
_LONGEST = 60.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it came: `target` is the raw request target, `path` its decoded path, `query` its last values."""

    method: str
    target: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """Names in lower case; repeated ones are joined by a comma."""
    fields: list[tuple[str, str]]
    """Names and values as sent, in order."""
    body: bytes
    connection: int
    """The number of the connection it came on, from 1."""


@dataclass(slots=True)
class Wire:
    """One connection, as the behaviours see it."""

    server: "FaultServer"
    sock: socket.socket
    number: int
    input: BinaryIO = field(init=False)
    method: str = ""

    def __post_init__(self) -> None:
        self.input = self.sock.makefile("rb")

    def send(self, octets: bytes) -> None:
        """Send raw bytes."""
        self.sock.sendall(octets)

    def answer(self, body: bytes = b"", status: int = 200, headers: tuple[str, ...] = ()) -> None:
        """Send a correct answer with `Content-Length` (without the body to HEAD); the next request may follow."""
        lines = [f"HTTP/1.1 {status} Fault", f"Content-Length: {len(body)}", *headers]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if self.method == "HEAD" else body))

    def pause(self, seconds: float) -> None:
        """Wait, at most until the server stops. Raises Hangup when it does."""
        if self.server.stopping.wait(seconds):
            raise Hangup

    def reset(self) -> None:
        """Break the connection with a RST instead of a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Hangup

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.input.close()
            self.sock.close()


class FaultServer:
    """The server; use it in a `with` block.

    `requests`: everything seen so far, in order of arrival (a copy). `connections`: how many were accepted.
    """

    def __init__(
        self,
        *,
        tls: Tls | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        mute: bool = False,
        behaviours: Mapping[str, Behaviour] | None = None,
    ) -> None:
        self.tls = tls
        self.mute = mute
        self.host = host
        self.stopping = threading.Event()
        self.failures: Counter[str] = Counter()
        self.changed = threading.Condition()
        self._behaviours = BEHAVIOURS | (behaviours or {})
        self._seen: list[Seen] = []
        self._wires: list[Wire] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((host, port), backlog=128)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def url(self, path: str = "/ok", host: str | None = None) -> str:
        """Return the URL of `path` here, under another name of this host if asked."""
        return f"http{'s' if self.tls else ''}://{host or self.host}:{self.port}{path}"

    @property
    def requests(self) -> list[Seen]:
        with self.changed:
            return self._seen.copy()

    @property
    def connections(self) -> int:
        with self.changed:
            return len(self._wires)

    def wait_for(self, count: int, timeout: float = 10.0) -> list[Seen]:
        """Return the requests as soon as there are `count`. Raises AssertionError after `timeout` seconds."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self._seen) >= count, timeout), f"{len(self._seen)} of {count}"
            return self._seen.copy()

    def drop_connections(self) -> None:
        """Close every connection, as a server does with idle ones."""
        with self.changed:
            wires = self._wires.copy()
        for wire in wires:
            with contextlib.suppress(OSError):
                wire.sock.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """Stop listening (from here on connections are refused), end every connection, wait for the threads."""
        self.stopping.set()
        with contextlib.suppress(OSError):
            # Wakes the accepting thread, which closing alone would not.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_connections()
        for thread in self._threads:
            thread.join(_LONGEST)

    def record(self, seen: Seen) -> None:
        with self.changed:
            self._seen.append(seen)
            self.changed.notify_all()

    def fails_again(self, key: str, times: int) -> bool:
        """Count one call of `key`; True for the first `times` of them."""
        with self.changed:
            self.failures[key] += 1
            return self.failures[key] <= times

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]  # any callable
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(_LONGEST)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.changed:
                wire = Wire(self, sock, len(self._wires) + 1)
                self._wires.append(wire)
            self._start(self._serve, wire)

    def _shake_hands(self, wire: Wire, tls: Tls) -> None:
        plain = wire.sock.dup()
        try:
            wire.sock = tls.context.wrap_socket(wire.sock, server_side=True)
            wire.input = wire.sock.makefile("rb")
        except OSError:
            # Closing with bytes unread would send a RST, which may overtake the alert that says why.
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(4096):
                pass
            raise
        finally:
            plain.close()

    def _serve(self, wire: Wire) -> None:
        sock = wire.sock
        try:
            if self.mute:
                wire.pause(_LONGEST)
            elif self.tls is not None:
                self._shake_hands(wire, self.tls)
            elif sock.recv(1, socket.MSG_PEEK) == b"\x16":
                sock.recv(1)
                wire.reset()
            while (seen := _read(wire)) is not None and not self.stopping.is_set():
                self.record(seen)
                wire.method = seen.method
                self._behaviours.get(seen.path.split("/")[1], BEHAVIOURS["unknown"])(wire, seen)
        except (OSError, Hangup, ValueError):
            # The client left, or the behaviour is to leave.
            pass
        finally:
            wire.close()


def _read(wire: Wire) -> Seen | None:
    """Read one request; None at the end of the connection."""
    start = wire.input.readline().decode("latin-1").split()
    if len(start) != 3:
        return None
    method, target, _ = start
    fields: list[tuple[str, str]] = []
    headers: dict[str, str] = {}
    while (line := wire.input.readline().decode("latin-1").rstrip("\r\n")) != "":
        name, _, value = line.partition(":")
        value = value.strip()
        fields.append((name, value))
        headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    body = _body(wire, headers)
    return Seen(method, target, unquote(parts.path), query, headers, fields, body, wire.number)


def _body(wire: Wire, headers: dict[str, str]) -> bytes:
    if "chunked" not in headers.get("transfer-encoding", ""):
        return wire.input.read(int(headers.get("content-length", "0")))
    chunks = []
    while size := int(wire.input.readline(), 16):
        chunks.append(wire.input.read(size))
        wire.input.readline()
    wire.input.readline()
    return b"".join(chunks)
