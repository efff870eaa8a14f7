"""What an answer says: the status of a job, what the server replied, and every attempt on the way.

These are plain records. `Answer.to_json` is the one place that turns them into the bytes of an answer file;
credentials and cookies are redacted before they come here or, for what the server sent, right here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any, BinaryIO, Literal, NamedTuple, TypeAlias, get_args

import orjson
from requests.structures import CaseInsensitiveDict

from inboxd.cache.key import URL_HEADERS, is_secret, redact
from inboxd.jobs.template import TemplateError, select

Status: TypeAlias = Literal["done", "failed", "rejected", "skipped", "cancelled", "expired"]
CacheUse: TypeAlias = Literal["hit", "miss", "stale", "revalidated", "shared", "off"]

REDACTED = "***"
# Python remembers each charset it was ever asked for, and servers think of any.
LONGEST_CHARSET = 40
# Longer names of headers are not remembered either.
USUAL_LENGTH = 64
# Levels of JSON that an answer takes over. orjson reads 1024, the standard library about 1000 less its caller's.
DEEPEST = 500
_DEEPER = b"[" * (1024 - DEEPEST)
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
# Set-Cookie hands out a session; whoever may read the answer should not get the login with it.
_SECRET_RESPONSE_HEADERS = frozenset({"set-cookie", "set-cookie2"})


class Attempt(NamedTuple):
    """One try on the wire: when it began (epoch seconds), how long it took, how it ended, and the wait it led to."""

    at: float
    ms: float
    status: int | None = None
    fault: str | None = None
    message: str | None = None
    wait: float | None = None
    redirect: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give the attempt as it stands in an answer or a trace."""
        shown: dict[str, Any] = {"at": isotime(self.at), "ms": round(self.ms, 3)}
        if self.status is not None:
            shown["status"] = self.status
        if self.fault is not None:
            shown["fault"] = self.fault
            shown["message"] = self.message
        if self.wait is not None:
            shown["wait"] = round(self.wait, 3)
        if self.redirect is not None:
            shown["redirect"] = self.redirect
        return shown


class Response(NamedTuple):
    """What the server replied. The body is either `body`, in memory, or `side`, an open file of `size` bytes.

    `status` is 0 for the result of a handler, which did not come over HTTP.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    side: BinaryIO | None = None
    size: int = 0
    sha256: str | None = None

    @property
    def content_type(self) -> str:
        """The media type without parameters, lower case; empty when the server named none."""
        return self._header("content-type").partition(";")[0].strip().lower()

    @property
    def text(self) -> str | None:
        """The body as text by its charset (UTF-8 unless named); None when it is not text or not in memory."""
        if self.side is not None:
            return None
        _, _, charset = self._header("content-type").lower().partition("charset=")
        name = charset.split(";")[0].strip(" \"'") or "utf-8"
        if len(name) > LONGEST_CHARSET:
            return None
        try:
            text = self.body.decode(name)
            if charset:
                # Some codecs make halves of characters, which no JSON file can hold; this raises for them.
                text.encode()
            return text
        except (LookupError, ValueError):
            return None

    @property
    def binary(self) -> bool:
        """Tell whether the body is neither text nor empty, so that it has no place in a JSON file."""
        return bool(self.body) and self.text is None

    def json(self) -> Any:
        """Decode the body, wherever it is; raises ValueError when it is not JSON."""
        if self.side is None:
            return orjson.loads(self.body)
        self.side.seek(0)
        return orjson.loads(self.side.read())

    def _header(self, name: str) -> str:
        if isinstance(self.headers, CaseInsensitiveDict):
            found: str = self.headers.get(name, "")
            return found
        return next((value for key, value in self.headers.items() if key.lower() == name), "")

    def to_dict(self, file: str | None) -> dict[str, Any]:
        """Give the response as it stands in an answer; `file` names the side file, if the body lies in one."""
        shown: dict[str, Any] = {"status": self.status} if self.status else {}
        shown["headers"] = _redact(self.headers)
        if file is not None:
            return shown | {"file": file, "bytes": self.size, "sha256": self.sha256 or sha256(self.body).hexdigest()}
        if self.body:
            shown |= self._inline()
        return shown

    def _inline(self) -> dict[str, Any]:
        if "json" in self.content_type:
            try:
                orjson.loads(self.body)
                if self.body.count(b"[") + self.body.count(b"{") > DEEPEST:
                    orjson.loads(_DEEPER + self.body + b"]" * len(_DEEPER))
            except ValueError:
                # The label promised JSON and the body is something else, or so deep that no reader of
                # the answer could be sure to get through it. As text it is shown as it is.
                return {"text": self.text}
            # The server's own bytes keep numbers of any size and precision. In JSON a line break is only white space.
            return {"json": orjson.Fragment(self.body.translate(_ONE_LINE))}
        return {"text": self.text}


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a job did not end well: kind of fault, a sentence, whether the call may have taken effect all the same."""

    kind: str
    message: str
    uncertain: bool = False


