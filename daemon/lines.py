"""The lines of a batch file, one at a time and each of bounded length; and a JSON array brought to such lines.

A file of any size needs the memory of one line.
"""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from inboxd.jobs.faults import Invalid

_CHUNK = 64 * 1024
_BLANK = b" \t\r\n\xef\xbb\xbf"
_BETWEEN = re.compile(r"[ \t\r\n]*")


@dataclass(slots=True)
class Line:
    """A line of a batch: its number (from 1), where it begins, its bytes, and what has happened to it so far."""

    number: int
    offset: int
    data: bytes
    attempts: list[dict[str, Any]] = field(default_factory=list)
    tried: int = 0

    @property
    def blank(self) -> bool:
        """Tell whether nothing is asked here."""
        return not self.data.strip(_BLANK)


class Lines:
    """Reads a file line by line. Of a line longer than `limit` bytes only `limit` + 1 bytes are given."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._limit = limit
        self._offset = 0
        self._number = 0

    def next(self) -> Line | None:
        """Give the next line; None at the (present) end of the file."""
        data = self._file.readline(self._limit + 1)
        if not data:
            return None
        self._number += 1
        line = Line(self._number, self._offset, data)
        self._offset += len(data)
        while len(data) > self._limit and not data.endswith(b"\n"):
            data = self._file.readline(_CHUNK)
            self._offset += len(data)
            if len(data) < _CHUNK:
                break
        return line

    def read_again(self, line: Line) -> None:
        """Give a line its bytes back, which it does not keep while it waits."""
        data = os.pread(self._file.fileno(), self._limit + 1, line.offset)
        end = data.find(b"\n")
        line.data = data if end < 0 else data[: end + 1]

    @property
    def mtime(self) -> float:
        """When the file was last written to."""
        return os.fstat(self._file.fileno()).st_mtime

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def is_array(head: bytes) -> bool:
    """Tell from a file's first bytes whether it holds a JSON array."""
    return head.lstrip(_BLANK).startswith(b"[")


def of_array(file: BinaryIO, limit: int) -> Iterator[bytes]:
    """Give each element of the JSON array in `file` as one line; raises Invalid where it is no array."""
    decode = codecs.getincrementaldecoder("utf-8-sig")()
    decoder = json.JSONDecoder()
    text, at_end, count = "", False, 0

    def more() -> None:
        nonlocal text, at_end
        chunk = file.read(max(_CHUNK, len(text)))
        at_end = not chunk
        try:
            text += decode.decode(chunk, final=at_end)
        except UnicodeDecodeError:
            raise Invalid(f"element {count + 1} of the array is not UTF-8") from None

    def skip(pattern: re.Pattern[str]) -> str:
        nonlocal text
        while True:
            match = pattern.match(text)
            text = text[match.end() if match else 0 :]
            if text or at_end:
                return text[:1]
            more()

    skip(_BETWEEN)
    text = text[1:]
    if skip(_BETWEEN) == "]":
        text = text[1:]
    else:
        while True:
            try:
                _, end = decoder.raw_decode(text)
            except (json.JSONDecodeError, RecursionError):
                end = len(text)
            # What reaches up to the end of the text may go on behind it, as a number does.
            if end == len(text) and not at_end:
                if len(text) > limit:
                    raise Invalid(f"element {count + 1} of the array is longer than {limit} bytes")
                more()
                continue
            count += 1
            # Line breaks stand only between tokens; inside a string JSON does not allow them.
            yield text[:end].replace("\n", " ").replace("\r", " ").encode() + b"\n"
            text = text[end:]
            mark = skip(_BETWEEN)
            text = text[1:]
            if mark == "]":
                break
            if mark != "," or not skip(_BETWEEN):
                raise Invalid(f'not JSON: expected "," or "]" after element {count} of the array')
    if skip(_BETWEEN):
        raise Invalid("not JSON: more text after the array")
