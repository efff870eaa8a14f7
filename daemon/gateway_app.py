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
from inboxd.daemon.gateway_http import Table, application, routes
from inboxd.daemon.gateway_jobs import Jobs
from inboxd.daemon.intake import Intake
from inboxd.daemon.outbox import Outbox
from inboxd.daemon.spool import Spool
from inboxd.daemon.worker import Worker
from inboxd.jobs.clock import Clock

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
    clock: Clock
    status: Callable[[float], dict[str, Any]]


def main_app(inside: Inside, desk: Desk) -> ASGIApp:
    """Make the application of the main port."""
    return application(routes({**_health(inside, desk), **jobs_of(inside, desk).table}))


def dialect_app(name: str, inside: Inside, desk: Desk) -> ASGIApp:
    """Make the application of a dialect's own port."""
    raise Refused(501, name)


def jobs_of(inside: Inside, desk: Desk) -> Jobs:
    """Make the routes of jobs."""
    config = inside.config
    return Jobs(
        desk,
        inside.spool,
        lambda: inside.worker.client.apis,
        max_job=config.max_job,
        max_request=config.gateway.max_request,
    )


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
