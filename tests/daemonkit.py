"""A real daemon in a process of its own on a fresh spool, the real command line, and a server that counts its calls.

    with CountingServer() as server, Daemon(tmp_path) as daemon:
        daemon.drop("one", {"url": server.url("/ok")})
        assert daemon.answer("one")["status"] == "done"
        assert server.counts["/ok"] == 1

What is waited for is looked for again and again until a deadline that only a broken daemon reaches.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.faultserver import FaultServer

ROOT = Path(__file__).resolve().parent.parent
# Seconds. Tests that pass never wait so long; a machine with other work to do may need some of it.
PATIENCE = 30.0
_NEVER = threading.Event()


def wait_until(condition: Callable[[], Any], what: str = "the condition", timeout: float = PATIENCE) -> Any:
    """Return what `condition` gives as soon as that is true; raises AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout:g} s"
        _NEVER.wait(0.01)
    return found


def drop_whole(path: Path, content: str | bytes) -> None:
    """Drop a file, complete when it is visible."""
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.write_bytes(content if isinstance(content, bytes) else content.encode())
    unfinished.rename(path)


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which this checkout is `inboxd`, and nothing else is said about a spool."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("INBOXD_")}
    return {**plain, "PYTHONPATH": str(ROOT), **(more or {})}


def inboxd(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, stdin: bytes = b""
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "inboxd", *arguments],
        cwd=cwd,
        env=environment(env),
        input=stdin,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


class CountingServer(FaultServer):
    """A fault server that says how often it was called: by path, and by the Idempotency-Key of its jobs."""

    @property
    def counts(self) -> Counter[str]:
        return Counter(seen.path for seen in self.requests)

    @property
    def keys(self) -> Counter[str]:
        return Counter(seen.headers["idempotency-key"] for seen in self.requests if "idempotency-key" in seen.headers)


class Daemon:
    """A daemon on `folder`/spool, with `config` behind the first lines of `folder`/inboxd.toml.

    In a `with` block it is started, and killed at the end if the test has not stopped it.
    """

    def __init__(self, folder: Path, config: str = "", env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._env = env
        self.spool = folder / "spool"
        self.config = folder / "inboxd.toml"
        # However full the disk of the machine is: no test is about that. And one process, unless a test is about more,
        # for hundreds of daemons are started.
        processes = "" if "processes" in config else "processes = 1\n"
        self.config.write_text(f'spool = "spool"\nmin_free = 0\n{processes}{config}')
        self._log = folder / "daemon.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.kill()

    @property
    def log(self) -> str:
        """What all daemons on this folder have logged so far."""
        return self._log.read_text() if self._log.exists() else ""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it is ready."""
        told = len(self.log)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "inboxd", "run", "--config", str(self.config)],
                cwd=self.folder,
                env=environment(self._env),
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        process = self._process
        wait_until(lambda: "event=ready" in self.log[told:] or process.poll() is not None, "the daemon's start")
        assert process.poll() is None, self.log[told:]

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; returns its exit status."""
        assert self._process is not None
        try:
            return self._process.wait(PATIENCE)
        finally:
            if self._process.poll() is not None:
                self._process = None

    def stop(self) -> int:
        """Tell it to stop as systemd does, and wait; returns its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it as a power cut ends a process."""
        self.signal(signal.SIGKILL)
        self.wait()

    def drop(self, name: str, *jobs: Any, suffix: str | None = None) -> None:
        """Drop one job as NAME.json, or several as the lines of NAME.jsonl; text is dropped as it is."""
        lines = [job if isinstance(job, str) else json.dumps(job) for job in jobs]
        suffix = suffix or (".json" if len(jobs) == 1 else ".jsonl")
        self.attach(f"{name}{suffix}", "".join(f"{line}\n" for line in lines).encode())

    def attach(self, filename: str, data: bytes) -> None:
        """Drop any file, complete when it is visible."""
        drop_whole(self.spool / "inbox" / filename, data)

    def answer(self, name: str, *, timeout: float = PATIENCE) -> Any:
        """Wait for outbox/NAME.json and return what it says."""
        path = self.spool / "outbox" / f"{name}.json"
        wait_until(path.exists, f"the answer {path.name}", timeout)
        return json.loads(path.read_bytes())

    def batch(self, name: str, *, timeout: float = PATIENCE) -> list[Any]:
        """Wait for outbox/NAME.jsonl and return its answers in the order of their lines."""
        path = self.spool / "outbox" / f"{name}.jsonl"
        wait_until(path.exists, f"the answers {path.name}", timeout)
        return sorted(map(json.loads, path.read_bytes().splitlines()), key=lambda answer: answer["line"])

    def files(self, folder: str) -> set[str]:
        """Return the names of what lies in one folder of the spool."""
        with contextlib.suppress(FileNotFoundError):
            return {entry.name for entry in (self.spool / folder).iterdir()}
        return set()
