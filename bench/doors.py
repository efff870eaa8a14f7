"""Acceptance checks of the gateway: it does what it says, a flood loses nothing, slow clients are in nobody's way."""

import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from bench.rig import Daemon, Outcome, Server, wait_until

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,unsupported_method,allow_header_conformance"
)
# Nobody waits for an answer here: that would only take time.
NO_WAITING = '[parameters]\n"query.wait" = 0\n"header.Prefer" = "wait=0"\n'
CONFIG = '[gateway]\nenabled = true\nlisten = "127.0.0.1:0"\nprivate = true\n'


def schemathesis(address: str, folder: Path, examples: int, phases: str) -> tuple[bool, str]:
    """Let schemathesis ask for each operation; returns whether all is as it should be, and what it said."""
    (folder / "schemathesis.toml").write_text(NO_WAITING)
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://{address}/openapi.json", "--seed", "1"]
    command += [
        "--checks",
        CHECKS,
        "--max-examples",
        str(examples),
        "--phases",
        phases,
        "--generation-database",
        "none",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    return done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]


def address(daemon: Daemon) -> tuple[str, int]:
    """Return where the gateway listens."""
    host, _, port = re.findall(r'event="gateway listens" address=(\S+)', daemon.log.read_text())[-1].rpartition(":")
    return host, int(port)


def openapi(folder: Path) -> Outcome:
    """At least 2,000 requests made from /openapi.json: no 5xx, nothing that the document does not say."""
    with Daemon(folder, "allow = []\n" + CONFIG) as daemon:
        host, port = address(daemon)
        good, told = schemathesis(f"{host}:{port}", folder, 120, "examples,coverage,fuzzing")
    cases = int(next(iter(re.findall(r"(\d+) generated", told)), 0))
    return Outcome(good and cases >= 2000, f"{cases} cases" + ("" if good else f": {told[-600:]}"))


def polls(folder: Path) -> Outcome:
    """500 long polls and 40 slow heads open: a POST is answered in under 20 ms at the median."""
    with Server() as server, Daemon(folder, CONFIG) as daemon, ExitStack() as open_now:
        place = address(daemon)
        _post(http.client.HTTPConnection(*place), {"id": "asleep", "url": server.url("/ok"), "delay": "1h"})
        for number in range(540):
            client = open_now.enter_context(socket.create_connection(place))
            poll = b"GET /jobs/asleep HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=60\r\n\r\n"
            client.sendall(poll if number < 500 else b"POST /jobs HTTP/1.1\r\nHost: loc")
        connection, took = http.client.HTTPConnection(*place), []
        for number in range(200):
            began = time.perf_counter()
            _post(connection, {"url": server.url(f"/ok/{number}")})
            took.append((time.perf_counter() - began) * 1000)
    return Outcome(median(took) < 20, f"median {median(took):.1f} ms, longest {max(took):.0f} ms")


def flood(folder: Path) -> Outcome:
    """POSTs at full speed for 30 s: every 202 has its answer, every refusal a Retry-After, and memory stays flat."""
    accepted: list[str] = []
    refused: list[str | None] = []
    with Server() as server, Daemon(folder, CONFIG + "backlog = 20000\n") as daemon:
        place, idle = address(daemon), daemon.memory("VmRSS")
        until = time.monotonic() + 30

        def post() -> None:
            connection = http.client.HTTPConnection(*place)
            while time.monotonic() < until:
                status, again, said = _post(connection, {"url": server.url("/ok")})
                if status == 202:
                    accepted.append(said["id"])
                else:
                    refused.append(again)

        threads = [threading.Thread(target=post) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(
            lambda: not any(daemon.count(one) for one in ("inbox", "active", "deferred")), "the answers", 600, 0.5
        )
        grown = daemon.memory("VmHWM") - idle
        answered = _answered(daemon.spool / "outbox")
    lost = len(set(accepted) - answered)
    passed = not lost and all(refused) and grown < 100
    figures = (
        f"{len(accepted) / 30:.0f} accepted/s, {len(refused)} refused, {lost} without an answer, {grown:.0f} MiB more"
    )
    return Outcome(passed, figures)


def _post(connection: http.client.HTTPConnection, job: dict[str, str]) -> tuple[int, str | None, dict[str, str]]:
    connection.request("POST", "/jobs", json.dumps(job), {"Content-Type": "application/json"})
    reply = connection.getresponse()
    return reply.status, reply.headers["Retry-After"], json.loads(reply.read())


def _answered(outbox: Path) -> set[str]:
    """Return the ids of all answers, of jobs that had a file of their own and of those that shared one."""
    found: set[str] = set()
    for path in outbox.iterdir():
        if not path.name.endswith(".summary.json"):
            found.update(json.loads(line)["id"] for line in path.read_bytes().splitlines())
    return found
