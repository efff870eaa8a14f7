"""Request ids: UUIDv7 (RFC 9562 5.7), which sort by the time they were made."""

from __future__ import annotations

import os
import time
from collections import deque

# Chance for the next ids: a system call for each would have every thread wait for the interpreter once more.
_AT_ONCE = 256
_chance: deque[bytes] = deque()
os.register_at_fork(after_in_child=_chance.clear)


def uuid7(at: float | None = None, chance: bytes | None = None) -> str:
    """Make an id of 36 characters: 48 bits of milliseconds, then 74 random bits.

    `at` (epoch seconds) stands for now, and ten bytes of `chance` for chance, where the same id must be made again.
    """
    millis = time.time_ns() // 1_000_000 if at is None else round(at * 1000)
    rand = int.from_bytes(_random() if chance is None else chance[:10], "big")
    value = (millis & (1 << 48) - 1) << 80 | 0x7 << 76 | (rand >> 68) << 64 | 0b10 << 62 | rand & (1 << 62) - 1
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _random() -> bytes:
    try:
        return _chance.popleft()
    except IndexError:
        data = os.urandom(10 * _AT_ONCE)
        _chance.extend(data[start : start + 10] for start in range(10, len(data), 10))
        return data[:10]


def time_of(identifier: str) -> float:
    """Give the time a UUIDv7 was made at, in seconds since the epoch."""
    return int(identifier[:8] + identifier[9:13], 16) / 1000
