"""A process of the workshop: it loads one function and then only calls it, job by job, until its socket closes.

It may die at any moment, by a crash, by its memory limit or because it is killed at its deadline; nobody but the one
job under way is harmed. The kernel ends it, too, when the thread that began it is gone, so that a daemon that was
killed leaves no function behind that its next start would call a second time.

The words on the socket, in both directions: 4 bytes of length, so many bytes of JSON, and behind a result its body.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import struct
from typing import Any

import orjson

from inboxd.jobs.faults import Fault, Invalid
from inboxd.jobs.functions import Context, Function, load

LENGTH = struct.Struct("!I")
_PR_SET_PDEATHSIG = 1


def main(fd: int, use: str, memory: int, cores: list[int]) -> None:
    """Serve `use` on the socket `fd` within `memory` bytes of address space (0: no bound), on these cores."""
    with contextlib.suppress(OSError):
        # A sandbox may forbid it; then it stays where the daemon is.
        os.sched_setaffinity(0, cores)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    link = socket.socket(fileno=fd)
    # What the function prints is for the log, and the parent's standard output is not ours.
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    try:
        function = load(use)
    except Invalid as fault:
        _send(link, {"unfit": fault.message})
        return
    _send(link, {"ready": True})
    while (order := _receive(link)) is not None:
        _send(link, {"begun": True})
        if not _serve(link, function, *order):
            return


def _serve(link: socket.socket, function: Function, order: dict[str, Any], attachment: int | None) -> bool:
    """Do one job; False when nothing more should be asked of this process."""
    file = None if attachment is None else os.fdopen(attachment, "rb")
    exhausted = False
    try:
        result = function.call(order["with"], Context(**order["context"]), file)
        _send(link, {"type": result.content_type, "size": len(result.body)}, result.body)
    except Fault as fault:
        # What is left of the address space may not be enough for the next job.
        exhausted = isinstance(fault.__context__, MemoryError)
        told = {"fault": _known(fault), "message": fault.message, "uncertain": fault.uncertain}
        _send(link, {**told, "retry_after": fault.retry_after, "last": exhausted})
    finally:
        if file is not None:
            file.close()
    return not exhausted


def _known(fault: Fault) -> str:
    """Give the name of the fault's class, or of the nearest above it that the workshop knows too."""
    return next(kind.__name__ for kind in type(fault).__mro__ if kind.__module__ == Fault.__module__)


def _send(link: socket.socket, words: dict[str, Any], body: bytes = b"") -> None:
    data = orjson.dumps(words)
    link.sendall(LENGTH.pack(len(data)) + data)
    link.sendall(body)


def _receive(link: socket.socket) -> tuple[dict[str, Any], int | None] | None:
    """Wait for the next job and the descriptor of its attachment; None at the end."""
    head, fds, _, _ = socket.recv_fds(link, LENGTH.size, 1)
    if len(head) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(head)
    data = link.recv(size, socket.MSG_WAITALL)
    return (orjson.loads(data), fds[0] if fds else None) if len(data) == size else None
