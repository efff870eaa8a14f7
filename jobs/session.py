"""A `requests.Session` that adds nothing to a request and follows nothing.

What `requests` mixes in by default (the environment's proxies and netrc, cookies of earlier answers, default headers,
redirects) would let one call change another, or go where no guard, lane or credential was chosen for it.
"""

from http.cookiejar import Cookie
from typing import Any, Protocol

import requests
from requests.adapters import BaseAdapter
from requests.cookies import RequestsCookieJar
from requests.hooks import dispatch_hook


class Sends(Protocol):
    """What sends a request: a session, or what stands before one."""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send it and give the whole answer."""


class _NoCookies(RequestsCookieJar):
    def set_cookie(self, cookie: Cookie, *args: Any, **kwargs: Any) -> None:
        """Keep nothing, whoever asks."""


class _PlainSession(requests.Session):
    def __init__(self, adapter: BaseAdapter) -> None:
        super().__init__()
        self.trust_env = False
        self.headers.clear()
        self.cookies = _NoCookies()
        self._adapter = adapter
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send through the adapter and the request's hooks.

        `requests` would also look for proxies, cookies and redirects, at five times the cost, to find none.
        """
        kwargs.pop("allow_redirects", None)
        response = self._adapter.send(request, **kwargs)
        if request.hooks["response"]:
            response = dispatch_hook("response", request.hooks, response, **kwargs)  # type: ignore[no-untyped-call]  # requests leaves it untyped
        return response


def open_session(adapter: BaseAdapter) -> requests.Session:
    """Return a session on `adapter`: no environment, no cookies, no default headers, no redirects."""
    return _PlainSession(adapter)
