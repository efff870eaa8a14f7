"""A machine of its own for a test: a real systemd in namespaces over an overlay of /, with this checkout installed.

    with Box(tmp_path) as box:
        box.systemctl("start", "inboxd")
        box.drop("one", {"url": box.server.url("/ok")})

Seen from the test, the box's files lie under `box.root`; `box.server` listens on the box's own loopback, though it runs
here, so that it counts what the daemon calls.
"""

import ctypes
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.daemonkit import PATIENCE, ROOT, CountingServer, wait_until

SCRIPT = ROOT / "tests/journey/box.sh"
CLONE_NEWNET = 0x40000000
# What the box calls the folders of this checkout and of the interpreter that runs the tests.
CODE, SITE, PYTHON = "/opt/inboxd", "/opt/site", "/opt/python"
STATE = "var/lib/inboxd"


def obstacle() -> str | None:
    """Say why no box can be had on this machine; None when one can."""
    if os.geteuid() != 0:
        return "only root may make namespaces of this kind"
    missing = [tool for tool in ("systemctl", "unshare", "nsenter", "setsid", "pgrep") if not shutil.which(tool)]
    if missing or not Path("/lib/systemd/systemd").exists():
        return f"not installed here: {', '.join(missing) or 'systemd'}"
    groups = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if " cgroup2 " in line]
    if not any(os.access(group, os.W_OK) for group in groups):
        return "no cgroup2 hierarchy that may be written"
    probe = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount", "--cgroup", "--uts", "--ipc", "--net", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if probe.returncode == 0 else f"no namespaces here: {probe.stderr.strip()}"


class Box:
    """The machine, booted in a `with` block, with inboxd's units installed as `install-units` does it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = Path()

    def __enter__(self) -> Self:
        base = sys.base_prefix
        binds = {str(ROOT): CODE, sysconfig.get_path("purelib"): SITE, base: PYTHON}
        subprocess.run(
            ["bash", str(SCRIPT), "up", str(self.folder), *map(":".join, binds.items())],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=PATIENCE,
        )
        self.root = Path(f"/proc/{(self.folder / 'pid1').read_text().strip()}/root")
        with self._network():
            self.server = CountingServer()
        self.server.__enter__()
        self._install()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.__exit__(None, None, None)
        subprocess.run(["bash", str(SCRIPT), "down", str(self.folder)], check=True, timeout=PATIENCE)

    @contextmanager
    def _network(self) -> Iterator[None]:
        """Have this thread in the box's network; what listens there goes on doing so."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as ours, open(self.root.parent / "ns/net") as theirs:
            assert libc.setns(theirs.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert libc.setns(ours.fileno(), CLONE_NEWNET) == 0

    def _install(self) -> None:
        # With the libpython that belongs to this interpreter, wherever that lay when it was built.
        paths = f"PYTHONPATH={CODE}:{SITE} LD_LIBRARY_PATH={PYTHON}/lib"
        command = f'#!/bin/sh\n{paths} exec {PYTHON}/bin/python3 -m inboxd "$@"\n'
        self.write("usr/local/bin/inboxd", command).chmod(0o755)
        self.run("inboxd", "install-units")
        self.write("etc/sysusers.d/people.conf", "u alice - - /home/alice\nu mallory - -\nm alice inboxd\n")
        self.run("systemd-sysusers")
        self.run("systemd-tmpfiles", "--create")
        self.systemctl("daemon-reload")

    # -- what a test does there ---------------------------------------------------------------------------------

    def run(self, *command: str, user: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the box, to its end."""
        as_user = ["runuser", "-u", user, "--"] if user else []
        done = subprocess.run(
            ["bash", str(SCRIPT), "run", str(self.folder), *as_user, *command],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0 or not check, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done

    def systemctl(self, *arguments: str) -> str:
        return self.run("systemctl", "--no-pager", *arguments).stdout

    def show(self, name: str) -> str:
        """Return a property of the daemon's unit."""
        return self.systemctl("show", "--value", "-p", name, "inboxd").strip()

    @property
    def pid(self) -> int:
        """The daemon's process, as this side numbers it; 0 when there is none."""
        inner = self.show("MainPID")
        box = os.stat(self.root.parent / "ns/pid").st_ino
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                numbers = (process / "status").read_text().partition("NSpid:")[2].splitlines()[0].split()
                if numbers[-1] == inner and os.stat(process / "ns/pid").st_ino == box:
                    return int(process.name)
        return 0

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """Return what the journal has of the daemon's unit."""
        text = self.run("journalctl", "-u", "inboxd", "-o", "json", "--no-pager", *matches).stdout
        return [json.loads(line) for line in text.splitlines()]

    def write(self, path: str, text: str) -> Path:
        """Write a file of the box."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def drop(self, name: str, job: dict[str, Any], user: str = "alice") -> None:
        """Drop a job as one of the box's people does."""
        self.write(f"run/{name}.json", json.dumps(job)).chmod(0o644)
        self.run("inboxd", "drop", f"/run/{name}.json", "--spool", f"/{STATE}", user=user)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Ask the daemon's gateway something from within the box; returns the status and the JSON of its answer."""
        with self._network():
            connection = HTTPConnection("127.0.0.1", 8470, timeout=PATIENCE)
            connection.connect()
        with closing(connection):
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())

    def answer(self, name: str, state: str = STATE) -> Any:
        """Wait for an answer in a daemon's folder and return it."""
        path = self.root / state / "outbox" / f"{name}.json"
        wait_until(path.exists, f"the answer {path.name}")
        return json.loads(path.read_bytes())


FREEZE = """
import ctypes, os, sys
tid, libc = int(sys.argv[1]), ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
SEIZE, INTERRUPT, ALL = 0x4206, 0x4207, 0x40000000
if libc.ptrace(SEIZE, tid, None, None) or libc.ptrace(INTERRUPT, tid, None, None):
    sys.exit(os.strerror(ctypes.get_errno()))
print("frozen", flush=True)
while not os.WIFEXITED(status := os.waitpid(tid, ALL)[1]) and not os.WIFSIGNALED(status):
    pass
"""


@contextmanager
def frozen(tid: int) -> Iterator[None]:
    """Let one thread of some process stand still, as one that hangs, until the process dies or the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", FREEZE, str(tid)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as tracer:
        assert tracer.stdout is not None
        assert tracer.stderr is not None
        assert tracer.stdout.readline() == "frozen\n", tracer.stderr.read()
        try:
            yield
        finally:
            tracer.kill()
