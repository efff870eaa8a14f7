"""An API: a named service with its limits, headers and patience, and the finding of the API a URL belongs to.

The same `Api` is a table `[api.NAME]` of the config and an object of the library. A URL belongs to the API
whose `base_url` it starts with; any other URL to its origin, which is an API of that name with the defaults.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from inboxd.cache.urls import normal_host, normal_path
from inboxd.jobs.auth import Auth
from inboxd.jobs.definition import CALL_NAME, NamedCall
from inboxd.jobs.fields import Headers, Url
from inboxd.jobs.patience import Backoff, Reprocess
from inboxd.jobs.spacing import Spacing
from inboxd.jobs.template import SECRET
from inboxd.jobs.units import Duration, RateLimit, Statuses

# Origins come from jobs, so their number is not ours to choose; a forgotten one is simply made again.
KNOWN_ORIGINS = 10_000

# Scheme and authority, as far as the path, the query or the fragment.
_PLACE = re.compile(r"[^/?#]*//[^/?#]*")


class Policy(BaseModel):
    """How an API is called: what `[defaults]` may say, and what each `[api.NAME]` may say otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    attempts: int = Field(5, ge=1, le=1000, description="attempts of a job before it fails")
    timeout: Duration = Field(30.0, gt=0, description="the whole of one attempt: DNS, connect, TLS, headers, body")
    ok: Statuses = Field("200-299", description="statuses that count as done")
    rate: RateLimit | None = Field(None, description="calls per time, paced; none when absent")
    burst: int | None = Field(None, ge=1, description="calls that may go at once; absent: paced evenly")
    concurrency: int | None = Field(None, ge=1, description="calls at a time; absent: a fair share of the threads")
    backoff: Backoff = Field(Backoff(), description="waits between attempts")
    reprocess: Reprocess = Field(Reprocess(), description="whole new rounds when the attempts of one are used up")
    trip: int = Field(10, ge=1, description="temporary faults in a row after which the API is left in peace")
    redirects: int = Field(5, ge=0, le=20, description="redirects followed for GET and HEAD")
    verify: bool | str = Field(True, description="check TLS certificates; or the path of a CA bundle")
    cert: str | None = Field(None, description="path of a client certificate (PEM)")
    key: str | None = Field(None, description="path of the client certificate's key (PEM), if apart")
    proxy: str | None = Field(None, description="URL of a proxy; the environment's are not used")


class Api(Policy):
    """One API. `name` is what log lines, answers and status call it."""

    # Long enough for any origin: scheme, host of 253 characters, port.
    name: str = Field(pattern=r"^[^\s~]{1,270}$")
    base_url: Url
    headers: Headers = Field({}, description="sent with each call, unless the job says otherwise")
    auth: Auth | None = Field(None, description="who calls: basic, bearer, header, query, oauth2, or use a plugin")
    calls: dict[Annotated[str, Field(pattern=CALL_NAME)], NamedCall] = Field(
        {}, description='its named calls, for jobs that say "call": "API.CALL"'
    )

    @model_validator(mode="after")
    def _without_query(self) -> Self:
        if "?" in self.base_url or "#" in self.base_url:
            raise ValueError("base_url: expected no query and no fragment")
        return self

    @field_validator("headers")
    @classmethod
    def _whole_references(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if "${secret:" in SECRET.sub("", value):
                raise ValueError(f"{name}: ${{secret:…}}: expected a name of letters, digits, dots, _ and -")
        return headers

    @cached_property
    def sealed(self) -> Mapping[str, str]:
        """The headers that hold credentials by reference; they are put on a call when it is sent."""
        return {name: value for name, value in self.headers.items() if SECRET.search(value)}

    @cached_property
    def open_headers(self) -> Mapping[str, str]:
        """The other headers."""
        return {name: value for name, value in self.headers.items() if name not in self.sealed}

    @property
    def host(self) -> str:
        """The host's name, lower case."""
        return urlsplit(self.base_url).hostname or ""


class Apis:
    """All APIs by name and by URL; what is not named gets an API of its own, one for each origin."""

    def __init__(self, named: Iterable[Api] = (), defaults: Policy | None = None) -> None:
        self.named = {api.name: api for api in named}
        # The calls that have a rate of their own, as API.CALL.
        self.spacings = {
            f"{api.name}.{name}": Spacing(call.rate)
            for api in self.named.values()
            for name, call in api.calls.items()
            if call.rate is not None
        }
        self._defaults = (defaults or Policy()).model_dump(exclude_unset=True)
        # The longest prefix wins, so that an API may lie inside another one.
        prefixes = [(location(api.base_url), api) for api in self.named.values()]
        self._prefixes = sorted(prefixes, key=lambda pair: -len(pair[0]))
        self._of_origin = lru_cache(maxsize=KNOWN_ORIGINS)(self._make)

    def of(self, url: str) -> Api:
        """Give the API that `url` belongs to."""
        if self._prefixes:
            plain = location(url)
            for prefix, api in self._prefixes:
                if plain.startswith(prefix) and plain[len(prefix) : len(prefix) + 1] in {"", "/"}:
                    return api
        return self._of_origin(origin(url))

    def find(self, name: str) -> Api | None:
        """Give the API of that name, which is an origin if it is not named."""
        return self.named.get(name) or (self.of(name) if "://" in name else None)

    def _make(self, base: str) -> Api:
        return Api.model_validate({"name": base, "base_url": base, **self._defaults})


def origin(url: str) -> str:
    """Give scheme, host and port of `url` (RFC 6454 4), lower case, without a default port or user."""
    place = _PLACE.match(url)
    return _origin(place[0] if place else url)


@lru_cache(maxsize=KNOWN_ORIGINS)
def _origin(place: str) -> str:
    scheme, _, authority = place.partition("://")
    scheme = scheme.lower()
    return f"{scheme}://{normal_host(scheme, authority.rpartition('@')[2])}"


def location(url: str) -> str:
    """Give origin and path of `url` in the form in which prefixes are compared, without a slash at the end.

    Dot segments are resolved, or `/api/../admin` would pass for a part of `/api` (RFC 3986 5.2.4).
    """
    place = _PLACE.match(url)
    path = url[place.end() if place else 0 :].partition("#")[0].partition("?")[0]
    return origin(url) + normal_path(path).rstrip("/")
