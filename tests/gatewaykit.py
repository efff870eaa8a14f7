"""A real daemon with its gateway on free ports, and a small client that says what came back."""

import json
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import requests

from tests.daemonkit import PATIENCE, Daemon, wait_until

_LISTENS = re.compile(r'event="gateway listens" address=(\S+)(?: dialect=(\S+))?')
ALL_PORTS = "[gateway.ports]\nwq = 0\nwonderq = 0\ncallback = 0\nwork = 0\nsqs = 0\n"


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: requests.structures.CaseInsensitiveDict[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Served(Daemon):
    """A daemon with a gateway. `settings` are lines of [gateway], `more` other lines of the config, before it."""

    def __init__(
        self,
        folder: Path,
        settings: str = "private = true",
        *,
        more: str = "",
        ports: str = "",
        listen: str = "127.0.0.1:0",
        env: Mapping[str, str] | None = None,
    ) -> None:
        text = f'{more}\n[gateway]\nenabled = true\nlisten = "{listen}"\n{settings}\n{ports}'
        super().__init__(folder, text, env)
        self.session = requests.Session()
        self.session.trust_env = False

    def __enter__(self) -> Self:
        return super().__enter__()

    def __exit__(self, *exc: object) -> None:
        self.session.close()
        super().__exit__(*exc)

    def address(self, dialect: str = "") -> str:
        """Return where this run listens, as host:port."""
        found = [match[1] for match in _LISTENS.finditer(self.log) if (match[2] or "") == dialect and ":" in match[1]]
        return found[-1]

    def ask(self, method: str, path: str, *, dialect: str = "", **said: Any) -> Reply:
        """Ask something, not over a connection that another test has used."""
        url = f"http://{self.address(dialect)}{path}"
        found = self.session.request(method, url, timeout=PATIENCE, allow_redirects=False, **said)
        return Reply(found.status_code, found.headers, found.content)

    def post(self, *jobs: Any, many: bool = False, **headers: str) -> Reply:
        """Post one job, or a list of them."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", "/jobs", json=list(jobs) if many or len(jobs) > 1 else jobs[0], headers=given)

    def outcome(self, identifier: str) -> Any:
        """Wait for a job's answer and return what GET /jobs/ID says."""

        def look() -> Any:
            found = self.ask("GET", f"/jobs/{identifier}", headers={"Prefer": "wait=5"}).json
            return found if "answer" in found else None

        return wait_until(look, f"the answer of {identifier}")

    def connect(self, dialect: str = "") -> socket.socket:
        """Return a raw connection."""
        host, _, port = self.address(dialect).rpartition(":")
        return socket.create_connection((host, int(port)), PATIENCE)
