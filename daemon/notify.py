"""What systemd is told, one datagram at a time (sd_notify(3)): that we serve, what we do, that we live, that we stop.

The one rule: telling never waits and never fails. Where nobody listens ($NOTIFY_SOCKET is not set) nothing is told.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress


class Notify:
    """The socket of whoever started us, found in `environ`; `watchdog` is in seconds, None when nobody watches us."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # An "@" stands for the zero byte of an abstract address (unix(7)).
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) if address else None
        # A variable that was meant for the process that started us says whose it is (sd_watchdog_enabled(3)).
        meant = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "")
        self.watchdog = int(usec) / 1e6 if address and meant and usec.isdigit() else None
        self._status = ""

    def ready(self) -> None:
        """Say that we serve, after a start or a reload."""
        self._tell("READY=1")

    def status(self, text: str) -> None:
        """Say in one line what we do; the same line is told once."""
        if text != self._status:
            self._status = text
            self._tell(f"STATUS={text}")

    def alive(self) -> None:
        """Say that everybody moves; systemd restarts us when it has not heard this for WatchdogSec."""
        self._tell("WATCHDOG=1")

    def reloading(self) -> None:
        """Say that the config is being read anew; `ready` ends it."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that we are on our way out."""
        self._tell("STOPPING=1")

    def extend(self, seconds: float) -> None:
        """Ask for at least so many seconds more, from now on, before TimeoutStopSec is over."""
        self._tell(f"EXTEND_TIMEOUT_USEC={seconds * 1e6:.0f}")

    def close(self) -> None:
        """Tell nothing more."""
        if self._socket is not None:
            self._socket.close()

    def _tell(self, state: str) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.sendto(state.encode(), self._address)
