"""How an API wants to know who calls: what `auth` says in the config and in a `Service`.

Exactly one way, and its values may hold `${secret:NAME}`. Anything that `requests` takes as `auth` may be named by its
import path; it is imported when the definition is read, so that a slip is told then, and made when a call is sent.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cached_property
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from inboxd.jobs.fields import Headers, Url
from inboxd.jobs.importing import imported, is_path
from inboxd.jobs.slips import nearest

_MODEL = ConfigDict(extra="forbid", strict=True, frozen=True)
WAYS = ("basic", "bearer", "header", "query", "oauth2", "webhook", "use")


class Basic(BaseModel):
    """User and password (RFC 7617)."""

    model_config = _MODEL

    user: str
    password: str


class OAuth2(BaseModel):
    """Client credentials (RFC 6749 4.4): a token is fetched, kept in memory, and fetched anew before it ends."""

    model_config = _MODEL

    token_url: Url
    client_id: str
    client_secret: str
    scope: str | None = None
    # More that the token's server wants to hear, such as `audience` or `resource`.
    params: dict[str, str] = {}
    # RFC 6749 2.3.1 wants the client's name and secret in a header; some servers only look into the body.
    in_body: bool = False


class Auth(BaseModel):
    """One way to say who calls; the keys beside `use` are the plugin's own."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    basic: Basic | None = Field(None, description="user and password")
    bearer: str | None = Field(None, description="a token for the Authorization header")
    header: Headers | None = Field(None, description="an API key in a header")
    query: dict[str, str] | None = Field(None, description="an API key in the query")
    oauth2: OAuth2 | None = Field(None, description="tokens by OAuth 2 client credentials")
    webhook: str | None = Field(None, description="a secret (whsec_…) that signs each call as a Standard Webhook")
    use: str | None = Field(None, description='a requests auth plugin, "module:Class"; other keys are its arguments')
    args: list[Any] = Field([], description="arguments of `use` that have no name")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [way for way in WAYS if getattr(self, way) is not None]
        if self.use is None:
            for name in self.model_extra or {}:
                raise ValueError(f'unknown key "{name}"{nearest(name, WAYS)}')
        if len(given) != 1:
            raise ValueError(f"expected one of {', '.join(WAYS)}; found {' and '.join(given) or 'none of them'}")
        if self.use is not None:
            _accepts(self.factory, self.args, self.options)
        elif self.args:
            raise ValueError("args: expected only beside use")
        return self

    @property
    def options(self) -> dict[str, Any]:
        """The named arguments of the plugin."""
        return dict(self.model_extra or {})

    @cached_property
    def factory(self) -> Callable[..., Any]:
        """What makes the plugin; raises ValueError when it cannot be imported."""
        use = self.use or ""
        if not is_path(use):
            raise ValueError('use: expected an import path such as "requests_aws4auth:AWS4Auth"')
        try:
            found = imported(use)
        except ImportError as error:
            raise ValueError(f"use: {error}; is its package installed?") from None
        except AttributeError as error:
            raise ValueError(f"use: {error}") from None
        if not callable(found):
            raise ValueError(f"use: {use} cannot be called; expected a class, or a function that gives an auth")
        made: Callable[..., Any] = found
        return made


def _accepts(factory: Callable[..., Any], args: list[Any], options: dict[str, Any]) -> None:
    try:
        inspect.signature(factory).bind(*args, **options)
    except TypeError as error:
        raise ValueError(f"use: {error}") from None
    except ValueError:
        # Written in C, it does not say what it takes.
        return
