"""One stored answer as a line of JSON, stamped with the seconds between which it may be served.

The one rule: what was written comes back exactly, or not at all. A seal (format and SHA-256) opens the line and
covers every byte after it, so a torn, foreign, altered or older file is None and never an exception.
An entry cannot hold a credential: secret headers and the URL's secrets are dropped as it is made.
"""

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite
from typing import Any, Self

from inboxd.cache.key import is_secret, redact

# Raise the number when a field changes its meaning: files of another number are misses.
_OPENING = b'{"format": "inboxd-cache-1", "sha256": "'
_CLOSING = b'", '
_SEAL_BYTES = len(_OPENING) + 64 + len(_CLOSING)


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer and its time: served from `stored_at` until before `expires_at` (seconds since the epoch, UTC)."""

    stored_at: float
    expires_at: float
    # `method` and `url`: what was asked, for people who look; the key is what decides.
    request: dict[str, str]
    status: int
    headers: dict[str, str]
    body: bytes

    def __post_init__(self) -> None:
        request = {name: redact(value) if name == "url" else value for name, value in self.request.items()}
        headers = {name: value for name, value in self.headers.items() if not is_secret(name)}
        object.__setattr__(self, "request", request)
        object.__setattr__(self, "headers", headers)

    def fresh(self, now: float) -> bool:
        """Tell whether the entry may be served; a clock set back before `stored_at` makes it stale, not immortal."""
        return self.stored_at <= now < self.expires_at

    def to_json(self, key: str = "") -> bytes:
        """Return the file's bytes, a body of UTF-8 readable as `text` and any other as `base64`.

        The seal covers `key` as well, so a file that lies under another call's name is not taken for its answer.
        Raises ValueError for a time that is not finite.
        """
        fields: dict[str, Any] = {
            "stored_at": self.stored_at,
            "expires_at": self.expires_at,
            "request": self.request,
            "status": self.status,
            "headers": self.headers,
        }
        try:
            fields["text"] = self.body.decode()
        except UnicodeDecodeError:
            fields["base64"] = b64encode(self.body).decode()
        line = json.dumps(fields, ensure_ascii=False, allow_nan=False)
        # Header values may hold lone surrogates; json.loads reads them back in the same way.
        content = line[1:].encode("utf-8", "surrogatepass") + b"\n"
        return _seal(content, key) + content

    @classmethod
    def from_json(cls, data: bytes, key: str = "") -> Self | None:
        """Return the entry that `to_json` wrote with the same `key`, or None, whatever the bytes are."""
        if data[:_SEAL_BYTES] != _seal(memoryview(data)[_SEAL_BYTES:], key):
            return None
        try:
            return cls._from_fields(json.loads(data))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return None

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> Self:
        """Build the entry; raises for fields that are missing or of a wrong type."""
        body = _text(fields["text"]).encode() if "text" in fields else b64decode(_text(fields["base64"]), validate=True)
        if type(fields["status"]) is not int:
            raise TypeError("status is no integer")
        return cls(
            stored_at=_seconds(fields["stored_at"]),
            expires_at=_seconds(fields["expires_at"]),
            request=_texts(fields["request"]),
            status=fields["status"],
            headers=_texts(fields["headers"]),
            body=body,
        )


def _seal(content: bytes | memoryview, key: str) -> bytes:
    digest = sha256(key.encode("utf-8", "surrogatepass"))
    digest.update(content)
    return _OPENING + digest.hexdigest().encode() + _CLOSING


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return {name: _text(text) for name, text in value.items()}


def _seconds(value: Any) -> float:
    if type(value) not in (int, float) or not isfinite(value):
        raise TypeError("not a time")
    return float(value)
