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
    # Whether its line break is there; without one it is the last of the file, or only the beginning of a line.
    whole: bool = True
    attempts: list[dict[str, Any]] = field(default_factory=list)
    tried: int = 0
    # Whether only this process may work on it.
    ours: bool = False
    # Why it is no job, if that is known before it is parsed.
    trouble: str | None = None

    @property
    def blank(self) -> bool:
        """Tell whether nothing is asked here."""
        return self.trouble is None and not self.data.strip(_BLANK)


class OneByOne:
    """A file that is read one line at a time, each with its number and its place."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._limit = limit
        self._offset = 0
        self._number = 0

    @property
    def read(self) -> int:
        """The number of the last line that was read."""
        return self._number

    def put_back(self, line: Line) -> None:
        """Undo `next`: the line is to be read once more."""
        self._offset = self._file.seek(line.offset)
        self._number -= 1

    @property
    def status(self) -> os.stat_result:
        """What the system says of the file."""
        return os.fstat(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Lines(OneByOne):
    """Reads a file line by line. Of a line longer than `limit` bytes only `limit` + 1 bytes are given."""

    def next(self) -> Line | None:
        """Give the next line; None at the (present) end of the file."""
        data = self._file.readline(self._limit + 1)
        if not data:
            return None
        self._number += 1
        line = Line(self._number, self._offset, data)
        self._offset += len(data)
        while not data.endswith(b"\n"):
            data = self._file.readline(_CHUNK)
            if not data:
                line.whole = False
                break
            self._offset += len(data)
        return line

    def read_again(self, line: Line) -> None:
        """Give a line its bytes back, which it does not keep while it waits."""
        data = os.pread(self._file.fileno(), self._limit + 1, line.offset)
        end = data.find(b"\n")
        line.data = data if end < 0 else data[: end + 1]

    def again(self) -> None:
        """Begin anew at the first line."""
        self._offset = self._file.seek(0)
        self._number = 0

    @property
    def head(self) -> Iterator[bytes]:
        """What stands before the first line: nothing."""
        return iter(())

    def copy(self, line: Line) -> Iterator[bytes]:
        """Give a line as it stands in the file, however long it is, in pieces."""
        at = line.offset
        while piece := os.pread(self._file.fileno(), _CHUNK, at):
            end = piece.find(b"\n") + 1
            yield piece[:end] if end else piece
            if end:
                return
            at += len(piece)
        yield b"\n"


def is_array(head: bytes) -> bool:
    """Tell from a file's first bytes whether it holds a JSON array."""
    return head.lstrip(_BLANK).startswith(b"[")


def of_array(file: BinaryIO, limit: int) -> Iterator[bytes]:
    """Give each element of the JSON array in `file` as one line; raises Invalid where it is no array."""
    text = _Text(file)
    text.skip()
    text.at += 1
    count = 0
    mark = text.skip()
    while mark != "]":
        count += 1
        # Line breaks stand only between tokens; inside a string JSON does not allow them.
        yield text.element(count, limit).replace("\n", " ").replace("\r", " ").encode() + b"\n"
        mark = text.skip()
        if mark == ",":
            text.at += 1
            if text.skip() != "]":
                continue
        if mark != "]":
            raise Invalid(f'not JSON: expected "," or "]" after element {count} of the array')
    text.at += 1
    if text.skip():
        raise Invalid("not JSON: more text after the array")


class _Text:
    """A window on the text of a JSON file: what was read and not yet used begins at `at`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._scan = json.JSONDecoder().raw_decode
        self._text = ""
        self._ended = False
        self.at = 0

    def skip(self) -> str:
        """Skip white space; gives the character behind it, or nothing at the end of the file."""
        while True:
            self.at = _BETWEEN.match(self._text, self.at).end()  # type: ignore[union-attr]  # it matches nothing, too
            if self.at < len(self._text) or self._ended:
                return self._text[self.at : self.at + 1]
            self._more("white space")

    def element(self, number: int, limit: int) -> str:
        """Give one value as it stands; raises Invalid where there is none, or one longer than `limit`."""
        while True:
            try:
                end = self._scan(self._text, self.at)[1]
            except (ValueError, RecursionError):
                end = len(self._text)
            # What reaches up to the end of the text may go on behind it, as a number does.
            if end < len(self._text) or self._ended:
                break
            if end - self.at > limit:
                raise Invalid(f"element {number} of the array is not JSON, or longer than {limit} bytes")
            self._more(f"element {number}")
        value, self.at = self._text[self.at : end], end
        return value

    def _more(self, what: str) -> None:
        """Read on: as much again as is not yet used, so that a long element is not scanned too often."""
        rest = self._text[self.at :]
        chunk = self._file.read(max(_CHUNK, len(rest)))
        self._ended = not chunk
        try:
            self._text, self.at = rest + self._decode(chunk, final=self._ended), 0
        except UnicodeDecodeError:
            raise Invalid(f"the array is not UTF-8 at {what}") from None
