"""What flows through one transfer: curl's callbacks and what they have gathered.

A callback never raises, because pycurl would print it: it keeps the error for the sender and tells curl to stop.
Curl refers to its flow, so a flow never refers to curl: a cycle would keep connections open until the next collection.
"""

import hashlib
import socket
from typing import Any, BinaryIO, Protocol

from inboxd.jobs.guard import Guard
from inboxd.jobs.reply import Bounds
from inboxd.jobs.wirefaults import BodyTooLarge

# What curl/curl.h wants back from a callback: READFUNC_ABORT, SEEKFUNC_OK, SEEKFUNC_FAIL, SOCKET_BAD; and 0 bytes
# written of some ends the transfer.
_READ_ABORT = 0x1000_0000
_SEEK_OK, _SEEK_FAIL = 0, 1
_SOCKET_BAD = -1
_STOP = 0


class Source(Protocol):
    """A body to send: an open binary file, or something like it."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, none at the end."""


class Flow:
    """The transfer of one thread's handle, used again for the next."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.host = ""
        self.head: list[bytes] = []
        self.chunks: list[bytes] = []
        self.side: BinaryIO | None = None
        self.source: Source | None = None
        self.origin: int | None = None
        self.error: Exception | None = None
        self.refused: str | None = None
        self._sockets: list[socket.socket] = []

    def begin(self, bounds: Bounds) -> None:
        """Make ready for a transfer."""
        self.bounds = bounds
        self._room = bounds.max_bytes if bounds.spill is None else min(bounds.inline, bounds.max_bytes)
        self.size = 0
        self.dialled = False

    def end(self) -> None:
        """Let go of everything that belonged to the transfer."""
        self.head.clear()
        self.chunks = []
        self.side = self.source = self.origin = self.error = self.refused = None
        if self._sockets:
            for opened in self._sockets:
                opened.close()
            self._sockets.clear()

    def write(self, chunk: bytes) -> int | None:
        """Take decoded bytes of the body."""
        self.size = size = self.size + len(chunk)
        if size <= self._room:
            self.chunks.append(chunk)
            return None
        try:
            self._spill(chunk)
        except Exception as error:  # the sender raises it again
            self.error = error
            return _STOP
        return None

    def _spill(self, chunk: bytes) -> None:
        bounds = self.bounds
        if self.size > bounds.max_bytes or bounds.spill is None:
            raise BodyTooLarge(f"the body is larger than {bounds.max_bytes} bytes")
        if self.side is None:
            self.side = bounds.spill()
            self.digest = hashlib.sha256()
            chunk = b"".join([*self.chunks, chunk])
            self.chunks.clear()
            # From here on every chunk comes this way.
            self._room = -1
        self.side.write(chunk)
        self.digest.update(chunk)

    def read(self, size: int) -> bytes | int:
        """Give bytes of the body to send."""
        try:
            assert self.source is not None
            chunk = self.source.read(size)
            # Text would be sent with another length than the one announced.
            memoryview(chunk)
        except Exception as error:  # the sender raises it again
            self.error = error
            return _READ_ABORT
        return chunk

    def seek(self, offset: int, _whence: int) -> int:
        """Go back in the body to send, because curl must begin again on a new connection."""
        source: Any = self.source
        if self.origin is None:
            return _SEEK_FAIL
        try:
            source.seek(self.origin + offset)
        except Exception as error:  # the sender raises it again
            self.error = error
            return _SEEK_FAIL
        return _SEEK_OK

    def dial(self, _purpose: int, address: tuple[int, int, int, tuple[Any, ...]]) -> socket.socket | int:
        """Judge the address curl is about to dial (family, type, protocol, socket address), and open the socket."""
        family, kind, protocol, place = address
        refused = self.guard.judge(str(place[0]), self.host)
        if refused is not None:
            self.refused = refused
            return _SOCKET_BAD
        self.dialled = True
        try:
            opened = socket.socket(family, kind, protocol)
        except OSError as error:
            self.error = error
            return _SOCKET_BAD
        # Pycurl duplicates the descriptor: this one must live until it has, and be closed afterwards.
        self._sockets.append(opened)
        return opened
