"""The rows of a CSV file as lines of a batch: each becomes a job that names the call, its cells the arguments.

Made for files as spreadsheets write them: RFC 4180, with `;` or tabs as well, a byte order mark, quoted line breaks. A
row that cannot be read says why and is answered as such. Rows count as the spreadsheet shows them: the first is the
header. What failed is given back byte by byte, so that it can be mended and dropped again.
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO

import orjson

from inboxd.daemon.lines import Line, Lines, OneByOne
from inboxd.daemon.names import Claim
from inboxd.daemon.spool import Spool
from inboxd.jobs.api import Apis
from inboxd.jobs.calls import find
from inboxd.jobs.faults import Invalid
from inboxd.jobs.slips import nearest

_DELIMITERS = (",", ";", "\t")
# A line of its own by which Excel tells the delimiter.
_SEP = re.compile(rb"(?:\xef\xbb\xbf)?sep=(.)\r?\n", re.IGNORECASE)
_BOM = b"\xef\xbb\xbf"
# The module's own bound on a cell; ours is on the row.
csv.field_size_limit(2**31 - 1)
# Numbers that are certain to be meant as such: no leading zeros, no sign but a minus, and no more digits than a float
# keeps.
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?", re.ASCII)
_DIGITS = 15
_TRUTH = {"true": True, "TRUE": True, "false": False, "FALSE": False}


@dataclass(slots=True)
class Record:
    """One row as it stands in the file: its cells, where it ends, whether its line break is there, what is wrong."""

    cells: list[str]
    end: int
    whole: bool = True
    trouble: str | None = None


def opened(spool: Spool, claim: Claim, apis: Apis, limit: int) -> Lines | Rows:
    """Open a claimed batch; raises Invalid when it is a sheet for no call that there is, or one that does not fit."""
    if claim.call is None:
        return Lines(spool.open(claim), limit)
    call = find(claim.call, apis)[1]
    with ExitStack() as on_error:
        file = on_error.enter_context(spool.open(claim))
        rows = Rows(file, claim.call, call.arguments, call.defaults, limit)
        on_error.pop_all()
    return rows


class Rows(OneByOne):
    """Reads a CSV file row by row, as `Lines` reads a .jsonl line by line.

    `call` is what the rows are for, `arguments` its arguments by name and whether each must be given, `defaults` those
    that have one. A row may have up to `limit` bytes. Raises Invalid when the header does not fit.
    """

    def __init__(
        self, file: BinaryIO, call: str, arguments: Mapping[str, bool], defaults: Mapping[str, Any], limit: int
    ) -> None:
        super().__init__(file, limit)
        self._call = call
        self._arguments = arguments
        self._defaults = defaults
        self._delimiter = ""
        self._offset = self._begin = self._read_header()
        self._number = 1

    # -- the header -------------------------------------------------------------------------------------------

    def _read_header(self) -> int:
        """Read the names of the columns; gives where the first row begins."""
        first = self._file.readline(self._limit)
        if first[:2] in {b"\xff\xfe", b"\xfe\xff"}:
            raise Invalid('the file is UTF-16 ("Unicode text"); save it as "CSV UTF-8"')
        told = _SEP.fullmatch(first)
        start = len(first) if told else len(_BOM) * first.startswith(_BOM)
        candidates = (told[1].decode("latin-1"),) if told else _DELIMITERS
        records = [(self._read(start, delimiter), delimiter) for delimiter in candidates]
        # The delimiter that gives the most names that the call knows, or else the most names.
        header, self._delimiter = max(records, key=lambda one: (len(self._known(one[0])), len(one[0].cells)))
        if header.trouble is not None:
            raise Invalid(f"the header: {header.trouble}")
        self._columns = [name.strip() for name in header.cells]
        self._check_columns()
        return header.end

    def _known(self, record: Record) -> set[str]:
        return {name.strip() for name in record.cells} & set(self._arguments)

    def _check_columns(self) -> None:
        named = [name for name in self._columns if name]
        if not named:
            raise Invalid("the first row is empty; expected the names of the call's arguments")
        for name, count in Counter(named).items():
            if name not in self._arguments:
                near = nearest(name, self._arguments)
                raise Invalid(f'the header: {self._call} has no argument "{name}"{near}')
            if count > 1:
                raise Invalid(f'the header: the column "{name}" stands there twice')
        missing = [name for name, needed in self._arguments.items() if needed and name not in named]
        if missing:
            raise Invalid(f'the header: no column "{missing[0]}", an argument that {self._call} needs')

    # -- rows ---------------------------------------------------------------------------------------------------

    def next(self) -> Line | None:
        """Give the next row as a line of a batch; None at the (present) end of the file."""
        record = self._read(self._offset, self._delimiter)
        if record.end == self._offset:
            return None
        self._number += 1
        line = self._line(self._number, self._offset, record)
        self._offset = record.end
        return line

    def _line(self, number: int, offset: int, record: Record) -> Line:
        if record.trouble is None and not any(record.cells):
            return Line(number, offset, b"", record.whole)
        line = Line(number, offset, b"", record.whole)
        try:
            if record.trouble is not None:
                raise Invalid(record.trouble)
            job = {"call": self._call, "with": self._arguments_of(record.cells)}
            line.data = orjson.dumps(job) + b"\n"
        except Invalid as fault:
            line.trouble, line.ours = f"row {number}: {fault.message}", True
        return line

    def _arguments_of(self, cells: list[str]) -> dict[str, Any]:
        if len(cells) != len(self._columns):
            raise Invalid(f"it has {len(cells)} cells, and the header names {len(self._columns)} columns")
        given: dict[str, Any] = {}
        for name, cell in zip(self._columns, cells, strict=True):
            if not cell:
                continue
            if not name:
                raise Invalid("a cell stands in a column without a name")
            try:
                cell.encode()
            except UnicodeEncodeError as error:
                byte = f"byte 0x{ord(cell[error.start]) - 0xDC00:02x}"
                raise Invalid(f'column "{name}": {byte} is not UTF-8; save the file as "CSV UTF-8"') from None
            given[name] = value_of(cell, self._defaults.get(name), name)
        return given

    def _read(self, offset: int, delimiter: str) -> Record:
        """Read the row that begins at `offset`."""
        self._file.seek(offset)
        physical = _Physical(self._file, self._limit)
        try:
            cells = next(csv.reader(physical, delimiter=delimiter, strict=True), [])
        except csv.Error as error:
            if not physical.exhausted:
                return Record([], offset + physical.size, trouble=f"not CSV: {error}")
            cells = []
        if physical.exhausted and physical.size:
            # Where a quote is never closed nobody can say what is a row; so nothing of the rest is taken for one.
            words = f"longer than {self._limit} bytes, or a quote is never closed; no row from here on was read"
            return Record([], os.fstat(self._file.fileno()).st_size, whole=physical.size > self._limit, trouble=words)
        return Record(cells, offset + physical.size, whole=physical.whole)

    def read_again(self, line: Line) -> None:
        """Give a row its job back, which it does not keep while it waits."""
        line.data = self._line(line.number, line.offset, self._read(line.offset, self._delimiter)).data

    def again(self) -> None:
        """Begin anew at the first row behind the header."""
        self._offset = self._begin
        self._number = 1

    @property
    def head(self) -> Iterator[bytes]:
        """What stands before the first row, for a file of some of them."""
        yield from self._bytes(0, self._begin)

    def copy(self, line: Line) -> Iterator[bytes]:
        """Give a row as it stands in the file, in pieces."""
        yield from self._bytes(line.offset, self._read(line.offset, self._delimiter).end)

    def _bytes(self, start: int, end: int) -> Iterator[bytes]:
        last = b""
        while start < end:
            last = os.pread(self._file.fileno(), min(end - start, 64 * 1024), start)
            if not last:
                break
            yield last
            start += len(last)
        if not last.endswith(b"\n"):
            yield b"\n"


class _Physical(Iterator[str]):
    """The physical lines of one row, of at most `limit` bytes; the csv reader asks for as many as there are in it."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._limit = limit
        self.size = 0
        # Whether the last line ended as a line does; whether the row is not at its end where the file or its limit is.
        self.whole = True
        self.exhausted = False

    def __next__(self) -> str:
        line = self._file.readline(self._limit + 1 - self.size)
        self.size += len(line)
        if not line or self.size > self._limit:
            self.exhausted = True
            raise StopIteration
        self.whole = line.endswith(b"\n")
        return line.decode("utf-8", "surrogateescape")


def value_of(cell: str, default: Any, name: str) -> Any:
    """Read a cell as the type that the argument's default has; without one as a number or a truth value if it is one.

    Only what is written as JSON would write it counts as a number, so that "007" stays a text. Raises Invalid.
    """
    number = _number(cell)
    match default:
        case bool():
            if cell not in _TRUTH:
                raise Invalid(f'column "{name}": expected true or false')
            return _TRUTH[cell]
        case int() | float():
            if number is None:
                raise Invalid(f'column "{name}": expected a number such as 17 or -3.5')
            return number
        case str():
            return cell
    return _TRUTH.get(cell, cell if number is None else number)


def _number(cell: str) -> int | float | None:
    if not _NUMBER.fullmatch(cell) or len(cell) > _DIGITS or cell == "-0":
        return None
    return float(cell) if "." in cell else int(cell)
