"""The journal instead of standard error: one datagram a record, with fields that `journalctl INBOXD_ID=…` can ask for.

Spoken is systemd's native journal protocol, in its plain form, for which no value may hold a line break.
The one rule: taken only when standard error is the journal already ($JOURNAL_STREAM, systemd.exec(5)) and no file is
asked for. A journal that is stuck makes the writer's thread wait, and nobody else.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

from inboxd.daemon.logline import Entry, logfmt, masked

SOCKET = "/run/systemd/journal/socket"
# syslog(3)
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
# What a record's field is called in the journal.
FIELDS = {
    "id": "INBOXD_ID",
    "name": "INBOXD_JOB",
    "api": "INBOXD_API",
    "status": "INBOXD_STATUS",
    "fault": "INBOXD_FAULT",
}


def spool_field(spool: str) -> str:
    """Give the field that tells the records of one spool's daemon from those of others."""
    return f"INBOXD_SPOOL={_one_line(os.path.realpath(spool))}"


def is_standard_error(environ: Mapping[str, str], fd: int = 2) -> bool:
    """Tell whether what is written to `fd` goes to the journal."""
    with suppress(OSError):
        found = os.fstat(fd)
        return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
    return False


def datagram(entry: Entry) -> str:
    """Give the entry as the journal takes it: fields, one a line, the message first."""
    _, level, event, fields = entry
    # The journal has the time and the level by itself.
    message = logfmt(entry).partition(" event=")[2]
    lines = [f"MESSAGE={message}", f"PRIORITY={_PRIORITIES.get(level, 6)}", "SYSLOG_IDENTIFIER=inboxd"]
    named = {name: fields[ours] for ours, name in FIELDS.items() if fields.get(ours) is not None}
    lines += [f"{name}={_one_line(value)}" for name, value in {"INBOXD_EVENT": event, **named}.items()]
    return "\n".join(lines) + "\n"


def _one_line(value: object) -> str:
    return " ".join(masked(str(value)).splitlines())


class Journal:
    """The journal's socket, in the place of a file of lines, for the daemon of `spool`."""

    def __init__(self, spool: str, address: str = SOCKET) -> None:
        self._spool = f"{spool_field(spool)}\n"
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def write(self, datagrams: list[str]) -> bool:
        """Send each datagram; says whether all of them went out."""
        sent = True
        for each in datagrams:
            try:
                self._socket.sendto((each + self._spool).encode(errors="backslashreplace"), self._address)
            except OSError:
                # Too long for one datagram, or the journal is being restarted; the next may do better.
                sent = False
        return sent

    def close(self) -> None:
        """Send nothing more."""
        self._socket.close()
