"""Bodies with files in them: a row of byte strings and named attachments, read in order, never whole in memory.

The transport asks such a body for `read(n)`, and for `seek(0)` when a kept-alive connection turns out to be dead.
Attachments are opened anew for each attempt, by whoever knows where they lie.
"""

from __future__ import annotations

import mimetypes
import os
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import BinaryIO, Self

from inboxd.jobs.job import Part

# A byte string as it is, or the name of an attachment in a tuple of one.
Segment = bytes | tuple[str]


class Segments:
    """A body to be: what it consists of."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments

    def open(self, open_file: Callable[[str], BinaryIO]) -> OpenBody:
        """Open all attachments; raises the OSError of the first that cannot be."""
        with ExitStack() as files:
            parts = [
                segment if isinstance(segment, bytes) else files.enter_context(open_file(segment[0]))
                for segment in self._segments
            ]
            return OpenBody(parts, files.pop_all())


class OpenBody:
    """A body with its attachments open; `size` is its length in bytes."""

    def __init__(self, parts: Sequence[bytes | BinaryIO], files: ExitStack) -> None:
        self._parts = parts
        self._files = files
        self._sizes = [len(part) if isinstance(part, bytes) else os.fstat(part.fileno()).st_size for part in parts]
        self.size = sum(self._sizes)
        self._index = 0
        self._offset = 0

    def read(self, amount: int = -1) -> bytes:
        """Read up to `amount` bytes; no bytes mean the end."""
        wanted = self.size if amount < 0 else amount
        while amount and self._index < len(self._parts):
            part = self._parts[self._index]
            chunk = part[self._offset : self._offset + wanted] if isinstance(part, bytes) else part.read(wanted)
            self._offset += len(chunk)
            if chunk:
                return chunk
            self._index += 1
            self._offset = 0
        return b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go back to the beginning, the only place that is ever asked for."""
        if offset or whence != os.SEEK_SET:
            raise OSError("a body can only be read again from its beginning")
        self._index = self._offset = 0
        for part in self._parts:
            if not isinstance(part, bytes):
                part.seek(0)
        return 0

    def tell(self) -> int:
        """Give the position, counted over all parts."""
        return sum(self._sizes[: self._index]) + self._offset

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._files.close()


def of_multipart(fields: Mapping[str, Sequence[Part]], boundary: str) -> Segments:
    """Lay out a multipart/form-data body (RFC 7578; names quoted as the WHATWG form encoding does)."""
    segments: list[Segment] = []
    for name, parts in fields.items():
        for part in parts:
            segments.append(_part_head(name, part, boundary))
            if part.file is not None:
                segments.append((part.file,))
            else:
                segments.append(b64decode(part.base64) if part.base64 is not None else (part.text or "").encode())
            segments.append(b"\r\n")
    segments.append(f"--{boundary}--\r\n".encode())
    return Segments(segments)


def _part_head(name: str, part: Part, boundary: str) -> bytes:
    disposition = f'form-data; name="{_quoted(name)}"'
    filename = part.filename or part.file
    if filename is not None:
        disposition += f'; filename="{_quoted(filename)}"'
    kind = part.type
    if kind is None and filename is not None:
        kind = mimetypes.guess_type(filename)[0] or "application/octet-stream"
    lines = [f"--{boundary}", f"Content-Disposition: {disposition}", *([f"Content-Type: {kind}"] if kind else [])]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _quoted(text: str) -> str:
    """Escape what would end the quoted name (WHATWG HTML, multipart form data)."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
