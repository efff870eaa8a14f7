"""What a dropped job may say, and the clear answer when it says something else.

`parse` is the one way from bytes to a `Job`; whatever is wrong comes out as one `Invalid` fault that lists
every mistake with its key path, what stood there and what was expected. A `Job` is a value: frozen, without
folders, files or sockets; whoever carries it out keeps the record of its attempts in a `Trace`.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Any, Literal, NoReturn, Self, get_args

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from inboxd.jobs.cacherule import CacheField
from inboxd.jobs.faults import Invalid
from inboxd.jobs.fields import Attachment, Base64, Headers, Id, Method, Pairs, Url
from inboxd.jobs.findings import JSON, findings
from inboxd.jobs.followers import CallbackField, Followers, Names, Tree, check_first
from inboxd.jobs.patience import Reprocess
from inboxd.jobs.queuefields import QueueFields
from inboxd.jobs.template import checked_expression, secrets
from inboxd.jobs.units import Duration, Statuses

Body = Literal["json", "form", "text", "base64", "file", "multipart"]
BODIES: tuple[Body, ...] = get_args(Body)
_BODY_FIELDS = frozenset({"json_body", *BODIES})
# What a job may ask for; each asks for one thing.
KINDS = ("url", "call", "do", "queue")
_NOT_FOR_JOBS = "${secret:…} is for the config; a job names a call, or a URL of an API, which has its credentials"
_NOTHING_ASKED = f"one of the keys {', '.join(KINDS[:-1])} and {KINDS[-1]} is missing"
HANDLER_NAME = r"^[^\s~]{1,200}$"

_MODEL = ConfigDict(extra="forbid", strict=True, frozen=True)


# A job that waits has its time as its file's mtime, and filesystems count to 2446 (ext4) or 2486 (xfs).
END_OF_TIME = 2400


def instant(value: Any) -> Any:
    """Read an ISO 8601 instant with its offset as epoch seconds."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is not None and moment.year < END_OF_TIME:
                return moment.astimezone(UTC).timestamp()
        except (ValueError, OverflowError):
            pass
    raise ValueError('expected an instant with its offset, before the year 2400, such as "2026-12-01T08:00:00Z"')


def _parts(value: Any) -> Any:
    """Bring every way to write a part, a string, an object or a list of both, to a list of objects."""
    if not isinstance(value, dict):
        raise ValueError("expected an object of field names and parts")
    lists = {name: given if isinstance(given, list) else [given] for name, given in value.items()}
    return {name: [{"text": one} if isinstance(one, str) else one for one in parts] for name, parts in lists.items()}


def _writable(value: Any) -> Any:
    """Check that a trace, which anybody may write, can stand in an answer."""
    try:
        # A few levels more than its own, as it will stand in an answer.
        orjson.dumps([[[[value]]]])
    except TypeError:
        raise ValueError("expected the attempts as an answer lists them") from None
    return value


Instant = Annotated[float, BeforeValidator(instant), WithJsonSchema({"type": "string", "format": "date-time"})]


Selection = Annotated[str, BeforeValidator(checked_expression)]


class Part(BaseModel):
    """One part of a multipart/form-data body (RFC 7578): text or an attachment, with its name and type."""

    model_config = _MODEL

    text: str | None = None
    base64: Base64 | None = None
    file: Attachment | None = None
    filename: str | None = Field(None, pattern=r'^[^"\r\n\x00]{1,200}$')
    type: str | None = Field(None, pattern=r"^[\x20-\x7e]{1,200}$")

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        if sum(content is not None for content in (self.text, self.base64, self.file)) != 1:
            raise ValueError("expected exactly one of text, base64 and file")
        return self


