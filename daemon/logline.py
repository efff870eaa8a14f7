"""One log record as one line of text: logfmt or JSON, in a fixed order of keys, with secrets hidden.

The one rule: whatever a job's name or a server's words hold, a record stays one line and no secret is in it.
Everything here is pure and runs in the writer's thread; a value that cannot be shown costs its record the other
fields, never the thread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import orjson

from inboxd.cache.key import is_secret, redact
from inboxd.jobs.result import isotime

# A record as it waits for its turn: epoch seconds, level, event, fields.
Entry = tuple[float, str, str, dict[str, Any]]
Format = Callable[[Entry], str]

# Read from left to right: which job, where, and how it went. Other fields follow as they were given.
ORDER = ("id", "name", "line", "api", "attempt", "status", "fault", "ms")
_PLACED = frozenset({*ORDER, "ts", "level", "event"})
# journald cuts lines at 48 KiB (LineMax=), and escaping may double a text.
LONGEST_VALUE = 16_384
# Longer texts hardly ever come again.
USUAL_LENGTH = 100

_HIDDEN = "***"
_SECRETS = re.compile(
    r"(?P<url>https?://\S+)"
    r"|(?P<header>\b(?:proxy-)?authorization|\b(?:set-)?cookie)(?P<sign>[\"']?\s*[:=]\s*)[^\r\n]+"
    r"|(?P<scheme>\b(?:bearer|basic))\s+[^\s\"',;]+",
    re.IGNORECASE | re.ASCII,
)
# Without one of these no part of the pattern matches, and looking for them costs a tenth.
_MARKS = ("://", "authorization", "cookie", "bearer", "basic")
# Most values: nothing to hide and nothing to quote, for each of the secrets takes a sign that is missing here; an
# instant begins with four digits.
_plain_text = re.compile(r"(?:\d{4}-[\d:.TZ-]+|[A-Za-z0-9._~/+@-]{1,200})").fullmatch
# What would end the line or the value, drive a terminal, turn the reading direction, or cannot be encoded.
_UNSAFE = r"\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_ESCAPED = re.compile(rf"[\"\\{_UNSAFE}]")
_QUOTED = re.compile(rf"[\s=\"\\{_UNSAFE}]")
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_FAR = re.compile(rf"[{_UNSAFE}]")


def logfmt(entry: Entry) -> str:
    """Give the entry as `ts=… level=… event=… id=…`, without a newline; fields that are None are left out."""
    at, level, event, fields = entry
    line = f"ts={isotime(at)} level={level} event={_text(event)}"
    for name, start, secret in _ordered(tuple(fields)):
        if (value := fields[name]) is not None:
            line += start + (_HIDDEN if secret else _text(value))
    return line


def json_line(entry: Entry) -> str:
    """Give the entry as a JSON object, without a newline; fields that are None are left out."""
    at, level, event, fields = entry
    shown = {"ts": isotime(at), "level": level, "event": masked(event)}
    for name, _, secret in _ordered(tuple(fields)):
        if (value := fields[name]) is not None:
            shown[name] = _HIDDEN if secret else _plain(value)
    return _json(shown)


def masked(text: str) -> str:
    """Hide credentials in free text: in URLs, after Authorization, Cookie, Bearer and Basic. Too long is cut."""
    lower = text.lower()
    for mark in _MARKS:
        if mark in lower:
            text = _SECRETS.sub(_mask, text)
            break
    # Cut only now: half a URL would not show where its password ends.
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "…"


def _mask(match: re.Match[str]) -> str:
    if match["url"]:
        return redact(match["url"])
    if match["header"]:
        return f"{match['header']}{match['sign']}{_HIDDEN}"
    return f"{match['scheme']} {_HIDDEN}"


# Each event has the same fields over and over.
@lru_cache(maxsize=512)
def _ordered(names: tuple[str, ...]) -> list[tuple[str, str, bool]]:
    """Give the fields in their order: each name, how it begins in logfmt, and whether its value is a secret."""
    ordered = [name for name in ORDER if name in names] + [name for name in names if name not in _PLACED]
    return [(name, f" {re.sub(r'[^a-zA-Z0-9_.-]', '_', name)}=", is_secret(name)) for name in ordered]


def _text(value: Any) -> str:
    """Write a value of logfmt."""
    if isinstance(value, str):
        return value if _plain_text(value) else _shown(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(round(value, 3))
    plain = _plain(value)
    return _quoted(plain if isinstance(plain, str) else _json(plain))


def _shown(text: str) -> str:
    return _shown_before(text) if len(text) <= USUAL_LENGTH else _quoted(masked(text))


@lru_cache(maxsize=1024)
def _shown_before(text: str) -> str:
    """Write what comes again and again: the names of APIs, which are URLs, and what our own lines say."""
    return _quoted(masked(text))


def _quoted(text: str) -> str:
    if text and not _QUOTED.search(text):
        return text
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    return _SHORT.get(match[0]) or f"\\u{ord(match[0]):04x}"


def _plain(value: Any) -> Any:
    """Bring a value to what JSON knows, with secrets hidden at every depth."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, float):
        return round(value, 3)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, Mapping):
        return {str(name): _HIDDEN if is_secret(str(name)) else _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    return masked(str(value))


def _json(value: Any) -> str:
    try:
        text = orjson.dumps(value).decode()
    except TypeError:
        # Lone surrogates, or a number of more than 64 bits.
        text = json.dumps(value)
    return _FAR.sub(_escape, text)
