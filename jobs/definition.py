"""A named call: what `[api.NAME.calls.CALL]` and `ApiCall` say, and the request it becomes with its arguments.

The one rule: everything that can be wrong with a definition is told when it is read, and everything that can be wrong
with arguments before the job is accepted. Arguments are data: where they may stand was decided by the definition.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from inboxd.jobs.cacherule import CacheField
from inboxd.jobs.fields import Headers, Method, Pairs
from inboxd.jobs.job import BODIES, Selection
from inboxd.jobs.slips import nearest
from inboxd.jobs.template import TemplateError, fill, names, secrets
from inboxd.jobs.units import Duration, RateLimit, Statuses
from inboxd.jobs.urltemplate import expand, variables

CALL_NAME = r"^[A-Za-z0-9_-]{1,100}$"
# What a definition says in the words of a job, to be filled.
_FILLED = ("query", "headers", *BODIES)
# What a job may say otherwise.
POLICY = ("attempts", "timeout", "ok", "cache", "select")


def _path(text: str) -> str:
    variables(text)
    # Behind a base_url without a slash, anything else would go on with the host's name.
    if text and not text.startswith(("/", "{/", "{?")):
        raise ValueError('expected a path that begins with "/", such as "/orders/{id}"')
    return text


class NamedCall(BaseModel):
    """One call of an API: a URI template, and templates of query, headers and body."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    method: Method | None = Field(None, description="GET, or POST when there is a body")
    path: Annotated[str, AfterValidator(_path)] = Field(
        "", description="URI template behind base_url: {id} must be given, {?page} may be"
    )
    query: Pairs = Field({}, description="more of the query, ${argument} filled")
    headers: Headers = Field({}, description="more headers, ${argument} filled")
    json_body: Any = Field(None, alias="json", description="the body as JSON, ${argument} filled and its type kept")
    form: Pairs | None = Field(None, description="or as a form")
    text: str | None = Field(None, description="or as text")
    base64: str | None = Field(None, description="or as bytes in base64")
    file: str | None = Field(None, description="or an attachment's name")
    multipart: dict[str, Any] | None = Field(None, description="or several parts")
    defaults: dict[str, Any] = Field({}, description="arguments that need not be given, and their values")
    attempts: int | None = Field(None, ge=1, le=1000, description="instead of the API's own")
    timeout: Duration | None = Field(None, gt=0, description="instead of the API's own")
    ok: Statuses | None = Field(None, description="instead of the API's own")
    rate: RateLimit | None = Field(None, description="calls per time, within the API's own rate")
    cache: CacheField | None = Field(None, description="how long an answer is kept")
    select: Selection | None = Field(None, description="JMESPath: what of the answer becomes its value")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        arguments = self.arguments
        bodies = [name for name in BODIES if name in self._templates]
        if len(bodies) > 1:
            raise ValueError(f"expected at most one body, found {' and '.join(bodies)}")
        if (self.method or "").upper() in {"CONNECT", "TRACE"}:
            raise ValueError(f"method {self.method} cannot be called")
        for key, template in self._templates.items():
            if key != "headers" and secrets(template):
                raise ValueError(f"{key}: ${{secret:…}} stands in headers and in auth, nowhere else")
        for name, value in self.headers.items():
            if secrets(value) and names(value):
                raise ValueError(f"headers.{name}: expected either arguments or ${{secret:…}}, not both in one text")
        for name in self.defaults:
            if name not in arguments:
                raise ValueError(f'defaults: no argument is called "{name}"{nearest(name, arguments)}')
        return self

    @cached_property
    def _templates(self) -> dict[str, Any]:
        """What is filled, under the keys that a job has for it."""
        given = self.model_fields_set
        return {
            key: getattr(self, "json_body" if key == "json" else key)
            for key in _FILLED
            if ("json_body" if key == "json" else key) in given
        }

    @cached_property
    def arguments(self) -> Mapping[str, bool]:
        """All arguments by name, and whether each must be given."""
        needed = variables(self.path) | dict.fromkeys(sorted(names(self._templates)), True)
        return {name: need and name not in self.defaults for name, need in needed.items()}

    @cached_property
    def policy(self) -> Mapping[str, Any]:
        """What it says that a job may say otherwise."""
        return {key: value for key in POLICY if (value := getattr(self, key)) is not None}

    @cached_property
    def sealed(self) -> Mapping[str, str]:
        """The headers that hold credentials, which no job ever carries."""
        return {name: value for name, value in self.headers.items() if secrets(value)}

    @cached_property
    def _open(self) -> dict[str, Any]:
        """What is filled into the job."""
        headers = {name: value for name, value in self.headers.items() if name not in self.sealed}
        return self._templates | ({"headers": headers} if self.headers else {})

    def check(self, given: Collection[str]) -> None:
        """Raise `TemplateError` when an argument is missing or unknown; only names are looked at."""
        for name in given:
            if name not in self.arguments:
                known = nearest(name, self.arguments) or "; this call has none"
                raise TemplateError(f"unknown argument{known}", (name,))
        for name, needed in self.arguments.items():
            if needed and name not in given:
                raise TemplateError("this argument is missing", (name,))

    def request(self, base_url: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Give the keys of a job that makes this call with these arguments; raises `TemplateError`."""
        scope = {**dict.fromkeys(self.arguments), **self.defaults, **given}
        try:
            self.check(given)
            job: dict[str, Any] = {"url": base_url.rstrip("/") + expand(self.path, scope)}
        except TemplateError as error:
            raise error.under("with") from None
        if self.method is not None:
            job["method"] = self.method
        for key, template in self._open.items():
            try:
                job[key] = fill(template, scope)
            except TemplateError as error:
                raise error.under(key) from None
        return job
