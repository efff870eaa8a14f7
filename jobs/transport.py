"""A `requests` adapter over libcurl: one deadline for the whole transfer, a bounded body, a guarded address.

Its one rule: what is sent is what the request says. No redirect, cookie, netrc entry, environment proxy or earlier
request on the same connection adds to it. Each thread has its own curl handle with its own connections. A connection
that was kept and turns out to be dead is replaced by curl, once and unasked, so a request may reach the server twice.
"""

import contextlib
import os
import threading
from collections.abc import Mapping
from typing import Any, NoReturn

import certifi
import pycurl
import requests
from requests.adapters import BaseAdapter
from requests.exceptions import RequestException
from urllib3.util.retry import Retry

from inboxd.jobs.fieldlines import checked_method, wire_of
from inboxd.jobs.flow import Flow
from inboxd.jobs.guard import Guard
from inboxd.jobs.reply import Bounds, CurlResponse, is_whole
from inboxd.jobs.session import open_session
from inboxd.jobs.wirefaults import (
    COULDNT_CONNECT,
    PARTIAL_FILE,
    AddressRefused,
    BadReply,
    BodyTooLarge,
    DnsError,
    TlsError,
    translate,
)

__all__ = [
    "AddressRefused",
    "BadReply",
    "BodyTooLarge",
    "Bounds",
    "CurlAdapter",
    "CurlResponse",
    "DnsError",
    "TlsError",
    "open_session",
]

# Every call ends, also one that was given no bounds.
_DEFAULT_DEADLINE = 30.0
# Connections kept by one thread. A thread serves many APIs in turn; with curl's own 5 it would reconnect all the time.
_KEPT_CONNECTIONS = 16
# A sent body stays referenced by the handle until the next one; a larger one is let go at once.
_KEPT_BODY = 64 * 1024
# A larger receive buffer than curl's 16 KiB saves system calls.
_RECEIVE_BUFFER = 128 * 1024


class _Handle:
    """One thread's curl handle, and what was last set on it: an option is set only when it differs."""

    def __init__(self, guard: Guard, fixed: Mapping[int, Any], *, proxied: bool) -> None:
        self.flow = flow = Flow(guard)
        self.curl = curl = pycurl.Curl()
        for option, value in fixed.items():
            curl.setopt(option, value)
        curl.setopt(pycurl.HEADERFUNCTION, flow.head.append)
        curl.setopt(pycurl.WRITEFUNCTION, flow.write)
        curl.setopt(pycurl.READFUNCTION, flow.read)
        curl.setopt(pycurl.SEEKFUNCTION, flow.seek)
        if not proxied:
            # With a proxy the address dialled is the operator's choice, not the job's.
            curl.setopt(pycurl.OPENSOCKETFUNCTION, flow.dial)
        self._url = self._method = ""
        self._lines: list[str | bytes] = []
        self._deadline_ms = 0
        self._large = False

    def dress(self, request: requests.PreparedRequest, bounds: Bounds) -> None:
        """Set on curl what this request and its bounds ask. Raises InvalidURL, InvalidSchema, InvalidHeader."""
        setopt = self.curl.setopt
        self.flow.begin(bounds)
        method, body = request.method or "GET", request.body
        # Whoever prepared many requests may have made it beforehand.
        url, self.flow.host, lines = getattr(request, "wire", None) or wire_of(request)
        if url != self._url:
            setopt(pycurl.URL, url)
            self._url = url
        if method != self._method:
            setopt(pycurl.CUSTOMREQUEST, checked_method(method))
            self._method = method
        if lines != self._lines:
            if lines:
                setopt(pycurl.HTTPHEADER, lines)
            else:
                # An empty list would be taken for nothing to do, and the last request's headers sent again.
                self.curl.unsetopt(pycurl.HTTPHEADER)
            self._lines = lines
        deadline_ms = max(1, int(bounds.deadline * 1000))
        if deadline_ms != self._deadline_ms:
            setopt(pycurl.TIMEOUT_MS, deadline_ms)
            self._deadline_ms = deadline_ms
        # This also takes back the NOBODY, POST or UPLOAD of the request before.
        setopt(pycurl.HTTPGET, 1)
        if method == "HEAD":
            setopt(pycurl.NOBODY, 1)
        elif isinstance(body, str | bytes):
            self._large = len(body) > _KEPT_BODY
            setopt(pycurl.POSTFIELDS, body.encode() if isinstance(body, str) else body)
        elif body is not None:
            self._stream(body, request)

    def _stream(self, source: Any, request: requests.PreparedRequest) -> None:
        if not hasattr(source, "read"):
            raise TypeError("a body to send is bytes, str or a file-like object")
        self.flow.source = source
        position = getattr(request, "_body_position", None)
        if isinstance(position, int):
            # An earlier attempt may have read it.
            source.seek(position)
            self.flow.origin = position
        self.curl.setopt(pycurl.UPLOAD, 1)
        # Without a known length curl sends chunks.
        self.curl.setopt(pycurl.INFILESIZE_LARGE, int(request.headers.get("Content-Length", -1)))

    def rest(self, *, failed: bool) -> None:
        """Let go of what belonged to the transfer; after a failure take nothing about what is set for granted."""
        self.flow.end()
        if self._large:
            self.curl.setopt(pycurl.POSTFIELDS, b"")
            self._large = False
        if failed:
            self._url = self._method = ""
            # No request has this header, so the next one's is set.
            self._lines = [""]
            self._deadline_ms = 0


