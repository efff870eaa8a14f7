"""What has happened lately: answers a second, how long they took, and the last of them; for whoever looks on.

It listens to every answer on the outbox's thread, so taking note of one has to cost next to nothing; what it comes to
is worked out when somebody asks.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from inboxd.jobs.result import Answer, isotime

# Seconds of history, and last answers and failures, that are kept.
HISTORY = 300
LAST = 50
# Of one second, so many times are kept; more would not change what is drawn.
SAMPLES = 500
# Of the APIs that were called in a second, so many are counted by name.
APIS = 200


@dataclass(slots=True)
class Second:
    """One second: how many answers of which kind, how many by API, and how long some of them took (ms)."""

    at: int
    done: int = 0
    failed: int = 0
    by_api: Counter[str] = field(default_factory=Counter)
    took: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Item:
    """One answer as it is listed. `took` is in ms."""

    at: str
    id: str
    name: str
    api: str
    status: str
    http: int | None
    took: float
    attempts: int
    why: str


class News:
    """The last minutes. `now` gives the wall time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._seconds: deque[Second] = deque(maxlen=HISTORY)
        self._last: deque[tuple[str, int | None, Answer | bytes]] = deque(maxlen=LAST)
        self._failures: deque[tuple[str, int | None, Answer | bytes]] = deque(maxlen=LAST)

    def take(self, name: str, line: int | None, answer: Answer | bytes) -> None:
        """Take note of an answer."""
        if isinstance(answer, Answer):
            ok, api, took = answer.ok, answer.api or "", (answer.finished - answer.received) * 1000
        else:
            ok, api, took = b'"status":"done"' in answer[:400], _between(answer, b'"api":"'), 0.0
        at = int(self._now())
        with self._lock:
            if not self._seconds or self._seconds[-1].at < at:
                self._seconds.append(Second(at))
            second = self._seconds[-1]
            if ok:
                second.done += 1
            else:
                second.failed += 1
                self._failures.append((name, line, answer))
            if api in second.by_api or len(second.by_api) < APIS:
                second.by_api[api] += 1
            if len(second.took) < SAMPLES:
                second.took.append(_took(answer) if isinstance(answer, bytes) else took)
            self._last.append((name, line, answer))

    def points(self) -> dict[str, list[Any]]:
        """Give what is drawn: for each second its time, answers that are done and not, and the median and 95 % (ms)."""
        with self._lock:
            known = {second.at: (second.done, second.failed, sorted(second.took)) for second in self._seconds}
        points: defaultdict[str, list[Any]] = defaultdict(list)
        # The second under way is not whole yet.
        for at in range(int(self._now()) - HISTORY, int(self._now())):
            done, failed, took = known.get(at, (0, 0, []))
            points["at"].append(at)
            points["done"].append(done)
            points["failed"].append(failed)
            points["median"].append(round(took[len(took) // 2], 2) if took else None)
            points["p95"].append(round(took[len(took) * 95 // 100], 2) if took else None)
        return points

    def rates(self, seconds: int = 5) -> dict[str, float]:
        """Give the answers a second of each API, over the last whole seconds."""
        now, total = int(self._now()), Counter[str]()
        with self._lock:
            for second in self._seconds:
                if now - seconds <= second.at < now:
                    total.update(second.by_api)
        return {api: count / seconds for api, count in total.items()}

    def last(self) -> list[Item]:
        """Give the last answers, the newest first."""
        with self._lock:
            last = list(self._last)
        return [_item(*one) for one in reversed(last)]

    def failures(self) -> list[Item]:
        """Give the last answers that are not good ones, the newest first."""
        with self._lock:
            failures = list(self._failures)
        return [_item(*one) for one in reversed(failures)]


def _between(data: bytes, start: bytes) -> str:
    """Give the text of a field near the beginning of an answer that is bytes already."""
    at = data.find(start, 0, 800) + len(start)
    return "" if at < len(start) else data[at : data.find(b'"', at)].decode("utf-8", "replace")


def _took(data: bytes) -> float:
    """Give the milliseconds that an answer took, of which only the end is looked at: the times come behind all else."""
    times = [data[data.rfind(key) + len(key) :][:23].decode() for key in (b'"received":"', b'"finished":"')]
    try:
        received, finished = (datetime.fromisoformat(time) for time in times)
    except ValueError:
        return 0.0
    return (finished - received).total_seconds() * 1000


def _item(name: str, line: int | None, answer: Answer | bytes) -> Item:
    if isinstance(answer, bytes):
        return item_of(name, line, orjson.loads(answer))
    why = answer.error.message if answer.error else ""
    http = answer.response.status if answer.response else None
    took, attempts = (answer.finished - answer.received) * 1000, len(answer.attempts)
    shown = name if line is None else f"{name}:{line}"
    return Item(
        isotime(answer.finished),
        answer.id,
        shown,
        answer.api or "",
        answer.status,
        http,
        took,
        attempts,
        why,
    )


def item_of(name: str, line: int | None, answer: dict[str, Any]) -> Item:
    """Make an item of an answer as it stands in the outbox."""
    shown = name if line is None else f"{name}:{line}"
    http = (answer.get("response") or {}).get("status")
    why = (answer.get("error") or {}).get("message", "")
    attempts = answer.get("attempts") or []
    took = sum(attempt.get("ms", 0.0) for attempt in attempts)
    return Item(
        answer.get("finished", ""),
        answer.get("id", ""),
        shown,
        answer.get("api", ""),
        answer.get("status", ""),
        http,
        took,
        len(attempts),
        why,
    )
