"""What `cache` in a job may say: how long an answer is good for, and for which calls it is one.

A time alone (`"cache": "5m"`) is the short form of a rule. The rules of who asks and of who stored both count, so
that nobody gets an answer that its own rule would not have kept.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from inboxd.jobs.units import Duration, Statuses, statuses


class CacheRule(BaseModel):
    """Keep the answer: for how long, what tells two calls apart, when an old answer is better than none."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    ttl: Duration = Field(description="how long an answer is as good as a call")
    stale_if_error: Duration = Field(0.0, description="how much longer it is, when the call fails")
    negative: dict[Statuses, Duration] = Field(
        default_factory=dict, description='statuses of failures to keep: {"404,410": "1m"}'
    )
    vary: list[str] = Field(default_factory=list, description="request headers that make another call of it")
    key: list[str] | None = Field(None, description="the query parameters that tell two calls apart; absent: all")
    methods: list[str] = Field(default_factory=lambda: ["GET", "HEAD"], description="methods whose answers are kept")

    def lifetime(self, status: int, ok: str) -> float | None:
        """Say for how many seconds an answer with `status` is good, None for not at all; `ok` are the job's own."""
        if status in statuses(ok):
            return self.ttl
        return next((time for some, time in self.negative.items() if status in statuses(some)), None)


def _cache(value: Any) -> Any:
    return _of_time(value) if isinstance(value, str | int | float) else value


# Lines of a batch say the same over and over.
@lru_cache(maxsize=256, typed=True)
def _of_time(value: str | float) -> CacheRule | dict[str, Any]:
    """Read the short form, a time alone; a wrong one is left to be told like a long one."""
    try:
        return CacheRule.model_validate({"ttl": value})
    except ValidationError:
        return {"ttl": value}


CacheField = Annotated[CacheRule, BeforeValidator(_cache)]
