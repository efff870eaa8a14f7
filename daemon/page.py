"""The page at `/`: what the spool does, for people. Rendered here, kept current by server-sent events.

All viewers see the same picture, which is painted once a second on a thread of the desk's; a fragment is sent only when
it has changed. Everything comes from this package, and a Content-Security-Policy holds the browser to that.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, quote

import jinja2
import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from inboxd.daemon.desk import Desk, Refused
from inboxd.daemon.gateway_http import Table, read
from inboxd.daemon.openapi import document
from inboxd.daemon.pagedata import PageData
from inboxd.daemon.retry import retry_all

# Seconds between two pictures; viewers that may look on at a time.
EVERY = 1.0
VIEWERS = 50
SMALL = 16 * 1024
FRAGMENTS = ("folders", "lanes", "answers", "failures", "queues", "log")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "LICENSE": "text/plain"}
_WEB = resources.files("inboxd.daemon") / "web"


class Page:
    """The routes of the page."""

    def __init__(self, data: PageData, desk: Desk, spool: str) -> None:
        self._data = data
        self._desk = desk
        self._spool = spool
        self._templates = jinja2.Environment(
            loader=jinja2.FunctionLoader(lambda name: (_WEB / "templates" / name).read_text("utf-8")),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "clock": clock,
            "count": count,
            "span": span,
            "quoted": lambda text: quote(text, safe=""),
        }
        self._viewers = 0
        self._picture: tuple[float, dict[str, str]] = (0.0, {})
        self._painting = asyncio.Lock()
        self._static = {
            one.name: _Static(one.read_bytes(), one.name) for one in (_WEB / "static").iterdir() if one.is_file()
        }
        self.table: Table = {
            "/": {"GET": self.home},
            "/page/events": {"GET": self.events},
            "/page/job": {"GET": self.job},
            "/page/retry": {"POST": self.retry},
            "/page/cancel": {"POST": self.cancel},
            "/docs": {"GET": self.docs},
            "/static/{name}": {"GET": self.static},
        }

    # -- whole pages --------------------------------------------------------------------------------------------

    async def home(self, _: Request) -> Response:
        """Show everything."""
        picture = await self._paint()
        return self._page("home.html", parts=picture, spool=self._spool)

    async def job(self, request: Request) -> Response:
        """Tell the whole story of one job."""
        asked = request.query_params.get("q", "").strip()
        story = await self._desk.look(self._data.story, asked) if asked else None
        return self._page("job.html", asked=asked, story=story, status=200 if story or not asked else 404)

    async def docs(self, _: Request) -> Response:
        """Show the interface, as /openapi.json describes it."""
        return self._page("docs.html", api=document())

    def _page(self, template: str, status: int = 200, **values: Any) -> Response:
        text = self._templates.get_template(template).render(**values)
        return Response(text, status, {"content-security-policy": _POLICY}, "text/html")

    async def static(self, request: Request) -> Response:
        """Give a file of the package."""
        found = self._static.get(request.path_params["name"])
        if found is None:
            raise Refused(404, "there is no such file")
        return found.response(request)

    # -- what goes on -------------------------------------------------------------------------------------------

    async def events(self, _: Request) -> Response:
        """Send what changes, as server-sent events, until the viewer is gone."""
        if self._viewers >= VIEWERS:
            raise Refused(503, f"{VIEWERS} people look on already", retry_after=10)
        return StreamingResponse(self._stream(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    async def _stream(self) -> AsyncIterator[bytes]:
        self._viewers += 1
        try:
            seen: dict[str, str] = {}
            # A browser that lost us comes back after so many milliseconds.
            yield b"retry: 2000\n\n"
            while not self._desk.closing.is_set():
                try:
                    picture = await self._paint()
                except Refused:
                    picture = seen
                for name, text in picture.items():
                    if seen.get(name) != text:
                        yield _event(name, text)
                seen = picture
                # Something is said each time, so that a viewer that is gone is noticed.
                yield b": \n\n"
                with suppress(TimeoutError):
                    async with asyncio.timeout(EVERY):
                        await self._desk.closing.wait()
        finally:
            self._viewers -= 1

    async def _paint(self) -> dict[str, str]:
        async with self._painting:
            if time.monotonic() - self._picture[0] >= EVERY * 0.9:
                self._picture = (time.monotonic(), await self._desk.look(self._render))
            return self._picture[1]

    def _render(self) -> dict[str, str]:
        facts = self._data.gather()
        points = orjson.dumps(facts.pop("points")).decode()
        parts = {name: self._templates.get_template(f"{name}.html").render(**facts) for name in FRAGMENTS}
        return {**parts, "head": self._templates.get_template("head.html").render(**facts), "points": points}

    # -- what people do -----------------------------------------------------------------------------------------

    async def retry(self, request: Request) -> Response:
        """Drop a failed job again."""
        filename = await self._field(request, "name")
        moved, problems = await self._desk.look(retry_all, self._spool, [filename])
        return self._said(request, f"{moved[0]} is tried again" if moved else problems[0])

    async def cancel(self, request: Request) -> Response:
        """Take a job back."""
        identifier = await self._field(request, "name")
        taken = await self._desk.cancel(identifier)
        said = {"cancelled": "is taken back", "running": "is being called already", None: "is not known"}
        return self._said(request, f"{identifier} {said.get(taken, 'has its answer already')}")

    @staticmethod
    async def _field(request: Request, name: str) -> str:
        # The door has seen to it that this comes from a page of ours.
        form = parse_qs((await read(request, SMALL)).decode("utf-8", "replace"))
        if len(form.get(name, ())) != 1 or "/" in form[name][0]:
            raise Refused(400, f"{name}: expected the name of a job", field=name)
        return form[name][0]

    def _said(self, request: Request, text: str) -> Response:
        """Say what was done: to htmx as a fragment, to a browser without scripts by showing the page again."""
        if request.headers.get("hx-request") == "true":
            return Response(self._templates.get_template("said.html").render(text=text), media_type="text/html")
        return RedirectResponse("/", status_code=303)


class _Static:
    """A file of the package, kept in memory and by browsers."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self._type = _TYPES.get(name.rpartition(".")[2], "application/octet-stream")
        self._tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'

    def response(self, request: Request) -> Response:
        """Give the file, or 304 to whoever has it."""
        headers = {"etag": self._tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == self._tag:
            return Response(status_code=304, headers=headers)
        return Response(self._data, headers=headers, media_type=self._type)


def _event(name: str, text: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in text.splitlines())
    return f"event: {name}\n{lines}\n".encode()


def clock(moment: str) -> str:
    """Give the time of day of an ISO instant."""
    return moment[11:19] if len(moment) >= len("2026-11-22T08:00:00") else moment


def count(number: float) -> str:
    """Give a number as people read it."""
    return f"{number:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def span(milliseconds: float) -> str:
    """Give a time that something took, in the unit that suits it."""
    if milliseconds < 1000:  # noqa: PLR2004  # a second
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000:.1f} s"
