"""The log: records of the standard library's loggers, written by one thread, many lines with one system call.

The one rule: nobody waits for the log and nothing it meets is raised into anybody. When the pipe or the disk is
stuck, records are dropped and counted, and the count is logged once lines flow again. A log file is only ever
appended to, and opened anew when it was moved or removed.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import traceback
from collections import deque
from contextlib import suppress
from time import time
from typing import Any, Literal, Protocol

from inboxd.daemon.journal import Journal, datagram, is_standard_error
from inboxd.daemon.logline import Entry, Format, json_line, logfmt

Level = Literal["debug", "info", "warning", "error"]

# Records that may wait: some seconds of a busy daemon, and a few megabytes at most.
ROOM = 10_000
# The writer gathers lines for this long after it has written; the first line after a silence goes out at once.
GATHER = 0.02
# What a stop grants to a log that is stuck.
PATIENCE = 2.0
STDERR = 2
TAIL = 300

_OURS = logging.getLogger("inboxd")
_OPEN = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
_LEVELS = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "critical",
}
_NUMBERS: dict[Level, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# What every record would carry and no line shows, 2 µs of 8 for each. The switches are the standard library's own
# (Logging HOWTO, "Optimization") and the whole process's, so they are set back when the log ends.
_SAVINGS: dict[str, Any] = {
    "_srcfile": None,
    "logThreads": False,
    "logProcesses": False,
    "logMultiprocessing": False,
    "logAsyncioTasks": False,
}


class Sink:
    """Where lines go: standard error, or a file that is opened anew when its name stands for another file."""

    def __init__(self, file: str | None) -> None:
        self._file = file
        self._fd = STDERR if file is None else os.open(file, _OPEN, 0o640)
        self._torn = False

    def write(self, lines: list[str]) -> bool:
        """Write whole lines; says whether all of them went out."""
        text = "".join([f"{line}\n" for line in lines])
        data = memoryview((f"\n{text}" if self._torn else text).encode(errors="backslashreplace"))
        try:
            self._follow()
            while data:
                data = data[self._some(data) :]
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._fd)

    def _some(self, data: memoryview) -> int:
        try:
            written = os.write(self._fd, data)
        except BlockingIOError:
            # Somebody who shares our standard error made it non-blocking.
            select.select([], [self._fd], [], PATIENCE)
            return 0
        self._torn = data[written - 1] != ord("\n")
        return written

    def _follow(self) -> None:
        """Open the file anew if it was moved or removed; while that fails the old one is good enough."""
        if self._file is None:
            return
        with suppress(OSError):
            found, ours = None, os.fstat(self._fd)
            with suppress(FileNotFoundError):
                found = os.stat(self._file)
            if found is None or not os.path.samestat(found, ours):
                fd = os.open(self._file, _OPEN, 0o640)
                os.close(self._fd)
                self._fd, self._torn = fd, False


class Lines(Protocol):
    """Where finished lines go."""

    def write(self, lines: list[str]) -> bool:
        """Write whole lines; says whether all of them went out."""

    def close(self) -> None:
        """Write no more."""


class Logs(logging.Handler):
    """The running log: a handler for any number of threads, and the thread that writes."""

    def __init__(self, sink: Lines, line: Format) -> None:
        super().__init__()
        self._sink = sink
        self._line = line
        # A record that waits to be brought to a line, or a line that another process has made.
        self._waiting: deque[Entry | str] = deque()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._counting = threading.Lock()
        self._untold = 0
        self.dropped = 0
        # The last lines, for those who look at the daemon from elsewhere.
        self.tail: deque[str] = deque(maxlen=TAIL)
        self._before: dict[str, Any] = {}
        self._level_before = logging.NOTSET
        self._thread = threading.Thread(target=self._write, name="inboxd-log", daemon=True)

    def begin(self, level: Level) -> None:
        """Take the process's records from now on, those of our own loggers from `level` on."""
        self._before = {name: getattr(logging, name) for name in _SAVINGS if hasattr(logging, name)}
        for name in self._before:
            setattr(logging, name, _SAVINGS[name])
        self._level_before = _OURS.level
        self.set_level(level)
        logging.getLogger().addHandler(self)
        self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record; never waits. No lock is needed, because a deque's append is one step."""
        if self.filters and not self.filter(record):
            return False
        if len(self._waiting) >= ROOM:
            self._drop(1)
            return False
        given = getattr(record, "fields", None)
        fields: dict[str, Any] = dict(given) if isinstance(given, dict) else {}
        event = record.msg
        if record.args or record.exc_info or not isinstance(event, str) or not record.name.startswith("inboxd"):
            event = _unusual(record, fields)
        self._waiting.append((record.created, _LEVELS.get(record.levelno) or record.levelname, event, fields))
        if not self._wake.is_set():
            self._wake.set()
        return True

    def take(self, lines: list[str]) -> None:
        """Take lines that another process of ours has made; never waits."""
        room = ROOM - len(self._waiting)
        if len(lines) > room:
            self._drop(len(lines) - max(room, 0))
        self._waiting.extend(lines[: max(room, 0)])
        self._wake.set()

    @staticmethod
    def shows(level: Level) -> bool:
        """Tell whether records of our loggers of that level are shown."""
        return _OURS.isEnabledFor(_NUMBERS[level])

    def set_level(self, level: Level) -> None:
        """Show records of our loggers from `level` on."""
        _OURS.setLevel(level.upper())

    def stop(self) -> None:
        """Write what waits and end; a log that is stuck is given up after some seconds."""
        logging.getLogger().removeHandler(self)
        for name, value in self._before.items():
            setattr(logging, name, value)
        _OURS.setLevel(self._level_before)
        self._stopping.set()
        self._wake.set()
        self._thread.join(PATIENCE)
        self.close()

    def _drop(self, count: int) -> None:
        with self._counting:
            self._untold += count
            self.dropped += count

    def _write(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait()
            self.turn()
            self._stopping.wait(GATHER)
        self.turn()
        self._sink.close()

    def turn(self) -> None:
        """Write everything that waits."""
        self._wake.clear()
        entries = [self._waiting.popleft() for _ in range(len(self._waiting))]
        untold = self._untold
        if untold:
            entries.append((time(), "warning", "lines dropped", {"lines_dropped": untold}))
        if not entries:
            return
        lines = [self._one_line(entry) for entry in entries]
        self.tail.extend(lines[-TAIL:])
        if self._sink.write(lines):
            with self._counting:
                self._untold -= untold
        else:
            self._drop(len(entries) - bool(untold))

    def _one_line(self, entry: Entry | str) -> str:
        if isinstance(entry, str):
            return entry
        try:
            return self._line(entry)
        except Exception as error:
            # A value whose own text cannot be had must not end the thread.
            return self._line((*entry[:3], {"fault": f"fields cannot be shown: {type(error).__name__}"}))


def line_of(format: Literal["logfmt", "json"], file: str | None) -> Format:  # noqa: A002  # the config calls it so
    """Give what brings a record to the form in which it goes to `file`, or to what stands behind standard error."""
    if file is None and is_standard_error(os.environ):
        return datagram
    return json_line if format == "json" else logfmt


def start(
    level: Level = "info",
    format: Literal["logfmt", "json"] = "logfmt",  # noqa: A002  # the config calls it so
    file: str | None = None,
    spool: str = "",
) -> Logs:
    """Send the process's log to `file` (None: standard error, or the journal if that is what stands behind it).

    The journal is told whose `spool` it is about. Raises OSError when the file cannot be opened.
    """
    line = line_of(format, file)
    logs = Logs(Journal(spool) if line is datagram else Sink(file), line)
    logs.begin(level)
    return logs


def _unusual(record: logging.LogRecord, fields: dict[str, Any]) -> str:
    """Give the message of a record that is not of our plain kind, and add to `fields` what else it carries.

    Tracebacks are made here, not by the writer, so that no frame with all it holds waits in memory.
    """
    if not record.name.startswith("inboxd"):
        fields["logger"] = record.name
    if record.exc_info and record.exc_info[0] is not None:
        fields["traceback"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
    try:
        return record.getMessage()
    except Exception as error:
        # A stranger's arguments may not fit his message.
        event = record.msg if isinstance(record.msg, str) else "a message that cannot be shown"
        return f"{event} ({type(error).__name__})"
