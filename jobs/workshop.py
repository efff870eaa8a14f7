"""The workshop of one handler: processes that call its function, each one job at a time, begun as they are needed.

The standard library's pool breaks as a whole when one of its processes dies. Here whoever has a job takes an idle
process, or begins one, and talks to it over a socket pair of its own; if it dies, or has not answered at the deadline
and is killed with all it has begun itself, only that job hears of it. Processes are begun afresh and never forked: this
one has threads.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import Any, BinaryIO

import orjson

from inboxd.jobs import faults
from inboxd.jobs.faults import Crashed, HandlerFailed, Timeout, TryAgain
from inboxd.jobs.gathering import Gathering

# The cores that this process may use, before a daemon of several processes keeps itself to one of them.
CORES = frozenset(os.sched_getaffinity(0))
_LENGTH = struct.Struct("!I")
_CHUNK = 64 * 1024
# In bytes, of what a process says about a job beside the result.
_LONGEST = 64 * 1024
# The path of imports is ours, so that the function is found as we would find it.
_START = "import sys; sys.path[:] = {path!r}; from inboxd.jobs.isolated import main; main{arguments!r}"


class Gone(Exception):
    """The process has closed its end."""


class Workshop:
    """Processes for the function `use`, each with at most `memory` bytes of address space (None: no bound)."""

    def __init__(self, use: str, memory: int | None) -> None:
        self._use = use
        self._memory = memory or 0
        self._lock = threading.Lock()
        self._idle: list[Process] = []
        self._busy: set[Process] = set()
        self._closed = False

    def run(self, order: dict[str, Any], attachment: BinaryIO | None, deadline: float, body: Gathering) -> str:
        """Have a job done within `deadline` seconds; fills `body` and gives its media type.

        Raises the Fault that it ended in, or the OSError of a disk that has no room for the body.
        """
        until = time.monotonic() + deadline
        while True:
            process = self._take()
            try:
                return process.carry_out(order, attachment, until, body)
            except TimeoutError:
                raise Timeout(f"not done within {deadline:g} s; its process was killed", uncertain=True) from None
            except (Gone, BrokenPipeError, ConnectionResetError):
                if not process.died_idle:
                    raise process.obituary() from None
            finally:
                self._put_back(process)

    def _take(self) -> Process:
        process = self._idle_one()
        try:
            process = process or Process(self._use, self._memory)
        except OSError as error:
            raise TryAgain(f"no process for the handler can be begun: {error.strerror}") from None
        with self._lock:
            self._busy.add(process)
        return process

    def _idle_one(self) -> Process | None:
        while True:
            with self._lock:
                process = self._idle.pop() if self._idle else None
            if process is None or process.alive:
                return process
            process.bury()

    def _put_back(self, process: Process) -> None:
        with self._lock:
            self._busy.discard(process)
            if process.fit and not self._closed:
                self._idle.append(process)
                return
        process.bury()

    def close(self) -> None:
        """End all processes; a job under way ends as one whose process has died."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for process in self._busy:
                # Whoever waits for it is told, and buries it.
                process.strike()
        for process in idle:
            process.bury()


class Process:
    """One process. Only the thread that has taken it talks to it; anybody may kill it."""

    def __init__(self, use: str, memory: int) -> None:
        self.fit = False
        # Whether it had done jobs and died between two of them, of which no job knows anything.
        self.died_idle = False
        self._ready = False
        self._link, theirs = socket.socketpair()
        with theirs:
            arguments = (theirs.fileno(), use, memory, sorted(CORES))
            start = _START.format(path=sys.path, arguments=arguments)
            self._process = subprocess.Popen(  # noqa: S603  # our own code; what `use` names is the config's word
                [sys.executable, "-P", "-c", start],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=2,
                # A group of its own: a Ctrl-C at our terminal is not for it, and what it begins ends with it.
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Tell whether it runs."""
        # It is looked at without being reaped, so that nobody else can get its number before it is struck.
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def carry_out(self, order: dict[str, Any], attachment: BinaryIO | None, until: float, body: Gathering) -> str:
        """Have one job done; raises Gone, TimeoutError, or the Fault that the job ended in."""
        if not self._ready:
            said = self._hear(until)
            if "unfit" in said:
                raise HandlerFailed(said["unfit"])
            self._ready = True
        self.died_idle, self.fit = self.fit, False
        self._say(order, attachment, until)
        self._hear(until)
        self.died_idle = False
        said = self._hear(until)
        if "fault" in said:
            self.fit = not said["last"]
            fault = getattr(faults, said["fault"])
            raise fault(said["message"], retry_after=said["retry_after"], uncertain=said["uncertain"])
        body.expect(said["size"])
        left = said["size"]
        while left:
            chunk = self._receive(min(left, _CHUNK), until)
            body.write(chunk)
            left -= len(chunk)
        self.fit = True
        return str(said["type"])

    def _say(self, order: dict[str, Any], attachment: BinaryIO | None, until: float) -> None:
        data = orjson.dumps(order)
        self._link.settimeout(max(until - time.monotonic(), 0.001))
        socket.send_fds(self._link, [_LENGTH.pack(len(data))], [attachment.fileno()] if attachment else [])
        self._link.sendall(data)

    def _hear(self, until: float) -> dict[str, Any]:
        (size,) = _LENGTH.unpack(self._whole(_LENGTH.size, until))
        if size > _LONGEST:
            # Not our words: the function has got hold of the socket.
            raise Gone
        said: dict[str, Any] = orjson.loads(self._whole(size, until))
        return said

    def _whole(self, size: int, until: float) -> bytes:
        data = b""
        while len(data) < size:
            data += self._receive(size - len(data), until)
        return data

    def _receive(self, size: int, until: float) -> bytes:
        self._link.settimeout(max(until - time.monotonic(), 0.001))
        data = self._link.recv(size)
        if not data:
            raise Gone
        return data

    def strike(self) -> None:
        """End it and everything in its group."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def bury(self) -> None:
        """End it, and wait until it is gone."""
        self.fit = False
        self.strike()
        self._process.wait()
        self._link.close()

    def obituary(self) -> Crashed:
        """Say what it died of; what it died of stands when it closes its end, before it is struck."""
        self.bury()
        status = self._process.returncode
        end = f"ended with exit status {status}"
        if status < 0:
            end = f"died of {_signal_name(-status)}"
        return Crashed(f"the process of the handler {end}", uncertain=True)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
