"""The house's end of one mate: its process, the socket to it, and which jobs it has of whom.

The one rule: whoever owns jobs may hold as much of a mate as is left free, so that none keeps out the others.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import Future
from math import inf
from multiprocessing.connection import Connection
from typing import Any, Protocol

from inboxd.daemon.ready import Asked, Back, PutDown, Ready, Recall, Rest, Stop, Work

# What one mate may have in hand: so many jobs, or, if these are more, so many for each of its threads, so that the half
# that one owner may hold keeps all of them busy; and so many bytes that a message never waits for the socket.
MOST_JOBS = 256
MOST_A_THREAD = 4
MOST_BYTES = 64 * 1024
_BOOT = "import sys; sys.path[:] = {path!r}; from inboxd.daemon.mate import main; main({fd})"


class Owner(Protocol):
    """Whoever gives jobs to the crew. `thing` is what it gave with a job, to know it again."""

    def came(self, answers: list[tuple[Any, Ready]]) -> None:
        """Take answers."""

    def came_back(self, thing: Any, back: Back) -> None:
        """Take a job back that got none; other processes are not to be asked again."""


class Link:
    """One further process, as the house sees it. What it has in hand changes only under the crew's lock."""

    def __init__(self, number: int, process: subprocess.Popen[bytes], connection: Connection, threads: int) -> None:
        self.number = number
        self.process = process
        self.connection = connection
        self.there = False
        self.leaving = False
        # By token: whose it is, what it is to its owner, the job.
        self.in_hand: dict[str, tuple[Owner, Any, Asked]] = {}
        # Those of them that were asked back, until it is known whether they come.
        self.recalled: dict[str, Future[bool]] = {}
        # Since when its next word is waited for (monotonic); inf while one is being taken in.
        self.silent_since = inf
        self._most = max(MOST_JOBS, MOST_A_THREAD * threads)
        # How many jobs in hand are whose, and how many bytes all are.
        self._held: Counter[int] = Counter()
        self._bytes = 0
        self._sending = threading.Lock()

    def tell(self, message: Work | Rest | PutDown | Recall | Stop) -> None:
        """Send it a message. One that is dying is noticed by its reader, who takes back all that it had in hand."""
        with self._sending, contextlib.suppress(OSError):
            self.connection.send(message)

    def room(self, owner: Owner) -> int:
        """Say how many more jobs of an owner it may get."""
        if not self.there or self.leaving or self._bytes >= MOST_BYTES:
            return 0
        return max(0, (self._most - len(self.in_hand) - self._held[id(owner)] + 1) // 2)

    def put(self, owner: Owner, thing: Any, asked: Asked) -> None:
        """Note a job that it gets."""
        self.in_hand[asked.token] = (owner, thing, asked)
        self._held[id(owner)] += 1
        self._bytes += len(asked.data)

    def off(self, token: str) -> tuple[Owner, Any]:
        """Take a job off what it has in hand; gives whose it is, and what it is to its owner."""
        owner, thing, asked = self.in_hand.pop(token)
        self._bytes -= len(asked.data)
        self._held[id(owner)] -= 1
        if not self._held[id(owner)]:
            # Another owner may come to lie at the same place.
            del self._held[id(owner)]
        return owner, thing


def started(number: int, threads: int) -> Link:
    """Start a process that will be a mate; it waits to be told which and how. Raises OSError."""
    ours, theirs = socket.socketpair()
    with theirs:
        boot = _BOOT.format(path=sys.path, fd=theirs.fileno())
        process = subprocess.Popen(  # noqa: S603  # our own interpreter and code
            [sys.executable, "-c", boot], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
        )
    return Link(number, process, Connection(ours.detach()), threads)
