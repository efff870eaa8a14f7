"""A body that comes in pieces: in memory if it is short, in a side file as a whole if not, bounded in any case."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from inboxd.jobs.faults import TooLarge
from inboxd.jobs.reply import Bounds
from inboxd.jobs.result import Response

# The status of a response that did not come over HTTP.
NO_STATUS = 0


class Gathering:
    """Gathers one body within `bounds`."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._chunks: list[bytes] = []
        self._side: BinaryIO | None = None
        self._digest = hashlib.sha256()
        self._size = 0

    def expect(self, size: int) -> None:
        """Take note how many bytes will come; raises TooLarge, or the OSError of a disk that has no room."""
        bounds = self._bounds
        if size > bounds.max_bytes:
            raise TooLarge(f"the result has {size} bytes, and at most {bounds.max_bytes} are taken")
        if size > bounds.inline and bounds.spill is not None:
            self._side = bounds.spill()

    def write(self, chunk: bytes) -> None:
        """Take some bytes."""
        self._size += len(chunk)
        if self._side is None:
            self._chunks.append(chunk)
        else:
            self._side.write(chunk)
            self._digest.update(chunk)

    def response(self, content_type: str) -> Response:
        """Give what was gathered as a response."""
        body = b"".join(self._chunks)
        sha256 = None if self._side is None else self._digest.hexdigest()
        return Response(NO_STATUS, {"Content-Type": content_type}, body, self._side, self._size, sha256)

    def drop(self) -> None:
        """Let go of what came so far, because nothing will come of it."""
        if self._side is not None:
            self._side.close()