class Trace(BaseModel):
    """What happened to a job before now; the daemon writes it into deferred and failed files.

    `tried` counts the attempts since it was dropped, in all rounds; `attempts` lists all that were ever made.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Id
    received: Instant
    tried: int = Field(0, ge=0)
    attempts: Annotated[list[dict[str, Any]], AfterValidator(_writable)] = []


class Job(QueueFields):
    """One thing to be done: a `url` or a named `call` over HTTP, what a handler is to `do`, a deed with a `queue`."""

    model_config = ConfigDict(
        **_MODEL, title="inboxd job", json_schema_extra={"oneOf": [{"required": [kind]} for kind in KINDS]}
    )

    # What to call it: the request id in log, headers and answer; made up when absent.
    id: Id | None = None
    # What it asks for: one of KINDS. A job that names a call gets its URL from `calls.plain`.
    url: Url = ""
    call: str | None = Field(None, pattern=r"^\S{1,400}$", description="a named call of the config: API.CALL")
    do: str | None = Field(None, pattern=HANDLER_NAME, description="a handler: a Python function of the config")
    arguments: dict[str, Any] | None = Field(None, alias="with", description="the arguments of call or do")
    method: Method | None = Field(None, description="GET, or POST when there is a body")
    # A factory: pydantic would copy a default dict for each job, deeply and slowly.
    query: Pairs = Field(default_factory=dict)
    headers: Headers = Field(default_factory=dict)
    # At most one body. `json: null` is a body; an absent key is none.
    json_body: Any = Field(None, alias="json")
    form: Pairs | None = None
    text: str | None = None
    base64: Base64 | None = None
    file: Attachment | None = None
    multipart: Annotated[dict[str, list[Part]], BeforeValidator(_parts)] | None = None
    # How long and how often.
    attempts: int | None = Field(None, ge=1, le=1000)
    timeout: Duration | None = Field(None, gt=0)
    reprocess: Reprocess | None = Field(None, description="whole new rounds when the attempts of one are used up")
    not_before: Instant | None = None
    delay: Duration | None = None
    expires: Duration | None = None
    priority: int = Field(0, ge=-1000, le=1000, description="higher goes first within an API")
    # What counts as done, and whether to keep it.
    ok: Statuses | None = None
    cache: CacheField | None = None
    select: Selection | None = Field(None, description="JMESPath: what of the answer becomes its value")
    then: Followers | None = Field(None, description="jobs that run when this one is done, with ${parent.…} filled")
    otherwise: Followers | None = Field(None, description="jobs that run when this one did not end well")
    for_each: Selection | None = Field(None, description="of a follower: one job for each item of its parent's answer")
    after: Names | None = Field(None, description="names of jobs that must be done before, dropped earlier or later")
    callback: CallbackField | None = Field(None, description="a URL that is told how this job has ended")
    tree: Tree | None = Field(None, description="written by the daemon into jobs that follow others")
    trace: Trace | None = Field(None, description="written by the daemon into deferred and failed files")

    @model_validator(mode="after")
    def _one_request(self) -> Self:
        kinds = [kind for kind in KINDS if getattr(self, kind)]
        if len(kinds) != 1:
            raise ValueError(f"expected one of them, found {' and '.join(kinds)}" if kinds else _NOTHING_ASKED)
        if self.call is not None:
            self._leaves_to_the_call()
        elif self.do is not None or self.queue is not None:
            self._is_no_call()
        if self.arguments is not None and self.call is None and self.do is None:
            raise ValueError("with: expected only beside call or do, whose arguments it holds")
        self.check_queue()
        if len(bodies := self._bodies) > 1:
            raise ValueError(f"expected at most one body, found {' and '.join(bodies)}")
        if self.method is not None and self.method.upper() in {"CONNECT", "TRACE"}:
            raise ValueError(f"method {self.method} cannot be carried out for a job")
        return self

    def _leaves_to_the_call(self) -> None:
        for key in ("method", "query", "headers", *BODIES):
            if ("json_body" if key == "json" else key) in self.model_fields_set:
                raise ValueError(f'{key}: belongs to the definition of the call; its arguments stand in "with"')

    def _is_no_call(self) -> None:
        for key in ("method", "query", "headers", "ok", "cache", *BODIES):
            if (key != "file" or self.do is None) and ("json_body" if key == "json" else key) in self.model_fields_set:
                told = 'the arguments of a handler stand in "with"' if self.do is not None else "a queue has none"
                raise ValueError(f"{key}: belongs to a call over HTTP; {told}")

    @property
    def _bodies(self) -> list[Body]:
        # Not kept: up to Python 3.11 a cached_property has one lock for all jobs, and several threads read jobs.
        given = self.model_fields_set
        if given.isdisjoint(_BODY_FIELDS):
            return []
        return [
            name
            for name in BODIES
            if ("json_body" in given if name == "json" else name in given and getattr(self, name) is not None)
        ]

    @property
    def body(self) -> Body | None:
        """The key of the job's body, or None."""
        return next(iter(self._bodies), None)

    @property
    def verb(self) -> str:
        """The method in force."""
        if self.method is not None:
            return self.method.upper()
        return "GET" if self.body is None else "POST"

    @property
    def attachments(self) -> tuple[str, ...]:
        """Names of the inbox files that belong to this job."""
        if self.file is not None:
            return (self.file,)
        parts = [part for field in (self.multipart or {}).values() for part in field]
        return tuple(part.file for part in parts if part.file is not None)


def parse(data: bytes) -> Job:
    """Read a job from the bytes of a file or of a batch line; raises `Invalid`."""
    return parse_object(load(data))


def load(data: bytes) -> Any:
    """Read JSON strictly: UTF-8 (a BOM is forgiven), no doubled keys, no NaN; raises `Invalid` with line and column."""
    try:
        # "utf-8-sig" is a codec in Python, which takes longer than all the decoding.
        text = data.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
            raise Invalid("the file is UTF-16; expected UTF-8") from None
        line = data.count(b"\n", 0, error.start) + 1
        raise Invalid(f"line {line}: byte {error.start} is not UTF-8; expected JSON in UTF-8") from None
    if not text.strip():
        raise Invalid("the file is empty; expected a JSON object")
    try:
        value = _STRICT.decode(text)
        # Escaped, it would not be seen in the text. In a job that follows others it is only what a server sent.
        follows = isinstance(value, dict) and "tree" in value
        if ("${secret:" in text or "\\u" in text) and not follows and secrets(value):
            raise Invalid(_NOT_FOR_JOBS)
        return value
    except json.JSONDecodeError as error:
        raise Invalid(f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise Invalid("nested too deeply to be read") from None
    except ValueError as error:
        raise Invalid(f"not JSON as expected: {error}") from None


def parse_object(value: Any) -> Job:
    """Read a job from a decoded JSON value; raises `Invalid`."""
    if not isinstance(value, dict):
        raise Invalid(f"expected a JSON object, found {JSON.get(type(value), 'something else')}")
    try:
        job = Job.model_validate(value)
    except ValidationError as error:
        told = [str(finding) for finding in findings(error, value, Job)]
        if not any(kind in value for kind in KINDS):
            told = list(dict.fromkeys([_NOTHING_ASKED, *told]))
        raise Invalid(". ".join(told)) from None
    check_first(value, Job, job.tree)
    return job


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text[:40]} is larger than any number that could be sent")
    return number


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'the key "{double}" stands twice in one object')
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


# Made once: json.loads would build it for every job.
_STRICT = json.JSONDecoder(object_pairs_hook=_without_doubles, parse_constant=_no_constant, parse_float=_finite)
