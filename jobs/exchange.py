"""One attempt: a prepared call goes out, a response comes back or a fault is raised.

`prepare` turns a job into a request once; `exchange` sends it, as often as it takes, and says in the words of
`faults` what went wrong. What the transport and `requests` raise ends here and goes no further.
"""

from __future__ import annotations

import base64
import json
import mimetypes
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import unquote, urlencode, urljoin, urlsplit, urlunsplit

import orjson
import requests
from requests import exceptions
from requests.structures import CaseInsensitiveDict

from inboxd.cache.key import redact
from inboxd.jobs import faults
from inboxd.jobs.api import Api, origin
from inboxd.jobs.body import Segments, of_multipart
from inboxd.jobs.credentials import Credentials
from inboxd.jobs.fieldlines import Fields, Wire, wire_of
from inboxd.jobs.fields import url as checked_url
from inboxd.jobs.job import Job
from inboxd.jobs.reply import Bounds
from inboxd.jobs.result import Response
from inboxd.jobs.session import Sends
from inboxd.jobs.verdict import fault_of

USER_AGENT = "inboxd"
# Methods whose request has a body by its nature, so that its absence is told as well (RFC 9110 8.6).
ALWAYS_WITH_LENGTH = frozenset({"POST", "PUT", "PATCH"})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# What may go along to another origin. Any other header may be a credential, whatever it is called.
_HARMLESS = frozenset(
    {"accept", "accept-encoding", "accept-language", "cache-control", "idempotency-key", "range", "user-agent"}
)
# Characters that stand in a URL as they are (RFC 3986 2); with only these, there is nothing to encode.
_PLAIN_URL = re.compile(r"https?://[a-z0-9.:\[\]-]+/[A-Za-z0-9\-._~/?&=+,;:@!$'()*%]*")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")

OpenFile = Callable[[str], BinaryIO]


@dataclass(slots=True)
class Call:
    """A request ready to be sent.

    `shown` is its URL without secrets, `segments` its body when it has files in it, `entrusted` the names of headers
    that are for this origin only, whatever they are called, `credentials` what is put on it when it is sent; `renewed`
    tells that its access token was refused once.
    """

    request: requests.PreparedRequest
    shown: str
    segments: Segments | None = None
    entrusted: frozenset[str] = frozenset()
    credentials: Credentials | None = None
    renewed: bool = False

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.request.method or "GET"

    @property
    def url(self) -> str:
        """The URL as it is sent, but for an API key that is put into its query then."""
        return self.request.url or ""


@dataclass(frozen=True, slots=True)
class Redirected:
    """Not an end: the server sent the call on to `call`."""

    call: Call
    status: int


def prepare(job: Job, api: Api, request_id: str) -> Call:
    """Make the request of a job once, for all its attempts; raises `Invalid`."""
    try:
        return _prepared(job, api, request_id)
    except UnicodeError:
        raise faults.Invalid("a text holds half a character (a lone surrogate), which UTF-8 cannot carry") from None
    except RecursionError:
        raise faults.Invalid("json: nested too deeply to be sent") from None
    except exceptions.RequestException as error:
        raise faults.Invalid(str(error)) from None


def _prepared(job: Job, api: Api, request_id: str) -> Call:
    url, credentials = _without_userinfo(job.url)
    if job.query:
        url = _with_query(url, job.query)
    headers = Fields(
        {
            "user-agent": ("User-Agent", USER_AGENT),
            "accept": ("Accept", "*/*"),
            "idempotency-key": ("Idempotency-Key", request_id),
        }
    )
    if api.headers:
        headers.update(api.open_headers)
    if credentials:
        headers["Authorization"] = credentials
    body, content_type = _body(job)
    if content_type:
        headers["Content-Type"] = content_type
    if job.headers:
        headers.update(job.headers)
    if body is None and job.verb in ALWAYS_WITH_LENGTH:
        headers["Content-Length"] = "0"
    entrusted = frozenset(name.lower() for name in api.headers) if api.headers else frozenset()
    if isinstance(body, Segments):
        request = _request(job.verb, url, headers, None)
        return Call(request, redact(request.url or url), body, entrusted)
    request = _request(job.verb, url, headers, body)
    request.wire = wire_of(request)
    return Call(request, redact(request.url or url), None, entrusted)


class _Request(requests.PreparedRequest):
    """A request that may have been brought to what the transport takes; a copy of it, to be changed, has not."""

    wire: Wire | None = None


def _request(method: str, url: str, headers: CaseInsensitiveDict[str], body: bytes | None) -> _Request:
    """Fill a PreparedRequest by hand; its own prepare() costs as much as the rest of the call."""
    request = _Request()
    request.method = method
    if _PLAIN_URL.fullmatch(url) and not _BAD_PERCENT.search(url):
        request.url = url
    else:
        try:
            request.prepare_url(url, None)
        except (exceptions.RequestException, UnicodeError) as error:
            raise faults.Invalid(f"url: {error}") from None
    request.headers = headers
    request.body = body
    return request


def _without_userinfo(url: str) -> tuple[str, str | None]:
    """Take `user:password@` out of the URL and give it as a Basic header (RFC 7617); drop the fragment too."""
    url = url.partition("#")[0]
    if "@" not in url.partition("?")[0]:
        return url, None
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    name, _, password = user.partition(":")
    token = base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
    return urlunsplit(parts._replace(netloc=host)), f"Basic {token}"


