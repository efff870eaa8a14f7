"""What follows from a failed attempt: another one after some time, or none.

The one rule: `decide` turns a fault and the number of the attempt into a value, and does nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from inboxd.jobs.faults import Fault
from inboxd.jobs.units import Duration


class Backoff(BaseModel):
    """How long to wait before the next attempt: `first`, `first * factor`, … up to `max` seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: Duration = 1.0
    factor: float = Field(2.0, ge=1, allow_inf_nan=False)
    max: Duration = 600.0

    def wait(self, attempt: int, chance: float) -> float:
        """Give the wait after attempt number `attempt` (from 1), jittered by `chance` in [0, 1) to 50-100 %."""
        try:
            full = min(self.first * self.factor ** (attempt - 1), self.max)
        except OverflowError:
            full = self.max
        return full * (0.5 + chance / 2)


class Reprocess(BaseModel):
    """Whole new rounds of attempts: `rounds` of them, each `after` the one before was used up."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: Duration = 900.0
    rounds: int = Field(0, ge=0, le=1000)


@dataclass(frozen=True, slots=True)
class Again:
    """Try once more after `wait` seconds."""

    wait: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Make no further attempt, because of `why`."""

    why: str


def decide(
    fault: Fault, attempt: int, attempts: int, backoff: Backoff, chance: float, next_round: float | None = None
) -> Again | GiveUp:
    """Say what follows attempt number `attempt` of `attempts` that ended in `fault`.

    `next_round` is how many seconds after the last of them a new round begins, if there is one. The wait is never
    shorter than the server's Retry-After; jitter only ever adds to that.
    """
    if not fault.temporary:
        return GiveUp("permanent")
    if attempt < attempts:
        wait = backoff.wait(attempt, chance)
    elif next_round is not None:
        wait = next_round
    else:
        return GiveUp("attempts used up")
    if fault.retry_after is not None:
        wait = max(wait, fault.retry_after * (1 + chance / 10))
    return Again(wait)
