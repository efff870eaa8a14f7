"""Puts an API's credentials on a request, right before it is sent, and on a copy that nobody keeps.

The one rule: what a job prepared never holds a credential, so nothing that is written down of it can. What the job says
itself goes before what the API would say.
"""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests
from requests.hooks import default_hooks

from inboxd.cache.key import is_secret
from inboxd.jobs.auth import Auth
from inboxd.jobs.clock import Clock
from inboxd.jobs.faults import Fault, Unauthorized
from inboxd.jobs.masking import Mask
from inboxd.jobs.oauth import Tokens
from inboxd.jobs.session import Sends
from inboxd.jobs.signing import signed
from inboxd.jobs.vault import SecretMissing, Vault

AUTHORIZATION = "Authorization"


class Credentials:
    """Those of one API, or of one of its calls: `sealed` headers, which hold references, and a way to authenticate."""

    def __init__(self, auth: Auth | None, sealed: Mapping[str, str], vault: Vault, clock: Clock) -> None:
        self._auth = auth
        self._sealed = dict(sealed)
        self._vault = vault
        self._clock = clock
        # One plugin for each thread: many remember what they are doing in plain attributes.
        self._plugins = threading.local()
        self.tokens = Tokens(auth.oauth2, vault, clock) if auth is not None and auth.oauth2 is not None else None

    def and_headers(self, sealed: Mapping[str, str]) -> Credentials:
        """Give the same with the headers of a call, which share the tokens."""
        more = Credentials(self._auth, {**self._sealed, **sealed}, self._vault, self._clock)
        more.tokens = self.tokens
        return more

    def identity(self) -> str:
        """Give a digest of who calls, for the cache: two credentials never share an answer."""
        used: set[str] = set()
        try:
            who = repr(self._vault.fill(self._references, used))
        except SecretMissing as error:
            # The call will fail, and should not find an answer either.
            who = str(error)
        return sha256(who.encode(errors="surrogatepass")).hexdigest()

    @cached_property
    def _references(self) -> list[Any]:
        auth = self._auth.model_dump(exclude_unset=True) if self._auth is not None else None
        return [auth, self._sealed]

    def put_on(
        self, request: requests.PreparedRequest, session: Sends, hidden: set[str], deadline: float
    ) -> requests.PreparedRequest:
        """Give a copy of `request` with the credentials on it; adds to `hidden` what nobody may see. Raises a Fault.

        `session` and `deadline` (seconds) are for fetching a token.
        """
        dressed = request.copy()
        dressed.hooks = default_hooks()
        if hasattr(request, "_body_position"):
            dressed._body_position = request._body_position  # type: ignore[attr-defined]  # noqa: SLF001  # its own mark
        try:
            for name, value in self._vault.fill(self._sealed, hidden).items():
                dressed.headers.setdefault(name, value)
            if self._auth is not None:
                self._authenticate(dressed, self._auth, session, hidden, deadline)
        except SecretMissing as error:
            raise Unauthorized(str(error)) from None
        for name, value in dressed.headers.items():
            if request.headers.get(name) != value and is_secret(name):
                # Of "Basic …" and "Bearer …" the second word is what counts.
                hidden.update({value, value.partition(" ")[2]} if isinstance(value, str) else ())
        return dressed

    def _authenticate(
        self, request: requests.PreparedRequest, auth: Auth, session: Sends, hidden: set[str], deadline: float
    ) -> None:
        headers, fill = request.headers, self._vault.fill
        if auth.basic is not None:
            user, password = fill([auth.basic.user, auth.basic.password], hidden)
            hidden.add(password)
            headers.setdefault(AUTHORIZATION, f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}")
        elif auth.bearer is not None:
            token = fill(auth.bearer, hidden)
            headers.setdefault(AUTHORIZATION, f"Bearer {token}")
        elif auth.header is not None:
            for name, value in fill(auth.header, hidden).items():
                hidden.add(value)
                headers.setdefault(name, value)
        elif auth.query is not None:
            values = fill(auth.query, hidden)
            hidden.update(values.values())
            request.url = _with_query(request.url or "", values)
        elif self.tokens is not None and AUTHORIZATION not in headers:
            token = self.tokens.get(session, hidden, deadline)
            headers[AUTHORIZATION] = f"Bearer {token}"
        elif auth.webhook is not None:
            self._sign(request, fill(auth.webhook, hidden), hidden)
        elif auth.use is not None:
            self._plug_in(request, auth, hidden)

    def _sign(self, request: requests.PreparedRequest, secret: str, hidden: set[str]) -> None:
        hidden.add(secret)
        if not isinstance(request.body, bytes | None):
            raise Unauthorized("auth.webhook: a body of files or parts cannot be signed")
        try:
            message = request.headers["Idempotency-Key"]
            request.headers.update(signed(secret, message, self._clock.wall(), request.body or b""))
        except ValueError as error:
            raise Unauthorized(f"auth.webhook: {error}") from None

    def _plug_in(self, request: requests.PreparedRequest, auth: Auth, hidden: set[str]) -> None:
        args, options = self._vault.fill([auth.args, auth.options], hidden)
        try:
            if getattr(self._plugins, "made_of", None) != (args, options):
                self._plugins.plugin, self._plugins.made_of = auth.factory(*args, **options), (args, options)
            # As `requests` does it: what comes back is the request from now on.
            signed = self._plugins.plugin(request)
            request.__dict__.update(signed.__dict__)
        except Fault:
            raise
        except Exception as error:  # whatever a stranger's code does is this call's failure
            raise Unauthorized(Mask(hidden).text(f"{auth.use} failed: {type(error).__name__}: {error}")) from None


def _with_query(url: str, values: Mapping[str, str]) -> str:
    """Add to the query what it does not hold yet; a redirect may have brought it along."""
    known = {name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)}
    more = urlencode({name: value for name, value in values.items() if name not in known})
    return f"{url}{'&' if '?' in url else '?'}{more}" if more else url
