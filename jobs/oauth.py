"""OAuth 2 client credentials (RFC 6749 4.4): one token for all of an API's calls, fetched anew before it ends.

One thread fetches and the others wait for it. What the token's server says is never repeated but for its error code.
"""

from __future__ import annotations

import re
import threading
from base64 import b64encode
from math import inf
from typing import Any
from urllib.parse import quote_plus

import requests
from requests import exceptions

from inboxd.jobs import faults
from inboxd.jobs.auth import OAuth2
from inboxd.jobs.clock import Clock
from inboxd.jobs.reply import Bounds
from inboxd.jobs.session import Sends
from inboxd.jobs.vault import Vault
from inboxd.jobs.verdict import fault_of

# Seconds, and part of its life, before its end in which a token is fetched anew: it has to last for a call.
EARLY, EARLY_PART = 30.0, 0.1
LARGEST = 1024 * 1024
_OK = 200
_ERROR = re.compile(r"[a-z_]{1,60}")


class Tokens:
    """The token of one API."""

    def __init__(self, config: OAuth2, vault: Vault, clock: Clock) -> None:
        self._config = config
        self._vault = vault
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._good_until = -inf

    def get(self, session: Sends, hidden: set[str], deadline: float) -> str:
        """Give a token that is good for now; fetches one if need be. Raises a Fault, or `SecretMissing`."""
        if not self._lock.acquire(timeout=deadline):
            raise faults.Timeout("no access token came in time")
        try:
            if self._clock.mono() >= self._good_until:
                self._fetch(session, hidden, deadline)
            hidden.add(self._token)
            return self._token
        finally:
            self._lock.release()

    def refused(self, token: str) -> None:
        """Note that a server refuses `token`: the next call has a new one."""
        with self._lock:
            if token == self._token:
                self._good_until = -inf

    def _fetch(self, session: Sends, hidden: set[str], deadline: float) -> None:
        asked = self._clock.mono()
        try:
            reply = session.send(
                self._request(hidden), allow_redirects=False, timeout=deadline, bounds=Bounds(deadline, LARGEST)
            )
        except exceptions.RequestException as error:
            fault = fault_of(error)
            fault.message, fault.uncertain = f"access token: {fault.message}", False
            raise fault from None
        found = _json(reply)
        token = found.get("access_token")
        if reply.status_code != _OK or not isinstance(token, str) or not token:
            raise _refusal(reply, found)
        if str(found.get("token_type", "bearer")).lower() != "bearer":
            raise faults.Unauthorized("access token: it is of another type than Bearer")
        hidden.add(token)
        seconds = _seconds(found.get("expires_in"))
        self._token, self._good_until = token, asked + seconds - min(EARLY, seconds * EARLY_PART)

    def _request(self, hidden: set[str]) -> requests.PreparedRequest:
        config, fill = self._config, self._vault.fill
        name, secret = fill([config.client_id, config.client_secret], hidden)
        hidden.add(secret)
        form = {"grant_type": "client_credentials", **fill(config.params, hidden)}
        if config.scope is not None:
            form["scope"] = config.scope
        headers = {"Accept": "application/json"}
        if config.in_body:
            form |= {"client_id": name, "client_secret": secret}
        else:
            both = f"{quote_plus(name)}:{quote_plus(secret)}"
            headers["Authorization"] = f"Basic {b64encode(both.encode()).decode()}"
        return requests.Request("POST", config.token_url, headers=headers, data=form).prepare()


def _json(reply: requests.Response) -> dict[str, Any]:
    try:
        found = reply.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(life: Any) -> float:
    """Read `expires_in`, which some servers write as a text; one that names none means its token to last."""
    try:
        return max(float(life), 0.0)
    except (TypeError, ValueError):
        return inf


def _refusal(reply: requests.Response, found: dict[str, Any]) -> faults.Fault:
    """Give the fault of a token that did not come: temporary if its server is in trouble, else permanent."""
    fault = faults.of_status(reply.status_code, reply.headers, 0.0)
    if fault.temporary:
        fault.message = f"access token: {fault.message}"
        # Nobody refuses our API's own calls, so that its Retry-After is not the API's.
        fault.retry_after = None
        return fault
    code = found.get("error")
    named = f" ({code})" if isinstance(code, str) and _ERROR.fullmatch(code) else ""
    return faults.Unauthorized(f"access token: its server answered {reply.status_code}{named}")
