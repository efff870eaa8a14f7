"""What an acceptance check works with: a server process that counts, and a daemon process on a spool of its own.

    with Server() as server, Daemon(folder, server.table("shop", 'rate = "10/s"')) as daemon: ...

Everything that is waited for has a deadline, so that every check ends.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

ROOT = Path(__file__).resolve().parent.parent
# How often things that are waited for are looked at: seldom enough to leave the cores to the daemon.
LOOK = 0.05
KIB = 1024


class Late(Exception):
    """Something did not come in time."""


class Outcome(NamedTuple):
    """What a check found: whether it is as it should be, and the figures."""

    passed: bool
    figures: str


class Call(NamedTuple):
    """One call as the server saw it; `at` is of the monotonic clock, which all processes share."""

    at: float
    key: str
    path: str


def wait_until(condition: Callable[[], Any], what: str, timeout: float, look: float = LOOK) -> float:
    """Return how long it took until `condition` was true; raises Late after `timeout` seconds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout:
            raise Late(f"{what}: not within {timeout:g} s")
        time.sleep(look)
    return time.monotonic() - began


class Server:
    """The loopback server in a process of its own, on `port` or any."""

    def __init__(self, port: int = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.loopback", str(port)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Be gone: from here on connections are refused."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def url(self, path: str) -> str:
        """Return the URL of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def calls(self) -> list[Call]:
        """Return the calls that it saw."""
        lines = (line.split(" ") for line in self._ask("/-/calls"))
        return [Call(float(at), key, path) for at, key, path in lines]

    def ends(self) -> list[tuple[float, int, str]]:
        """Return, of each drip or huge body: how long it went on, bytes sent, path."""
        lines = (line.split(" ") for line in self._ask("/-/ends"))
        return [(float(seconds), int(sent), path) for seconds, sent, path in lines]

    def _ask(self, path: str) -> list[str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()


class Daemon:
    """The real daemon on folder/spool; in a `with` block it is started, and killed at the end if it still runs."""

    def __init__(self, folder: Path, config: str = "") -> None:
        self.folder = folder
        self.spool = folder / "spool"
        self.log = folder / "daemon.log"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "inboxd.toml").write_text(f'spool = "spool"\nmin_free = 0\n{config}')
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it is ready."""
        told = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "inboxd", "run", "--config", str(self.folder / "inboxd.toml")],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        wait_until(lambda: self._told(told) or self.ended, "the daemon's start", 60)
        if self.ended:
            raise Late(f"the daemon did not start: {self.log.read_text()[told:][-500:]}")

    def _told(self, since: int) -> bool:
        with self.log.open("rb") as log:
            log.seek(since)
            return b"event=ready" in log.read()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it is down."""
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """End it as a power cut ends a process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def terminate(self, timeout: float) -> tuple[int, float]:
        """Tell it to stop, and wait; returns its exit status and the seconds it took."""
        assert self._process is not None
        self.signal(signal.SIGTERM)
        took = wait_until(lambda: self.ended, "the daemon's end", timeout, 0.005)
        return self._process.wait(), took

    def memory(self, figure: str) -> float:
        """Return VmRSS (now) or VmHWM (the most so far) in MiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{figure}:"):
                return int(line.split()[1]) / KIB
        raise Late(f"no {figure} of process {self.pid}")

    # -- in ---------------------------------------------------------------------------------------------------

    def make(self, jobs: Iterable[tuple[str, Any]]) -> list[str]:
        """Write jobs beside the inbox, not in it yet; returns their file names. A list is a batch."""
        beside = self.folder / "made"
        beside.mkdir(exist_ok=True)
        names = []
        for name, job in jobs:
            filename = f"{name}.jsonl" if isinstance(job, list) else f"{name}.json"
            lines = job if isinstance(job, list) else [job]
            with (beside / filename).open("w") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)
            names.append(filename)
        return names

    def move_in(self, filenames: Iterable[str]) -> None:
        """Move what was made into the inbox."""
        beside, inbox = str(self.folder / "made"), str(self.spool / "inbox")
        for filename in filenames:
            os.rename(f"{beside}/{filename}", f"{inbox}/{filename}")

    def drop(self, jobs: Iterable[tuple[str, Any]]) -> None:
        """Drop jobs, all of them at once."""
        self.move_in(self.make(jobs))

    # -- out --------------------------------------------------------------------------------------------------

    def names(self, folder: str) -> list[str]:
        """Return the names of what is visible in a folder of the spool."""
        return [name for name in os.listdir(self.spool / folder) if not name.startswith(".")]

    def count(self, folder: str) -> int:
        """Return how many names there are in a folder."""
        return len(self.names(folder))

    def wait_for_answers(self, count: int, timeout: float) -> float:
        """Wait until so many answers are there; returns how long it took."""
        return wait_until(lambda: self.count("outbox") >= count, f"{count} answers", timeout, 0.1)

    def answers(self) -> Iterator[dict[str, Any]]:
        """Return all single answers; a torn one raises ValueError."""
        for name in self.names("outbox"):
            yield json.loads((self.spool / "outbox" / name).read_bytes())
