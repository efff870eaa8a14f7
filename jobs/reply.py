"""The answer of one transfer, as a `requests.Response`: whole, bounded, its head parsed only when looked at.

The body is in memory or, as a whole, in a side file. Nothing here reads from a socket, so nothing here can hang.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, BinaryIO, NamedTuple

import requests
from requests.cookies import RequestsCookieJar
from requests.utils import get_encoding_from_headers

from inboxd.jobs.fieldlines import Fields

_STATUS_LINE = re.compile(rb"HTTP/[0-9.]+ +[0-9]{3} ?([^\r\n]*)")

_EMPTY_LINES = (b"\r\n", b"\n")


class Bounds(NamedTuple):
    """What one transfer may take.

    `deadline`: seconds for all of it: DNS, connect, TLS, upload, headers, body.
    `max_bytes`: of the decoded body. `inline`: bytes kept in memory; a longer body goes to the side file as a whole.
    `spill`: opens the side file, called at most once; None keeps everything in memory.
    """

    deadline: float
    max_bytes: int = 64 * 1024 * 1024
    inline: int = 64 * 1024
    spill: Callable[[], BinaryIO] | None = None


class CurlResponse(requests.Response):
    """A whole answer.

    `side`: the side file, flushed, neither closed nor synced (its receiver owns it); None when `content` has the body.
    `size`: decoded bytes. `sha256`: hex digest of a body in a side file.
    """

    # Of the class, as long as nobody sets them: most answers are only asked for status, header and body.
    _content_consumed = True
    _next = None
    _charset: str | None = None
    raw = None
    elapsed = timedelta(0)
    side: BinaryIO | None = None
    sha256: str | None = None

    def __init__(self, request: requests.PreparedRequest, status_code: int, head: list[bytes], content: bytes) -> None:
        # Not super().__init__(): its cookie jar alone costs more than everything else here.
        self._content = content
        self._head = head
        self.headers = ReceivedFields(head)
        self.status_code = status_code
        self.request = request
        self.url = request.url or ""
        self.history = []
        self.size = len(content)

    @property
    def encoding(self) -> str | None:
        """The charset the headers tell, if any."""
        return self._charset or get_encoding_from_headers(self.headers)

    @encoding.setter
    def encoding(self, charset: str | None) -> None:
        self._charset = charset

    @property
    def reason(self) -> str:
        """The words of the status line."""
        match = _STATUS_LINE.match(self._head[_final(self._head)]) if self._head else None
        return match[1].decode("latin-1") if match else ""

    @reason.setter
    def reason(self, words: str) -> None:
        self._head = [f"HTTP/1.1 {self.status_code} {words}\r\n".encode("latin-1")]

    @property
    def cookies(self) -> RequestsCookieJar:  # type: ignore[override]  # nobody shall set it
        """Nothing: a cookie stays in the header it came in."""
        return RequestsCookieJar()


def is_whole(head: list[bytes]) -> bool:
    """Whether the final response's header has come to its end, the empty line; trailers may follow it."""
    return bool(head) and (head[-1] in _EMPTY_LINES or any(line in _EMPTY_LINES for line in head[_final(head) :]))


def _final(head: list[bytes]) -> int:
    """Return where the final response begins: interim (1xx) ones and a proxy's come before it."""
    starts = [at for at, line in enumerate(head) if line[:5] == b"HTTP/" and at]
    return next((at for at in reversed(starts) if _STATUS_LINE.match(head[at])), 0)


class ReceivedFields(Fields):
    """The fields of the final response of a head; repeated ones are joined by a comma (RFC 9110, 5.2).

    Read when somebody first looks at them, which for most answers is when they are written down.
    """

    def __init__(self, head: list[bytes]) -> None:
        self._head = head

    def __getattr__(self, name: str) -> Any:
        """Read the head when the store of fields is asked for the first time."""
        if name != "_store":
            raise AttributeError(name)
        self._store = store = _fields(self._head)
        return store


def _fields(head: list[bytes]) -> dict[str, tuple[str, str]]:
    store: dict[str, tuple[str, str]] = {}
    for line in b"".join(head[_final(head) + 1 :]).decode("latin-1").split("\n"):
        name, colon, value = line.partition(":")
        if not colon:
            # The empty line. Trailers after it come too late to say anything about the body.
            break
        lower, value = name.lower(), value.strip()
        store[lower] = (name, f"{store[lower][1]}, {value}" if lower in store else value)
    return store
