"""The short way of a `POST /jobs` that asks for one new job and no more, as nearly all do: answered without a task.

It leads through the same door, the same checks and the same desk as the ordinary way, by the same functions; what it
saves is what a request costs that may have to wait more than once. Whatever asks for more is left to the application.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from inboxd.daemon.desk import Desk, Refused, no_room
from inboxd.daemon.gateway_door import Door, add_careful, head_of
from inboxd.daemon.gateway_http import JSON, is_json, plain_type, refusal
from inboxd.daemon.gateway_jobs import Jobs
from inboxd.daemon.gateway_wire import respond
from inboxd.daemon.postbox import Parcel
from inboxd.jobs.faults import Invalid

ACCEPTED = 202


class ShortWay:
    """The way, from a request that is here as a whole to its answer."""

    def __init__(self, door: Door, jobs: Jobs, desk: Desk) -> None:
        self._door = door
        self._jobs = jobs
        self._desk = desk
        accepted = [(b"content-type", JSON.encode())]
        add_careful(accepted)
        self._accepted = _lines(accepted)

    def take(self, cycle: RequestResponseCycle) -> bool:
        """Take a request, whose answer will come; False when it is none for this way."""
        scope = cycle.scope
        if scope["method"] != "POST" or scope["path"] != "/jobs" or scope["query_string"]:
            return False
        asked = head_of(scope)  # type: ignore[arg-type]  # uvicorn knows its keys, starlette takes any
        if self._door.judge(asked) is not None or _asks_for_more(asked.headers):
            return False
        try:
            self._desk.check_room()
            letter = self._jobs.new(bytes(cycle.body))
            if letter is None:
                return False
            self._desk.put(Parcel([letter], partial(self._decided, cycle)))
        except (Refused, Invalid) as error:
            _refuse(cycle, refusal(error))
        return True

    def _decided(self, cycle: RequestResponseCycle, parcel: Parcel) -> None:
        if parcel.error is not None:
            _refuse(cycle, refusal(no_room(parcel.error)))
            return
        identifier = parcel.letters[0].id.encode()
        head = b"%blocation: /jobs/%b\r\n" % (self._accepted, identifier)
        respond(cycle, ACCEPTED, head, b'{"id":"%b"}' % identifier)


def _asks_for_more(headers: Mapping[str, str]) -> bool:
    """Tell whether a request is about more than its body, or has none of JSON."""
    more = "idempotency-key" in headers or "prefer" in headers
    return more or not is_json(plain_type(headers.get("content-type", "")))


def _refuse(cycle: RequestResponseCycle, refused: Response) -> None:
    headers = [header for header in refused.raw_headers if header[0] != b"content-length"]
    add_careful(headers)
    respond(cycle, refused.status_code, _lines(headers), bytes(refused.body))


def _lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%b: %b\r\n" % header for header in headers)
