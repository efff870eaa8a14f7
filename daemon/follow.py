"""`inboxd follow`: the lines of the log that are about one job, from its first to its last, as they come.

Where the log is a file it is read from there, through rotations; where it is the journal, `journalctl` reads it for us.
A job is known by its name first and by its id from then on, since most lines carry the id alone.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Generator
from typing import BinaryIO

from inboxd.daemon.journal import spool_field

# A field of logfmt, its value in quotes or plain; what stands in quotes is passed over whole.
_FIELD = re.compile(r'([\w.-]+)=("(?:[^"\\]|\\.)*"|\S*)')
LAST = frozenset({"answered", "batch answered"})


class Thread:
    """The lines of one job among all: `want` is its name or id."""

    def __init__(self, want: str) -> None:
        self._wanted = {want}
        self.over = False

    def takes(self, line: str) -> bool:
        """Tell whether a line is about the job; `over` is set with its last one."""
        fields = _fields(line)
        about = fields.get("id"), fields.get("name")
        if not self._wanted.intersection(filter(None, about)):
            return False
        if about[0] is not None:
            self._wanted.add(about[0])
        self.over = self.over or fields.get("event") in LAST
        return True


def _fields(line: str) -> dict[str, str]:
    """Read a line of either form; nothing of one that is neither."""
    try:
        if line.startswith("{"):
            return {name: value for name, value in json.loads(line).items() if isinstance(value, str)}
        found = _FIELD.findall(line)
        return {name: json.loads(value) if value.startswith('"') else value for name, value in found}
    except ValueError:
        return {}


def lines(path: str, pause: Callable[[], None]) -> Generator[str, None, None]:
    """Give the lines of a file, those that are there and those that come; `pause` waits a moment. Raises OSError."""
    file: BinaryIO = open(path, "rb")  # noqa: SIM115  # closed below, or replaced by the one that took its name
    try:
        torn = b""
        while True:
            piece = file.readline()
            if piece.endswith(b"\n"):
                yield (torn + piece).decode(errors="replace").rstrip("\n")
                torn = b""
                continue
            torn += piece
            if not piece:
                before, file = file, _current(path, file)
                if file is before:
                    pause()
    finally:
        file.close()


def _current(path: str, file: BinaryIO) -> BinaryIO:
    """Give the file that has the name now; another one when it was rotated, or was cut off."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return file
    ours = os.fstat(file.fileno())
    if os.path.samestat(there, ours):
        if there.st_size < file.tell():
            file.seek(0)
        return file
    file.close()
    return open(path, "rb")


# All of the daemon's lines: which are about a job that is known by name, only the first of them tells.
JOURNAL = ["journalctl", "--output=short-iso-precise", "--quiet", "SYSLOG_IDENTIFIER=inboxd"]


def journal(spool: str) -> Generator[str, None, None]:
    """Give the journal's lines of a spool's daemons, those that are there and those that come.

    Raises OSError, also when there is none yet: each daemon writes some at its start, so none would come.
    """
    ours = [*JOURNAL, spool_field(spool)]
    if not subprocess.run([*ours, "--lines=1"], capture_output=True, check=False).stdout:  # noqa: S603  # no shell
        raise FileNotFoundError("the journal has no line of this spool's daemon")
    command = [*ours, "--follow", "--lines=all"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as reader:  # noqa: S603  # no shell
        assert reader.stdout is not None
        try:
            for line in reader.stdout:
                # 2026-11-22T08:00:00.123456+0000 HOST inboxd[PID]: claimed id=…
                at, _, rest = line.rstrip().partition(" ")
                yield f"ts={at} event={rest.partition(': ')[2]}"
        finally:
            reader.terminate()