def _with_query(url: str, query: Mapping[str, Any]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(_strings(query), doseq=True)}"


def _strings(pairs: Mapping[str, Any]) -> dict[str, str | list[str]]:
    return {
        name: [_string(one) for one in value] if isinstance(value, list) else _string(value)
        for name, value in pairs.items()
    }


def _string(value: Any) -> str:
    """Write a scalar as JSON does: true, not True."""
    return value if isinstance(value, str) else json.dumps(value)


def _body(job: Job) -> tuple[bytes | Segments | None, str | None]:  # noqa: PLR0911  # one for each kind of body
    """Give the body and its content type."""
    match job.body:
        case None:
            return None, None
        case "json":
            return _json(job.json_body), "application/json"
        case "form":
            return urlencode(_strings(job.form or {}), doseq=True).encode(), "application/x-www-form-urlencoded"
        case "text":
            return (job.text or "").encode("utf-8", "surrogatepass"), "text/plain; charset=utf-8"
        case "base64":
            return base64.b64decode(job.base64 or ""), "application/octet-stream"
        case "file":
            name = job.file or ""
            return Segments([(name,)]), mimetypes.guess_type(name)[0] or "application/octet-stream"
        case "multipart":
            boundary = secrets.token_hex(16)
            return of_multipart(job.multipart or {}, boundary), f"multipart/form-data; boundary={boundary}"


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        # Numbers beyond 64 bits and lone surrogates, which only the standard library writes.
        return json.dumps(value, separators=(",", ":")).encode()


def exchange(
    session: Sends,
    call: Call,
    bounds: Bounds,
    *,
    ok: frozenset[int],
    open_file: OpenFile,
    now: float,
) -> Response | Redirected:
    """Send `call` once. Raises a Fault, or the OSError of a disk that has no room for the body.

    `now` is the wall time, which a Retry-After date is measured against. A redirect of GET or HEAD comes back
    as `Redirected`; whether to follow it is the caller's business.
    """
    if call.segments is None:
        reply = _sent(session, call, bounds)
    else:
        with _filled(call, call.segments, open_file):
            reply = _sent(session, call, bounds)
    response = _response(reply)
    if response.status not in ok:
        target = _redirect(call, reply)
        if target is not None:
            return target
        fault = faults.of_status(response.status, reply.headers, now)
        fault.response = response
        raise fault
    _check_cors(call, reply, response)
    return response


def _sent(session: Sends, call: Call, bounds: Bounds) -> requests.Response:
    try:
        return session.send(call.request, allow_redirects=False, timeout=bounds.deadline, bounds=bounds)
    except exceptions.RequestException as error:
        raise fault_of(error) from None


@contextmanager
def _filled(call: Call, segments: Segments, open_file: OpenFile) -> Iterator[None]:
    """Have the files of a body open while it is sent."""
    try:
        body = segments.open(open_file)
    except OSError as error:
        raise faults.Invalid(f"attachment: {os.strerror(error.errno or 0)}") from None
    with body:
        call.request.body = body  # type: ignore[assignment]  # requests streams file-like bodies; its stubs leave them out
        call.request.headers["Content-Length"] = str(body.size)
        # Where the transport has to go back to when a kept-alive connection turns out to be dead.
        call.request._body_position = 0  # type: ignore[attr-defined]  # noqa: SLF001  # requests' own mark
        yield


def _response(reply: requests.Response) -> Response:
    side = getattr(reply, "side", None)
    content = b"" if side is not None else reply.content
    return Response(
        reply.status_code,
        reply.headers,
        content,
        side,
        getattr(reply, "size", len(content)),
        getattr(reply, "sha256", None),
    )


def _redirect(call: Call, reply: requests.Response) -> Redirected | None:
    """Give the next call of a redirect that may be followed without asking (RFC 9110 15.4)."""
    location = reply.headers.get("Location")
    if reply.status_code not in REDIRECTS or not location or call.method not in {"GET", "HEAD"}:
        return None
    headers, entrusted = call.request.headers, call.entrusted
    try:
        url, _ = _without_userinfo(urljoin(call.url, location))
        if origin(checked_url(url)) != origin(call.url):
            # Whatever the old host was trusted with, the new one gets none of it.
            headers = CaseInsensitiveDict(
                {name: value for name, value in headers.items() if name.lower() in _HARMLESS - entrusted}
            )
            entrusted = frozenset()
        request = _request(call.method, url, headers, None)
    except (ValueError, faults.Invalid):
        raise faults.BadResponse(
            f"the server redirects to {redact(location)!r}, which is no http(s) URL", status=reply.status_code
        ) from None
    return Redirected(Call(request, redact(request.url or url), None, entrusted), reply.status_code)


def _check_cors(call: Call, reply: requests.Response, response: Response) -> None:
    asked = call.request.headers.get("Origin")
    if asked is None:
        return
    allowed = reply.headers.get("Access-Control-Allow-Origin")
    if allowed not in {"*", asked}:
        said = "names no allowed origin" if allowed is None else f"allows only {allowed}"
        fault = faults.Cors(f"the job sent Origin {asked}, and the answer {said}", status=response.status)
        fault.response = response
        raise fault
