"""The gateway's applications: which routes there are, at which path, and on which port.

Every dialect is mounted at a path of its own, and served at `/` of a port of its own where the config gives it one.
"""

from __future__ import annotations

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from inboxd.daemon.desk import Desk, Refused
from inboxd.daemon.dialects import DIALECTS
from inboxd.daemon.gateway_door import Door
from inboxd.daemon.gateway_http import Table, application, json_response
from inboxd.daemon.gateway_jobs import Jobs
from inboxd.daemon.gateway_queues import QueueRoutes
from inboxd.daemon.gateway_short import ShortWay
from inboxd.daemon.inside import Inside
from inboxd.daemon.news import News
from inboxd.daemon.openapi import document
from inboxd.daemon.page import Page
from inboxd.daemon.pagedata import PageData
from inboxd.daemon.queuedesk import QueueDesks
from inboxd.daemon.whereabouts import Whereabouts

# Where people come by a link, from anywhere.
PAGES = frozenset({"/", "/docs"})
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


class Apps:
    """The applications of one gateway; each is served by the same functions."""

    def __init__(self, inside: Inside, desk: Desk, whereabouts: Whereabouts, news: News) -> None:
        config = inside.config
        self._desk = desk
        self._jobs = Jobs(
            desk,
            inside.spool,
            inside.worker.client,
            max_job=config.max_job,
            max_request=config.gateway.max_request,
        )
        queues = QueueDesks(inside.queues, desk)
        page = Page(PageData(inside, news, whereabouts), desk, inside.spool.root)
        self._dialects = {name: dialect(self._jobs, queues) for name, dialect in DIALECTS.items()}
        self._main: Table = {
            **_about(inside, desk),
            **self._jobs.table,
            **QueueRoutes(queues).table,
            **page.table,
        }

    def short(self, door: Door) -> ShortWay:
        """Give the short way behind a door of the main port."""
        return ShortWay(door, self._jobs, self._desk)

    def main(self) -> ASGIApp:
        """Give the application of the main port."""
        table = dict(self._main)
        for name, dialect in self._dialects.items():
            base = f"/dialects/{name}"
            table |= {base + path: methods for path, methods in dialect.items()}
            if "/" in dialect:
                table[base] = dialect["/"]
        return application(table)

    def dialect(self, name: str) -> ASGIApp:
        """Give the application of a dialect's own port."""
        return application(self._dialects[name])


def _about(inside: Inside, desk: Desk) -> Table:
    async def live(_: Request) -> Response:
        dead = [part for part, alive in (("intake", inside.intake.alive), ("outbox", inside.outbox.alive)) if not alive]
        return PlainTextResponse("ok\n") if not dead else PlainTextResponse(f"dead: {', '.join(dead)}\n", 503)

    async def ready(_: Request) -> Response:
        """Say yes when a job would be accepted now."""
        trouble = [one for one in (inside.intake.trouble, inside.outbox.trouble) if one]
        if desk.closing.is_set():
            raise Refused(503, "stopping", retry_after=1)
        if trouble:
            raise Refused(503, "; ".join(trouble), retry_after=1)
        desk.check_room()
        return PlainTextResponse("ready\n")

    described = orjson.dumps(document(with_metrics=inside.metrics is not None))

    async def openapi(_: Request) -> Response:
        return json_response(described)

    table: Table = {"/healthz": {"GET": live}, "/readyz": {"GET": ready}, "/openapi.json": {"GET": openapi}}
    if (render := inside.metrics) is not None:

        async def metrics(_: Request) -> Response:
            return Response(await desk.look(render), media_type=_METRICS)

        return {**table, "/metrics": {"GET": metrics}}
    return table
