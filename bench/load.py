"""Sides that are servers: an Express program, or inboxd's gateway, under wrk with 64 connections that are kept alive.

A side here is anything with a `name` and `says` whose `served(folder)` gives, in a `with` block, its port and its
process id. What is done is a script of wrk in bench/scripts, which counts what it got.
"""

import json
import re
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from bench.field import Field
from bench.kit import Kit, Missing
from bench.measure import ALL_CORES, Figures, Sample, Stopwatch
from bench.peers import HERE
from bench.rig import ROOT, Daemon, Late
from bench.side import Settings, prepared, warmed_up

CONNECTIONS = 64
SECONDS = 10
GATEWAY = """[gateway]
enabled = true
listen = "127.0.0.1:0"
private = true
backlog = 10_000_000
[gateway.ports]
wq = 0
"""


class Served(NamedTuple):
    """A server that is up."""

    port: int
    pid: int


class ServerSide(NamedTuple):
    """A server, what it keeps, and how it is brought up in a folder of its own."""

    name: str
    keeps: str
    served: Callable[[Path], AbstractContextManager[Served]]


def express(kit: Kit, program: str) -> ServerSide:
    """Return a peer on Express; raises Missing when it cannot be set up."""
    command = [kit.node("express"), str(shutil.copy(HERE / program, kit.modules.parent))]

    @contextmanager
    def served(_: Path) -> Iterator[Served]:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield Served(int(process.stdout.readline().removeprefix("ready")), process.pid)
            finally:
                process.kill()

    return ServerSide("Express", "memory", served)


def inboxd(name: str = "inboxd", dialect: str = "", paused: str = "", settings: Settings | None = None) -> ServerSide:
    """Return our gateway, or one of its dialects' ports; the calls of the API `paused` are not made."""

    @contextmanager
    def served(folder: Path) -> Iterator[Served]:
        daemon = prepared(folder, settings or {})
        with (daemon.folder / "inboxd.toml").open("a") as config:
            config.write(GATEWAY)
        if paused:
            place = daemon.spool / "state" / "paused"
            place.mkdir(parents=True)
            (place / quote(paused, safe="")).touch()
        try:
            daemon.start()
            warmed_up(daemon, settings or {})
            yield Served(port_of(daemon, dialect), daemon.pid)
        finally:
            daemon.kill()

    return ServerSide(name, "a spool, durable", served)


def port_of(daemon: Daemon, dialect: str) -> int:
    """Return the port of the gateway, or of a dialect."""
    told = re.findall(r'event="gateway listens" address=\S+:(\d+)(?: dialect=(\S+))?', daemon.log.read_text())
    return next(int(port) for port, name in reversed(told) if name == dialect)


def in_turn(field: Field, sides: Sequence[ServerSide], script: str, body: str) -> dict[str, Figures]:
    """Put all sides under the load of a script, as `Field.by_rounds` does."""
    return field.by_rounds(sides, script, lambda side: run(field, side, script, body))


def run(field: Field, side: ServerSide, script: str, body: str) -> Sample:
    """Put one side under load; raises Late when it refuses anything."""
    wrk = field.kit.debian("wrk", "wrk")
    seconds = max(2, round(SECONDS * field.options.scale))
    with field.scratch() as folder, side.served(folder) as server:
        command = [
            wrk,
            "-t1",
            f"-c{CONNECTIONS}",
            f"-d{seconds}s",
            "--timeout",
            "30s",
            "-s",
            script,
        ]
        before, watch = _children(), Stopwatch([server.pid], [])
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{server.port}/{'jobs' if script == 'accept.lua' else ''}", "--", body],
            # Where a script finds the others.
            cwd=ROOT / "bench" / "scripts",
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
        told = re.search(r'^\{"good.*\}$', done.stdout, re.MULTILINE)
        if told is None:
            raise Missing(f"wrk: {done.stderr[-300:]}")
        found = json.loads(told[0])
        sample = watch.stop(found["good"])
        load = (_children() - before) / (sample.seconds * ALL_CORES)
    if found["bad"] or not found["good"]:
        raise Late(f"{found['bad']} answers were bad, {found['good']} good")
    return sample._replace(seconds=found["seconds"], foreign=max(0.0, sample.foreign - load))


def _children() -> float:
    """Return the CPU seconds of all our processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