@dataclass(slots=True)
class Answer:
    """The one answer to a job. Times are epoch seconds; `name` is the dropped file's stem (None in a library)."""

    id: str
    status: Status
    name: str | None = None
    line: int | None = None
    claim: str | None = None
    # The claim of its tree's first job, of an answer to one that follows others.
    root: str | None = None
    api: str | None = None
    request: dict[str, str] | None = None
    response: Response | None = None
    cache: CacheUse | None = None
    attempts: list[dict[str, Any]] = field(default_factory=list)
    received: float = 0.0
    finished: float = 0.0
    error: Problem | None = None
    # What `select` took out of the response, if the job asked for it.
    value: Any = None
    selected: bool = False

    def select(self, expression: str) -> None:
        """Take the value of a JMESPath expression out of the response; what is not JSON makes the answer a failed one.

        It is done before anybody else has the answer.
        """
        assert self.response is not None
        try:
            value = select(expression, self.response.json())
            # A few levels more than its own, as it will stand in an answer.
            orjson.dumps([[value]])
        except (ValueError, TypeError) as error:
            reason = (
                str(error) if isinstance(error, TemplateError) else "the response is not JSON, or nested too deeply"
            )
            self.status, self.error = "failed", Problem("bad_response", f"select: {reason}")
        else:
            self.value, self.selected = value, True

    @property
    def ok(self) -> bool:
        """True when the job is done."""
        return self.status == "done"

    def to_json(self, file: str | None = None) -> bytes:
        """Give the answer as one line of JSON; `file` names the side file of its body."""
        shown: dict[str, Any] = {"id": self.id}
        for key in ("name", "line", "claim", "root"):
            if (value := getattr(self, key)) is not None:
                shown[key] = value
        shown["status"] = self.status
        if self.api is not None:
            shown["api"] = self.api
        if self.request is not None:
            shown["request"] = self.request
        if self.response is not None:
            shown["response"] = self.response.to_dict(file)
        if self.selected:
            shown["value"] = self.value
        if self.cache is not None:
            shown["cache"] = self.cache
        shown["attempts"] = self.attempts
        shown["received"] = isotime(self.received)
        shown["finished"] = isotime(self.finished)
        if self.error is not None:
            shown["error"] = {"kind": self.error.kind, "message": self.error.message}
            if self.error.uncertain:
                shown["error"]["uncertain"] = True
        return orjson.dumps(shown)


def isotime(moment: float) -> str:
    """Give epoch seconds as ISO 8601 in UTC with milliseconds."""
    thousandths = int(moment * 1000)
    return f"{_second(thousandths // 1000)}.{thousandths % 1000:03d}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _redact(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value if (show := _way_of(name)) is None else show(value) for name, value in headers.items()}


def _way_of(name: str) -> Callable[[str], str] | None:
    """Say how the value of a header is shown; None: as it is. Servers send the same few names over and over."""
    return _known_way(name) if len(name) <= USUAL_LENGTH else _known_way.__wrapped__(name)


@lru_cache(maxsize=512)
def _known_way(name: str) -> Callable[[str], str] | None:
    lower = name.lower()
    if lower in _SECRET_RESPONSE_HEADERS or is_secret(lower):
        return lambda _: REDACTED
    return redact if lower in URL_HEADERS else None


def answer_schema() -> dict[str, Any]:
    """Give the JSON Schema of an answer file."""
    time = {"type": "string", "format": "date-time"}
    text, number, count = {"type": "string"}, {"type": "number"}, {"type": "integer"}
    fault = {"fault": text, "message": text, "wait": number, "redirect": text}
    attempt = _object({"at": time, "ms": number, "status": count, **fault}, "at", "ms")
    headers = {"type": "object", "additionalProperties": text}
    body = {"json": {}, "text": text, "file": text, "bytes": count, "sha256": text}
    fields = {
        "id": text,
        "name": text,
        "line": count,
        "claim": text,
        "root": text,
        "repeats": text,
        "status": {"enum": list(get_args(Status))},
        "api": text,
        "request": _object({"method": text, "url": text, "do": text, "queue": text, "deed": text}),
        "response": _object({"status": count, "headers": headers, **body}),
        "value": {},
        "cache": {"enum": list(get_args(CacheUse))},
        "attempts": {"type": "array", "items": attempt},
        "received": time,
        "finished": time,
        "error": _object({"kind": text, "message": text, "uncertain": {"type": "boolean"}}, "kind", "message"),
    }
    about = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "inboxd answer"}
    return about | _object(fields, "id", "status", "attempts", "received", "finished")


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    needed = {"required": list(required)} if required else {}
    return {"type": "object", **needed, "properties": properties}
