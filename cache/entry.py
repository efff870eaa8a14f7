"""One stored answer as a line of JSON, stamped with the seconds between which it may be served.

The one rule: what was written comes back exactly, or not at all. A seal (format and SHA-256) opens the line and
covers every byte after it, so a torn, foreign, altered or older file is None and never an exception.
A file cannot hold a credential: secret headers and the URL's secrets are dropped as it is written.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from math import isfinite
from typing import Any, NamedTuple, Self

from inboxd.cache.key import URL_HEADERS, is_secret, redact

# Raise the number when a field changes its meaning: files of another number are misses.
_OPENING = b'{"format": "inboxd-cache-2", "sha256": "'
_CLOSING = b'", '
_TEXT = frozenset({str})
_DECODER = json.JSONDecoder()
_SEAL_BYTES = len(_OPENING) + 64 + len(_CLOSING)

# What a stored answer can be asked about again by (RFC 9110 8.8), and the request header that asks.
_CONDITIONS = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}


class Side(NamedTuple):
    """A body in a file of its own: its length in bytes and its SHA-256 in hexadecimal."""

    size: int
    sha256: str


class Entry(NamedTuple):
    """An answer and its time: served from `stored_at` until before `expires_at` (seconds since the epoch, UTC).

    `request` is what was asked (`api`, `method`, `url`), for people who look; the key is what decides. The body is
    `body`, or lies in a `side` file. `varied` is a digest of the request headers that the answer's Vary names.
    """

    stored_at: float
    expires_at: float
    request: dict[str, str]
    status: int
    headers: dict[str, str]
    body: bytes = b""
    side: Side | None = None
    varied: str = ""

    def fresh(self, now: float) -> bool:
        """Tell whether the entry may be served; a clock set back before `stored_at` makes it stale, not immortal."""
        return self.stored_at <= now < self.expires_at

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body) if self.side is None else self.side.size

    @property
    def conditions(self) -> dict[str, str]:
        """Request headers that ask whether the answer is still the same (RFC 9110 13.1); none if it has no validator.

        Only plain ASCII goes back to the server: what came as something else cannot be trusted to mean the same.
        """
        return {
            _CONDITIONS[name.lower()]: value
            for name, value in self.headers.items()
            if name.lower() in _CONDITIONS and value.isascii() and value.isprintable()
        }

    def renewed(self, stored_at: float, expires_at: float, headers: Mapping[str, str]) -> Self:
        """Return the entry as a 304 with `headers` leaves it (RFC 9111 3.2): what describes the body stays."""
        kept = dict(self.headers)
        mine = {name.lower(): name for name in kept}
        for name, value in headers.items():
            lower = name.lower()
            if not lower.startswith("content-") and lower != "transfer-encoding":
                kept.pop(mine.get(lower, name), None)
                kept[name] = value
        return self._replace(stored_at=stored_at, expires_at=expires_at, headers=kept)

    def to_json(self, key: str = "") -> bytes:
        """Return the file's bytes, in which only a body of UTF-8 has a place.

        The seal covers `key` as well, so a file that lies under another call's name is not taken for its answer.
        Raises ValueError for a time that is not finite, and for any other body.
        """
        headers = {
            name: redact(value) if name.lower() in URL_HEADERS else value
            for name, value in self.headers.items()
            if not is_secret(name)
        }
        request = {name: redact(value) if name == "url" else value for name, value in self.request.items()}
        response: dict[str, Any] = {"status": self.status, "headers": headers}
        if self.side is None:
            response["text"] = self.body.decode()
        else:
            response |= {"bytes": self.side.size, "sha256": self.side.sha256}
        fields = {
            "stored_at": float(self.stored_at),
            "expires_at": float(self.expires_at),
            "request": request,
            "varied": self.varied,
            "response": response,
        }
        line = json.dumps(fields, ensure_ascii=False, allow_nan=False)
        # Header values may hold lone surrogates; json.loads reads them back in the same way.
        content = line[1:].encode("utf-8", "surrogatepass") + b"\n"
        return _seal(content, key) + content

    @classmethod
    def from_json(cls, data: bytes, key: str = "") -> Self | None:
        """Return the entry that `to_json` wrote with the same `key`, or None, whatever the bytes are."""
        if data[:_SEAL_BYTES] != _seal(data[_SEAL_BYTES:], key):
            return None
        try:
            return cls._from_fields(_DECODER.raw_decode(data.decode("utf-8", "surrogatepass"))[0])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> Self:
        """Build the entry; raises for fields that are missing or of a wrong type."""
        response = fields["response"]
        times, kinds = (fields["stored_at"], fields["expires_at"]), (fields["request"], response["headers"])
        body, side = b"", None
        if "sha256" in response:
            side = Side(response["bytes"], response["sha256"])
            whole = type(side.size) is int and type(side.sha256) is str
        else:
            body, whole = response["text"].encode(), type(response["text"]) is str
        whole = whole and type(response["status"]) is int and type(fields["varied"]) is str
        if not whole or not all(map(_is_time, times)) or not all(map(_is_texts, kinds)):
            raise TypeError("not as this version writes it")
        return cls(*times, kinds[0], response["status"], kinds[1], body, side, fields["varied"])


def _seal(content: bytes, key: str) -> bytes:
    digest = sha256(key.encode("utf-8", "surrogatepass") + content)
    return _OPENING + digest.hexdigest().encode() + _CLOSING


def _is_texts(value: Any) -> bool:
    return type(value) is dict and _TEXT.issuperset(map(type, value.values()))


def _is_time(value: Any) -> bool:
    return type(value) is float and isfinite(value)
