"""How people write amounts: durations ("30s"), rates ("50/s"), sizes ("64 MiB"), sets of statuses ("200-299,404").

One reader for each, used by jobs and config alike, so that an amount means the same everywhere and
a wrong one is told in the same words. All raise ValueError with a sentence that says what was expected.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
BYTES = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3}
LONGEST = 10 * 365 * SECONDS["d"]
# Calls per second; no server takes more from one client, and a clock of nanoseconds could not pace them.
FASTEST = 1e6

# So many digits, that no amount is beyond what a float or an int64 holds.
_NUMBER = r"(\d{1,15}(?:\.\d{1,15})?)"
_DURATION = re.compile(rf"{_NUMBER}\s*(ms|s|m|h|d|w)", re.ASCII)
_RATE = re.compile(rf"{_NUMBER}\s*/\s*{_NUMBER}?\s*(s|m|h|d)", re.ASCII)
_SIZE = re.compile(rf"{_NUMBER}\s*([KMG]?i?B?)", re.IGNORECASE | re.ASCII)
_STATUSES = re.compile(r"([1-5]\d\d)(?:\s*-\s*([1-5]\d\d))?", re.ASCII)


def duration(value: Any) -> float:
    """Read "30s", "5m", "1.5h", "7d", or a number of seconds, as seconds (at most ten years)."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError('expected a duration such as "30s", "5m", "2h", "7d", or a number of seconds')
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if not match:
            raise ValueError(f'"{value}" is not a duration; write "30s", "5m", "2h", "7d", or a number of seconds')
        value = float(match[1]) * SECONDS[match[2]]
    if not 0 <= value <= LONGEST:
        raise ValueError("expected a duration between 0 and ten years")
    return float(value)


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit of `calls` in `period` seconds."""

    calls: float
    period: float

    @property
    def per_second(self) -> float:
        """The same limit as calls per second."""
        return self.calls / self.period


def rate(value: Any) -> Rate:
    """Read "50/s", "1000/h", "1/10s", or a number of calls per second."""
    if isinstance(value, Rate):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= FASTEST:
        return Rate(float(value), 1.0)
    match = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    found = Rate(float(match[1]), float(match[2] or 1) * SECONDS[match[3]]) if match else None
    if found is None or not found.calls or not found.period or found.per_second > FASTEST:
        raise ValueError('expected a rate such as "50/s", "1000/h" or "1/10s"')
    return found


def size(value: Any) -> int:
    """Read "64 MiB", "1GB", or a number of bytes."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    unit = match[2].upper() if match else ""
    if not match or unit not in BYTES:
        raise ValueError('expected a size such as "64 KiB", "256 MiB", "1 GB", or a number of bytes')
    return int(float(match[1]) * BYTES[unit])


@lru_cache(maxsize=256)
def statuses(value: str) -> frozenset[int]:
    """Read "200-299,404" as the set of HTTP statuses it names."""
    found: set[int] = set()
    for part in value.split(","):
        match = _STATUSES.fullmatch(part.strip())
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f'"{value}" names no set of statuses; write "200-299" or "200,201,404"')
        found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return frozenset(found)


def _ok(value: Any) -> Any:
    if isinstance(value, str):
        statuses(value)
        return value
    raise ValueError('expected a set of statuses such as "200-299,404"')


Duration = Annotated[
    float,
    BeforeValidator(duration),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ms|s|m|h|d|w)$"},
                {"type": "number", "minimum": 0},
            ],
            "description": 'a duration: "30s", "5m", "2h", "7d", or seconds',
        }
    ),
]
RateLimit = Annotated[
    Rate,
    BeforeValidator(rate),
    # In a form that is read again.
    PlainSerializer(lambda limit: None if limit is None else limit.per_second),
    WithJsonSchema({"type": ["string", "number"], "description": 'a rate: "50/s", "1000/h", "1/10s"'}),
]
Size = Annotated[
    int,
    BeforeValidator(size),
    WithJsonSchema({"type": ["string", "integer"], "description": 'a size: "64 KiB", "1 GB", or bytes'}),
]
Statuses = Annotated[
    str,
    BeforeValidator(_ok),
    WithJsonSchema({"type": "string", "description": 'a set of HTTP statuses: "200-299,404"'}),
]
