"""The named peers: programs that do the same work as inboxd, each at its fastest documented settings, 32 in flight.

A peer is one file here and one row in PEERS. The file is run with the path of the calls (JSON lines with `method`,
`url` and perhaps `json`), a folder for its answers, and the row's `extra`; the address of its broker is in $BROKER, and
in $QUEUE a name that no run before has used, so that nothing is left from one that broke.
It prepares, says `ready`, waits for a line, makes the calls and keeps every answer, says `done N` when N are kept,
and lives until its input ends.
"""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from bench.kit import Kit, Missing
from bench.measure import Sample, Stopwatch
from bench.rig import Late
from bench.servers import Process, RabbitMQ, Redis
from bench.work import Work

HERE = Path(__file__).resolve().parent
READY, SLOW = 120, 900


class Peer(NamedTuple):
    """A row: the file, what it needs from the index of its language, its broker, and how it is set."""

    program: str
    needs: tuple[str, ...]
    says: str
    keeps: str
    broker: type[Redis | RabbitMQ] | None = None
    extra: tuple[str, ...] = ()


_HUEY = ("huey", "requests")
PEERS = {
    "script": Peer("script.py", ("requests",), "requests, ThreadPoolExecutor(32), a Session per thread", "one file"),
    "fastq + axios": Peer("fastq_axios.mjs", ("fastq", "axios"), "concurrency 32, keep-alive agent", "one file"),
    "undici + p-queue": Peer("undici_pqueue.mjs", ("undici", "p-queue"), "Pool of 32, concurrency 32", "one file"),
    "curl --parallel": Peer("curl.py", (), "--parallel-max 32, config file", "a file each"),
    "Huey": Peer("huey_sqlite.py", _HUEY, "SQLite, 32 threads", "SQLite"),
    "Huey fsync": Peer("huey_sqlite.py", _HUEY, "SQLite with fsync, 32 threads", "SQLite, durable", extra=("fsync",)),
    "Dramatiq": Peer(
        "dramatiq_rabbit.py", ("dramatiq[rabbitmq]", "requests"), "RabbitMQ, 2 x 16 threads", "one file", RabbitMQ
    ),
    "Celery": Peer("celery_rabbit.py", ("celery", "requests"), "RabbitMQ, 32 threads, transient", "one file", RabbitMQ),
    "BullMQ": Peer("bullmq.mjs", ("bullmq", "ioredis", "undici"), "Redis, concurrency 32, addBulk", "one file", Redis),
}


class PeerSide:
    """A peer that is set up: calling it makes the calls of a work once."""

    def __init__(self, name: str, peer: Peer, kit: Kit, broker: Process | None) -> None:
        self.name, self.says, self.keeps = name, peer.says, peer.keeps
        self._broker = broker
        program = HERE / peer.program
        if program.suffix == ".mjs":
            # Node looks for modules beside the program.
            self._command = [kit.node(*peer.needs), str(shutil.copy(program, kit.modules.parent))]
        else:
            self._command = [kit.python(*peer.needs) if peer.needs else sys.executable, str(program)]
        self._extra = peer.extra
        self._environment = {**os.environ, "BROKER": broker.address if broker else ""}

    def __call__(self, work: Work, folder: Path, server: list[int]) -> Sample:
        """Make all calls in a process of its own; raises Late with what it said when it fails."""
        command = [*self._command, str(work.write(folder)), str(folder), *self._extra]
        environment = {**self._environment, "QUEUE": f"bench-{time.monotonic_ns()}"}
        with _running(command, folder, environment) as process:
            _expect(process, folder, "ready", READY)
            side = [process.pid, *(self._broker.pids if self._broker else [])]
            watch = Stopwatch(side, server)
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
            kept = int(_expect(process, folder, "done", SLOW))
            sample = watch.stop(work.size)
        if kept != work.size:
            raise Late(f"{self.name} kept {kept} answers to {work.size} calls")
        return sample


@contextmanager
def _running(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a peer; at the end of the block its input ends, and it should end by itself."""
    pipe = subprocess.PIPE
    with (
        (folder / "said").open("wb") as said,
        subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=pipe,
            stdout=pipe,
            stderr=said,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            # Whatever it started and left behind is in its group.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _expect(process: subprocess.Popen[str], folder: Path, word: str, timeout: float) -> str:
    """Return what the peer says behind this word; raises Late when it says something else, or nothing in time."""
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], timeout)[0]:
        raise Late(f"not {word} within {timeout:g} s")
    line = process.stdout.readline()
    if not line.startswith(word):
        said = (folder / "said").read_text(errors="replace").splitlines()
        telling = [text for text in said if re.match(r"[\w.]*(Error|Exception)\b", text)]
        raise Late(f"not {word}, but: {line or (telling or said or ['nothing'])[-1]}")
    return line.removeprefix(word).strip()


def set_up(
    names: list[str], kit: Kit, broker: Callable[[type[Redis | RabbitMQ]], Process]
) -> tuple[list[PeerSide], dict[str, str]]:
    """Return the peers of these names that can be had, and for each of the others the reason why not."""
    sides, missing = [], {}
    for name in names:
        peer = PEERS[name]
        try:
            sides.append(PeerSide(name, peer, kit, broker(peer.broker) if peer.broker else None))
        except (Missing, Late) as reason:
            missing[name] = str(reason)
    return sides, missing
