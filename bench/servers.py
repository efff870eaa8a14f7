"""The servers of a bench, each on a free port of loopback, its files in a folder of the bench, ended by process id.

    with Nginx(kit, folder) as server: server.url("/items/1"), server.requests()

Brokers count to the side that uses them; nginx counts to nobody.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.kit import Kit, Missing
from bench.measure import end, lifetimes
from bench.rig import Late, wait_until

START = 60

NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
{modules}
events {{ worker_connections 4096; }}
http {{
    access_log off;
    # Kept for ever: no side shall pay for connections that the server closed.
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    default_type application/json;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location /items/ {{ return 200 '{{"item": "$request_uri", "price": 12.5, "stock": 17, "text": "{text}"}}'; }}
        location /orders/ {{ return 201 '{{"order": "$request_uri", "status": "accepted", "text": "{text}"}}'; }}
        location = /-/status {{ stub_status; }}
        {slow}
    }}
}}
"""
ECHO = ("libnginx-mod-http-echo", "usr/lib/nginx/modules/ngx_http_echo_module.so")
SLOW = "location /slow/ { echo_sleep 0.05; echo '{\"slow\": true}'; }"


def free_port() -> int:
    """Return a port of loopback that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Process:
    """A server process with its children; in a `with` block it is up, and gone afterwards."""

    name = "server"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self.port = free_port()
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def address(self) -> str:
        """The URL by which clients find it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pids(self) -> list[int]:
        """Its processes."""
        return [process.pid for process in self._processes]

    def start(self) -> None:
        """Start it, and wait until it is up; raises Late."""
        raise NotImplementedError

    def spawn(self, command: list[str], more: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a process that belongs to this server; what it says goes to a file in its folder."""
        with (self.folder / "said").open("ab") as said:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **(more or {})},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
        self._processes.append(process)
        return process

    def wait(self, ready: str = "") -> None:
        """Wait until the port answers, or until `ready` was said."""

        def is_up() -> bool:
            if any(process.poll() is not None for process in self._processes):
                said = (self.folder / "said").read_text(errors="replace").strip()
                raise Late(f"{self.name} did not start: {said[-300:]}")
            if ready:
                return ready in (self.folder / "said").read_text(errors="replace")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return True
            return False

        wait_until(is_up, f"the start of {self.name}", START)

    def end(self) -> None:
        """End all that was started, children too: first kindly, then for good."""
        born = lifetimes(process.pid for process in self._processes if process.poll() is None)
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + 5
        while any(process.poll() is None for process in self._processes) and time.monotonic() < deadline:
            time.sleep(0.05)
        for process in self._processes:
            process.kill()
            process.wait()
        end(born)
        self._processes.clear()


class Nginx(Process):
    """Debian's nginx: GET /items/…, POST /orders/…, and GET /slow/… which takes 50 ms."""

    name = "nginx"

    def __init__(self, kit: Kit, folder: Path) -> None:
        super().__init__(folder)
        self._program = kit.debian("nginx-light", "nginx")
        said = subprocess.run([self._program, "-v"], capture_output=True, text=True, check=False).stderr
        kit.versions[self.name] = said.rpartition("/")[2].strip()
        self._modules = self._slow = self.no_slow = ""
        try:
            self._modules = f"load_module {kit.file(*ECHO)};"
            self._slow = SLOW
        except Missing as reason:
            self.no_slow = str(reason)
        self._more = kit.libraries()

    def start(self) -> None:
        """Start it, and wait until it is up; raises Late."""
        config = self.folder / "nginx.conf"
        config.write_text(
            NGINX.format(
                folder=self.folder,
                port=self.port,
                text="x" * 220,
                modules=self._modules,
                slow=self._slow,
            )
        )
        # A master that is root would give its worker to a user who cannot enter our folder.
        user = ["-g", "user root;"] if os.geteuid() == 0 else []
        self.spawn([self._program, "-p", str(self.folder), "-c", str(config), *user], self._more)
        self.wait()

    def url(self, path: str) -> str:
        """Return the URL of a path."""
        return f"{self.address}{path}"

    def requests(self) -> int:
        """Return how many requests it has answered so far, this question not counted."""
        with urllib.request.urlopen(self.url("/-/status"), timeout=30) as answer:
            asked = int(answer.read().split(b"\n")[2].split()[2])
        self._asked = getattr(self, "_asked", 0) + 1
        return asked - self._asked


class Redis(Process):
    """Debian's redis-server, which keeps everything in memory only: its fastest."""

    name = "redis"

    def __init__(self, kit: Kit, folder: Path) -> None:
        super().__init__(folder)
        self._program = kit.debian("redis-server", "redis-server")
        self._more = kit.libraries()
        said = subprocess.run(
            [self._program, "--version"], capture_output=True, text=True, env={**os.environ, **self._more}, check=False
        ).stdout
        kit.versions[self.name] = said.partition("v=")[2].split()[0] if "v=" in said else "?"

    @property
    def address(self) -> str:
        """Where clients find it."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it is up; raises Late."""
        settings = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        self.spawn([self._program, "--port", str(self.port), *settings], self._more)
        self.wait()


class RabbitMQ(Process):
    """Debian's rabbitmq-server as it ships, with a name server (epmd) of its own."""

    name = "rabbitmq"

    def __init__(self, kit: Kit, folder: Path) -> None:
        super().__init__(folder)
        kit.debian("rabbitmq-server", "rabbitmq-server")
        root = next((place for place in (Path("/"), kit.root) if list(place.glob(_SBIN))), kit.root)
        self._program = next(root.glob(_SBIN))
        self._root, self._more = root, kit.libraries()
        kit.versions[self.name] = self._program.parts[-3].rpartition("-")[2]

    @property
    def address(self) -> str:
        """Where clients find it."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start it, and wait until it is up; raises Late."""
        erlang = self._root / "usr/lib/erlang"
        if self._root != Path("/"):
            # Erlang's start script names the folder into which it is installed.
            script = erlang / "bin/erl"
            script.write_text(script.read_text().replace("ROOTDIR=/usr/lib/erlang", f"ROOTDIR={erlang}"))
        (self.folder / "plugins").write_text("[].")
        (self.folder / "rabbit.conf").touch()
        names = free_port()
        more = {
            **self._more,
            "PATH": f"{erlang}/bin:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(names),
            "RABBITMQ_NODENAME": "bench@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbit.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        epmd = shutil.which("epmd", path=more["PATH"]) or f"{erlang}/bin/epmd"
        self.spawn([epmd, "-port", str(names), "-address", "127.0.0.1"], more)
        self.spawn([str(self._program)], more)
        self.wait("completed with")


_SBIN = "usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"