class CurlAdapter(BaseAdapter):
    """Sends prepared requests over libcurl, under one guard. Any number of threads may use it at once.

    `verify`: True for certifi's authorities, a path for one's own, False for none. `cert`: path of a client
    certificate, or of it and its key. `proxy`: its URL. `connect_timeout`: seconds for DNS, connect and TLS together.
    """

    # Asked for by `responses` when it stands in for send().
    max_retries = Retry(0, read=False)

    def __init__(
        self,
        guard: Guard,
        *,
        verify: bool | str = True,
        cert: tuple[str, str] | str | None = None,
        proxy: str | None = None,
        connect_timeout: float = 10.0,
    ) -> None:
        super().__init__()
        self._guard = guard
        self._proxied = proxy is not None
        self._fixed: dict[int, Any] = {
            pycurl.NOSIGNAL: 1,
            pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            pycurl.PATH_AS_IS: 1,
            pycurl.ACCEPT_ENCODING: "",
            pycurl.USERAGENT: "",
            pycurl.MAXCONNECTS: _KEPT_CONNECTIONS,
            pycurl.BUFFERSIZE: _RECEIVE_BUFFER,
            pycurl.CONNECTTIMEOUT_MS: max(1, int(connect_timeout * 1000)),
            # Empty, not unset: unset means the environment's.
            pycurl.PROXY: proxy or "",
            pycurl.NOPROXY: "",
            **_credentials(verify, cert),
        }
        self._local = threading.local()

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002  # the answer is always whole
        timeout: Any = None,
        verify: Any = True,  # noqa: ARG002  # a kept connection was made under the constructor's rule
        cert: Any = None,  # noqa: ARG002  # the same
        proxies: Any = None,  # noqa: ARG002  # the same
        *,
        bounds: Bounds | None = None,
    ) -> CurlResponse:
        """Send `request` and return its whole answer.

        Without `bounds`, `timeout` (seconds; the last of a pair) is the deadline. Raises a `requests` exception whose
        `sent` tells whether the server may have got the request, or the very error of `bounds.spill` or of the body.
        """
        try:
            handle: _Handle = self._local.handle
        except AttributeError:
            handle = self._local.handle = _Handle(self._guard, self._fixed, proxied=self._proxied)
        if bounds is None:
            bounds = Bounds((timeout[-1] if isinstance(timeout, tuple) else timeout) or _DEFAULT_DEADLINE)
        failed = True
        try:
            handle.dress(request, bounds)
            handle.curl.perform()
            response = self._answer(request, handle)
            failed = False
        except Exception as error:
            _raise(error, handle, request)
        finally:
            handle.rest(failed=failed)
        return response

    def _answer(self, request: requests.PreparedRequest, handle: _Handle) -> CurlResponse:
        flow = handle.flow
        if not is_whole(flow.head):
            # Curl takes a connection closed within the header for the end of an empty answer.
            raise pycurl.error(PARTIAL_FILE, "the header ended early")
        status: int = handle.curl.getinfo(pycurl.RESPONSE_CODE)
        response = CurlResponse(request, status, flow.head.copy(), b"".join(flow.chunks))
        if flow.side is not None:
            flow.side.flush()
            response.side, response.size, response.sha256 = flow.side, flow.size, flow.digest.hexdigest()
        response.connection = self  # type: ignore[assignment]  # its stub wants HTTPAdapter
        return response

    def build_response(self, request: requests.PreparedRequest, reply: Any) -> CurlResponse:
        """Make an answer of a urllib3 response: what `responses` needs of an adapter to stand in for `send`."""
        head = [f"HTTP/1.1 {reply.status} {reply.reason or ''}\r\n".encode("latin-1")]
        head += [f"{name}: {value}\r\n".encode("latin-1") for name, value in reply.headers.items()]
        response = CurlResponse(request, reply.status, head, reply.read(decode_content=True))
        response.connection = self  # type: ignore[assignment]  # its stub wants HTTPAdapter
        return response

    def close(self) -> None:
        """Let every thread's handle go; one that is in use ends with its transfer."""
        self._local = threading.local()


def _credentials(verify: bool | str, cert: tuple[str, str] | str | None) -> dict[int, Any]:
    """Return the options for whom we trust and who we are."""
    options: dict[int, Any] = {}
    if verify is False:
        options = {pycurl.SSL_VERIFYPEER: 0, pycurl.SSL_VERIFYHOST: 0}
    else:
        path = certifi.where() if verify is True else verify
        options[pycurl.CAPATH if os.path.isdir(path) else pycurl.CAINFO] = path
    if cert is not None:
        options[pycurl.SSLCERT], options[pycurl.SSLKEY] = (cert, cert) if isinstance(cert, str) else cert
    return options


def _raise(error: Exception, handle: _Handle, request: requests.PreparedRequest) -> NoReturn:
    """Raise what the caller shall see of `error`: the callback's own error, or a `requests` exception."""
    flow = handle.flow
    if flow.side is not None:
        # A disk that is full may complain a second time, which would hide the first.
        with contextlib.suppress(OSError):
            flow.side.close()
    sent = isinstance(error, pycurl.error) and handle.curl.getinfo(pycurl.REQUEST_SIZE) > 0
    if isinstance(error, pycurl.error):
        code, words = error.args
        if flow.error is not None:
            error = flow.error
        elif code == COULDNT_CONNECT and flow.refused is not None and not flow.dialled:
            error = AddressRefused(f"the call is not allowed: {flow.refused}")
        else:
            error = translate(code, words, request.url or "", sent=sent, begun=is_whole(flow.head))
    if isinstance(error, RequestException):
        error.request = request
        error.__dict__["sent"] = sent
    raise error from None
