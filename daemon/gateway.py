"""The gateway: HTTP in front of the spool, on one loop in one thread of the daemon.

It claims nothing and moves nothing: it drops and reads through the spool's own functions, as any program could. What
goes wrong in it harms no job; when it stops, nothing that was accepted is lost.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from contextlib import suppress

import uvicorn
import uvloop
from starlette.types import ASGIApp

from inboxd.daemon import gateway_sockets
from inboxd.daemon.desk import Desk
from inboxd.daemon.gateway_app import PAGES, Apps
from inboxd.daemon.gateway_door import Door, Guarded, names_of
from inboxd.daemon.gateway_short import ShortWay
from inboxd.daemon.gateway_wire import BoundedProtocol
from inboxd.daemon.gatewayconfig import is_loopback
from inboxd.daemon.inside import Inside
from inboxd.daemon.news import News
from inboxd.daemon.postbox import Parcel, Postbox
from inboxd.daemon.whereabouts import Whereabouts

log = logging.getLogger("inboxd.gateway")

# Seconds that answers under way get when everything stops; long polls end at once.
GRACE = 3
KEEP_ALIVE = 30


class Gateway:
    """The servers of one daemon: the main one, and one for each dialect with a port of its own."""

    def __init__(self, inside: Inside, token: bytes | None) -> None:
        config = inside.config
        self._inside = inside
        self._settings = config.gateway
        self._token = token
        self._postbox = Postbox(inside.spool, inside.clock, quiet=config.quiet, deliver=self._delivered)
        self._whereabouts = whereabouts = Whereabouts(inside.spool, inside.intake, inside.worker, inside.status)
        self._news = News(inside.clock.wall)
        self.desk = Desk(
            inside.spool, self._postbox, whereabouts, min_free=config.min_free, backlog=self._settings.backlog
        )
        self._servers: list[tuple[uvicorn.Server, list[socket.socket]]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)

    def start(self) -> None:
        """Listen, and begin to serve; raises OSError when that cannot be."""
        apps = Apps(self._inside, self.desk, self._whereabouts, self._news)
        door = self._door(PAGES)
        self._servers = [(self._server(apps.main(), door, apps.short(door)), self._sockets())]
        for dialect, port in self._settings.ports.items():
            app = apps.dialect(dialect)
            self._servers.append((self._server(app, self._door()), [gateway_sockets.tcp(self._host, port)]))
        for name, (_, listening) in zip(["", *self._settings.ports], self._servers, strict=True):
            for one in listening:
                fields = {"address": gateway_sockets.shown(one), "dialect": name or None}
                log.info("gateway listens", extra={"fields": fields})
        self._inside.spool.listeners += [self.desk.answered, self._news.take]
        self._postbox.start()
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Tell whether the thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Take nothing more, and let what was taken be dropped."""
        for server, _ in self._servers:
            server.should_exit = True
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self.desk.end_waits)
        self._thread.join()
        self._postbox.stop()
        self.desk.close()
        self._inside.spool.listeners.clear()
        if self._settings.socket:
            with suppress(OSError):
                os.unlink(self._settings.socket)

    def _delivered(self, group: list[Parcel]) -> None:
        self.desk.delivered(group)

    @property
    def _host(self) -> str:
        return self._settings.host

    def _sockets(self) -> list[socket.socket]:
        sockets = gateway_sockets.inherited()
        if not sockets and self._settings.listen:
            sockets.append(gateway_sockets.tcp(self._host, self._settings.port))
        if self._settings.socket:
            sockets.append(gateway_sockets.unix(self._settings.socket))
        return sockets

    def _door(self, pages: frozenset[str] = frozenset()) -> Door:
        names = names_of(self._host, self._settings.hosts) if is_loopback(self._host) else None
        return Door(self._token, names, pages)

    def _server(self, app: ASGIApp, door: Door, short: ShortWay | None = None) -> uvicorn.Server:
        settings = self._settings
        bounds = {"most": settings.connections, "short": short and staticmethod(short.take)}
        protocol = type("Bounded", (BoundedProtocol,), bounds)
        config = uvicorn.Config(
            Guarded(app, door),
            http=protocol,
            ws="none",
            lifespan="off",
            # Our own log takes what uvicorn has to say, which is only what went wrong.
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=GRACE,
            ssl_certfile=settings.cert,
            ssl_keyfile=settings.key,
        )
        # Read here, where a certificate that cannot be read is an error of the start.
        config.load()
        return uvicorn.Server(config)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except Exception:
            log.exception("internal error: the gateway has ended")

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.desk.open(self._loop)
        await asyncio.gather(*(server.serve(sockets=sockets) for server, sockets in self._servers))
