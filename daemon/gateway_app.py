"""The gateway's applications: which routes there are, at which path, and on which port.

Every dialect is mounted at a path of its own, and served at `/` of a port of its own where the config gives it one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from inboxd.daemon.config import Config
from inboxd.daemon.desk import Desk, Refused
from inboxd.daemon.dialects import DIALECTS
from inboxd.daemon.gateway_http import Table, application, routes
from inboxd.daemon.gateway_jobs import Jobs
from inboxd.daemon.gateway_queues import QueueRoutes
from inboxd.daemon.intake import Intake
from inboxd.daemon.outbox import Outbox
from inboxd.daemon.queuedesk import QueueDesks
from inboxd.daemon.spool import Spool
from inboxd.daemon.worker import Worker
from inboxd.jobs.clock import Clock
from inboxd.jobs.queues import Queues

# Where people come by a link, from anywhere.
PAGES = frozenset({"/", "/docs"})


@dataclass(frozen=True, slots=True)
class Inside:
    """What the gateway sees of the daemon. `status` says how it goes, at a wall time."""

    config: Config
    spool: Spool
    intake: Intake
    worker: Worker
    outbox: Outbox
    queues: Queues
    clock: Clock
    status: Callable[[float], dict[str, Any]]


class Apps:
    """The applications of one gateway; each is served by the same functions."""

    def __init__(self, inside: Inside, desk: Desk) -> None:
        config = inside.config
        self._jobs = Jobs(
            desk,
            inside.spool,
            lambda: inside.worker.client.apis,
            max_job=config.max_job,
            max_request=config.gateway.max_request,
        )
        queues = QueueDesks(inside.queues, desk)
        self._dialects = {name: dialect(self._jobs, queues) for name, dialect in DIALECTS.items()}
        self._main: Table = {**_health(inside, desk), **self._jobs.table, **QueueRoutes(queues).table}

    def main(self) -> ASGIApp:
        """Give the application of the main port."""
        table = dict(self._main)
        for name, dialect in self._dialects.items():
            base = f"/dialects/{name}"
            table |= {base + path: methods for path, methods in dialect.items()}
            if "/" in dialect:
                table[base] = dialect["/"]
        return application(routes(table))

    def dialect(self, name: str) -> ASGIApp:
        """Give the application of a dialect's own port."""
        return application(routes(self._dialects[name]))


def _health(inside: Inside, desk: Desk) -> Table:
    async def live(_: Request) -> Response:
        dead = [part for part, alive in (("intake", inside.intake.alive), ("outbox", inside.outbox.alive)) if not alive]
        return PlainTextResponse("ok\n") if not dead else PlainTextResponse(f"dead: {', '.join(dead)}\n", 503)

    async def ready(_: Request) -> Response:
        trouble = [one for one in (inside.intake.trouble, inside.outbox.trouble) if one]
        if desk.closing.is_set():
            raise Refused(503, "stopping", retry_after=1)
        if trouble:
            raise Refused(503, "; ".join(trouble), retry_after=1)
        desk.check_room()
        return PlainTextResponse("ready\n")

    return {"/healthz": {"GET": live}, "/readyz": {"GET": ready}}
