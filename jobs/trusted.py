"""One attempt of a call that carries credentials: put on when it is sent, hidden in whatever comes back.

Around `exchange`, so that a call without credentials pays nothing. An access token that the server refuses before its
time is given up, and the call comes back as `Redirected` to itself, to take a permit of its lane like any other.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import requests

from inboxd.jobs.api import origin
from inboxd.jobs.credentials import AUTHORIZATION, Credentials
from inboxd.jobs.exchange import Call, OpenFile, Redirected, exchange
from inboxd.jobs.faults import Fault, Timeout
from inboxd.jobs.masking import Mask
from inboxd.jobs.result import Response
from inboxd.jobs.session import Sends
from inboxd.jobs.transport import Bounds

_UNAUTHORIZED = 401


class _Dressed:
    """A session that puts credentials on each request; `hidden` is what nobody may see of them."""

    def __init__(self, session: Sends, credentials: Credentials) -> None:
        self._session = session
        self._credentials = credentials
        self.hidden: set[str] = set()
        self.authorization = ""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send the request with credentials on it, all within its one deadline."""
        bounds: Bounds = kwargs["bounds"]
        begun = time.monotonic()
        dressed = self._credentials.put_on(request, self._session, self.hidden, bounds.deadline)
        self.authorization = str(dressed.headers.get(AUTHORIZATION, ""))
        # Fetching a token took some of it.
        left = bounds.deadline - (time.monotonic() - begun)
        if left <= 0:
            raise Timeout("an access token took all the time there was")
        return self._session.send(dressed, **kwargs | {"bounds": bounds._replace(deadline=left)})


def trusted_exchange(
    session: Sends,
    call: Call,
    bounds: Bounds,
    *,
    ok: frozenset[int],
    open_file: OpenFile,
    now: float,
) -> Response | Redirected:
    """Send `call` once, as `exchange` does, with its credentials."""
    credentials = call.credentials
    assert credentials is not None
    dressed = _Dressed(session, credentials)
    try:
        result = exchange(dressed, call, bounds, ok=ok, open_file=open_file, now=now)
    except Fault as fault:
        if fault.status == _UNAUTHORIZED and not call.renewed and _renews(credentials, dressed):
            return Redirected(replace(call, renewed=True), _UNAUTHORIZED)
        mask = Mask(dressed.hidden)
        fault.message = mask.text(fault.message)
        fault.response = mask.response(fault.response) if fault.response is not None else None
        raise
    mask = Mask(dressed.hidden)
    if isinstance(result, Response):
        return mask.response(result)
    target = result.call
    target.shown = mask.text(target.shown)
    # Elsewhere nobody is trusted with them.
    target.credentials = credentials if origin(target.url) == origin(call.url) else None
    return result


def _renews(credentials: Credentials, dressed: _Dressed) -> bool:
    """Give up an access token that was refused; False when there is none."""
    token = dressed.authorization.removeprefix("Bearer ")
    if credentials.tokens is None or token not in dressed.hidden:
        return False
    credentials.tokens.refused(token)
    return True
