"""A request's header as the lines curl takes, and the URL as curl and the guard must both understand it.

Its one rule: one field in is one field out. A line end in a value would smuggle in a second field, or a second request.
"""

import re
from collections.abc import Mapping, ValuesView
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from requests import PreparedRequest
from requests.exceptions import InvalidHeader, InvalidSchema, InvalidURL
from requests.structures import CaseInsensitiveDict

# RFC 9110, 5.6.2: methods and field names are tokens.
_TOKENS = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)
# Curl does the framing: it knows the body's length, and is told below never to wait for "100 Continue".
_FRAMING = frozenset({"content-length", "transfer-encoding", "expect"})
# Scheme, userinfo, host with port, path with query, fragment. Anything looser is read differently by different parsers.
_URL = re.compile(r"(https?://)(?:[^/?#@\\\s]*@)?([^/?#@\\\s]+)([/?][!-~]*)?(?:#[!-~]*)?", re.IGNORECASE | re.ASCII)


# Hosts whose reading is remembered; jobs choose the URLs they call.
_KNOWN_PLACES = 1000


class Fields(CaseInsensitiveDict[str]):
    """Header fields as requests knows them, filled and read at once: one by one costs four times as much.

    `store` has each field's name and value under the name in lower case.
    """

    def __init__(self, store: dict[str, tuple[str, str]] | None = None) -> None:
        self._store: dict[str, tuple[str, str]] = {} if store is None else store

    def get(self, name: str, default: Any = None) -> Any:
        """Give the value of a field; the mapping's own `get` raises and catches an exception for a field not there."""
        found = self._store.get(name.lower())
        return default if found is None else found[1]

    def items(self) -> ValuesView[tuple[str, str]]:  # type: ignore[override]  # the pairs, without a view around them
        """Give the fields as pairs of name and value."""
        return self._store.values()


class Wire(NamedTuple):
    """A request as curl gets it: its URL, its host for the guard, the lines of its header."""

    url: str
    host: str
    lines: list[str | bytes]


def wire_of(request: PreparedRequest) -> Wire:
    """Bring a request to what curl takes. Raises InvalidHeader, InvalidSchema or InvalidURL."""
    lines = field_lines(request.headers, has_body=request.body is not None and request.method != "HEAD")
    return Wire(*target(request.url or ""), lines)


class Target(NamedTuple):
    """A URL as curl gets it, without userinfo and fragment; and its host, in lower case and without port."""

    url: str
    host: str


def target(url: str) -> Target:
    """Read a prepared request's URL. Raises InvalidSchema or InvalidURL.

    The userinfo goes because `requests` has already made an Authorization header of it.
    """
    match = _URL.fullmatch(url)
    if match is None:
        if not url.lower().startswith(("http://", "https://")):
            raise InvalidSchema("only http and https URLs can be called")
        raise InvalidURL("the URL is malformed")
    scheme, place, rest = match.groups()
    return Target(f"{scheme}{place}{rest or ''}", _host(scheme, place))


@lru_cache(maxsize=_KNOWN_PLACES)
def _host(scheme: str, place: str) -> str:
    try:
        return urlsplit(scheme + place).hostname or ""
    except ValueError:
        raise InvalidURL("the URL is malformed") from None


def checked_method(method: str) -> str:
    """Return `method`. Raises InvalidHeader when it is no token."""
    if _TOKENS.fullmatch(method) is None:
        raise InvalidHeader("the method is not a token")
    return method


def field_lines(headers: Mapping[str, str | bytes], *, has_body: bool) -> list[str | bytes]:
    """Return the lines for curl. Raises InvalidHeader for a field that would not arrive as that one field."""
    names: list[str] = []
    lines: list[str | bytes] = ["Expect:"] if has_body else []
    typed = not has_body
    for name, value in headers.items():
        lower = name.lower()
        # "Content-Length: 0" of a POST without a body is the one piece of framing curl would leave out.
        if lower in _FRAMING and (has_body or value != "0" or lower != "content-length"):
            continue
        if lower == "content-type":
            typed = True
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        names.append(name)
        # "Name:" would take curl's own field away, "Name;" sends an empty one.
        lines.append(f"{name}: {text}" if text and not text.isspace() else f"{name};")
    if not typed:
        # Curl would call the body a form.
        lines.append("Content-Type:")
    _check(names, lines)
    return lines


def _check(names: list[str], lines: list[str | bytes]) -> None:
    # One look at all of them: this is done for every call.
    text = "".join(lines)  # type: ignore[arg-type]  # they are all str until here
    if "\r" in text or "\n" in text or "\0" in text:
        raise InvalidHeader("a header holds a line end or a NUL")
    if names and ("" in names or _TOKENS.fullmatch("".join(names)) is None):
        raise InvalidHeader("a header's name is not a token")
    if not text.isascii():
        try:
            lines[:] = [line.encode("latin-1") if isinstance(line, str) else line for line in lines]
        except UnicodeEncodeError:
            raise InvalidHeader("a header is not Latin-1") from None
