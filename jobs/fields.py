"""The fields of a job that need more than a type: what they may hold, and the sentence for what they may not.

Each is a check for pydantic that raises ValueError, and the type that carries it together with its JSON Schema.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import lru_cache
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, WithJsonSchema

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_URL = re.compile(r"https?://([^\s/?#\x00-\x1f\x7f]+)[^\s\x00-\x1f\x7f]*", re.IGNORECASE)
# A name as DNS knows it (RFC 1035 2.3.4), or an address; `~` is ours, for names of files and lanes.
_HOST = re.compile(r"[^~%]{1,253}")
# Half a character (a lone surrogate) names no file.
_ATTACHMENT = re.compile(r"[^./~\x00-\x1f\x7f\ud800-\udfff][^/~\x00-\x1f\x7f\ud800-\udfff]{0,199}")
# The transport frames the message itself; letting a job do it is request smuggling (RFC 9112 11.2).
_FRAMING = frozenset(
    {"connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_SCALAR_SCHEMA = {"type": ["string", "number", "boolean"]}
_PAIRS_SCHEMA = {
    "type": "object",
    "additionalProperties": {"anyOf": [_SCALAR_SCHEMA, {"type": "array", "items": _SCALAR_SCHEMA}]},
}


def url(value: Any) -> Any:
    """Check that `value` is an absolute URL with a usable host and port."""
    if isinstance(value, str) and (match := _URL.fullmatch(value)) and _reachable(match[1]):
        return value
    raise ValueError("expected an absolute http:// or https:// URL without spaces or control characters")


@lru_cache(maxsize=1024)
def _reachable(authority: str) -> bool:
    """Tell whether an authority (RFC 3986 3.2) names a host and a port that can be called."""
    try:
        parts = urlsplit(f"//{authority}")
        # Looking at the port reads it, and raises when it is none.
        return _HOST.fullmatch(parts.hostname or "") is not None and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _headers(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError("expected an object of header names and string values")
    for name, text in value.items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is not a header name")
        if name.lower() in _FRAMING:
            raise ValueError(f"{name} is set by the transport; leave it out")
        if not isinstance(text, str) or any(ch in text for ch in "\r\n\0") or not _latin(text):
            raise ValueError(f"{name}: expected one line of Latin-1 text")
    return value


def _latin(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def _base64(value: Any) -> Any:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise ValueError("expected base64 (RFC 4648 4, with padding)") from None
    return value


def _attachment(value: Any) -> Any:
    if isinstance(value, str) and _ATTACHMENT.fullmatch(value):
        return value
    raise ValueError("expected the plain name of a file beside the job in the inbox: no /, no ~, no leading dot")


def _pairs(value: Any) -> Any:
    """Check names and values of a query or a form: a scalar, or a list of scalars for a repeated name."""
    if not isinstance(value, dict):
        raise ValueError("expected an object of names and values")
    for name, given in value.items():
        for one in given if isinstance(given, list) else [given]:
            if not isinstance(one, str | int | float):
                raise ValueError(f"{name}: expected a string, a number, a boolean, or a list of them")
    return value


Url = Annotated[str, BeforeValidator(url), WithJsonSchema({"type": "string", "format": "uri"})]
Headers = Annotated[
    dict[str, str],
    BeforeValidator(_headers),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
]
Base64 = Annotated[str, BeforeValidator(_base64), WithJsonSchema({"type": "string", "contentEncoding": "base64"})]
Attachment = Annotated[
    str, BeforeValidator(_attachment), WithJsonSchema({"type": "string", "description": "a file in the inbox"})
]
Method = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,31}$")]
Id = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,200}$")]
Pairs = Annotated[dict[str, Any], BeforeValidator(_pairs), WithJsonSchema(_PAIRS_SCHEMA)]
