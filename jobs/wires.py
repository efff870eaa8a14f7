"""Which connections a call goes through, and whether it may go at all.

Each API has a session of its own where its certificates, its proxy or its right to be called ask for one; all other
calls share one. A pool of connections never serves two rules about addresses.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

import requests

from inboxd.jobs.api import Api, Apis
from inboxd.jobs.calls import placed
from inboxd.jobs.clock import Clock
from inboxd.jobs.credentials import Credentials
from inboxd.jobs.exchange import Call, prepare
from inboxd.jobs.faults import Blocked
from inboxd.jobs.guard import Guard
from inboxd.jobs.job import Job
from inboxd.jobs.transport import CurlAdapter, open_session
from inboxd.jobs.vault import Vault


class Wires:
    """The sessions of one client. `allow` are patterns of hosts, `private` whether unnamed ones may be private."""

    def __init__(
        self, apis: Apis, *, allow: Iterable[str] = ("*",), private: bool = True, vault: Vault | None = None
    ) -> None:
        self._apis = apis
        self._named = apis.named
        self._hosts = frozenset(api.host for api in apis.named.values())
        self._allow = tuple(pattern.lower() for pattern in allow)
        self._private = private
        self._sessions: dict[tuple[str, bool], requests.Session] = {}
        self._credentials = _credentials(apis.named.values(), vault or Vault())

    def check(self, url: str) -> None:
        """Raise `Blocked` when the host of `url` may not be called."""
        if self._allow == ("*",):
            return
        host = (urlsplit(url).hostname or "").lower()
        if host not in self._hosts and not any(fnmatchcase(host, pattern) for pattern in self._allow):
            raise Blocked(f"host {host} may not be called; allowed are {', '.join(self._allow) or 'named APIs only'}")

    def call_of(self, job: Job, request_id: str) -> tuple[Job, Api, Call]:
        """Give the plain job of one with a URL or a named call, its API and its call; raises Invalid or Blocked."""
        plain, api = placed(job, self._apis)
        self.check(plain.url)
        return plain, api, self._entrust(prepare(plain, api, request_id), api, plain.call)

    def _entrust(self, call: Call, api: Api, named: str | None) -> Call:
        """Give `call` the credentials of its API, or those of its named call if that has more."""
        if self._credentials:
            call.credentials = self._credentials.get(named or "") or self._credentials.get(api.name)
        return call

    def session(self, api: Api, *, public: bool = False) -> requests.Session:
        """Give the session that calls of `api` go through; `public`: to public addresses only, if it is not named."""
        name = api.name if api.name in self._named else ""
        session = self._sessions.get((name, public))
        if session is None:
            # Two threads may both make one; the loser's has no connection yet and is simply dropped.
            session = self._sessions.setdefault((name, public), self._open(api, named=bool(name), public=public))
        return session

    def _open(self, api: Api, *, named: bool, public: bool) -> requests.Session:
        private = self._private and not public
        guard = Guard(private=private or named, named=frozenset({api.host} if named else ()))
        cert = (api.cert, api.key) if api.cert and api.key else api.cert
        return open_session(CurlAdapter(guard, verify=api.verify, cert=cert, proxy=api.proxy))

    def close(self) -> None:
        """Close the sessions."""
        for session in self._sessions.values():
            session.close()


def _credentials(apis: Iterable[Api], vault: Vault) -> dict[str, Credentials]:
    """Give the credentials of APIs by their name, and of calls that add to them by `API.CALL`."""
    found = {}
    for api in apis:
        own = Credentials(api.auth, api.sealed, vault, Clock())
        if api.auth is not None or api.sealed:
            found[api.name] = own
        for name, call in api.calls.items():
            if call.sealed:
                found[f"{api.name}.{name}"] = own.and_headers(call.sealed)
    return found
