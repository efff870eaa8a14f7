"""How fast one lane goes: the permits that its limiter has left, and the speed it really reaches.

`Pace` owns the lane's `ratelimit.limits` decorator and drives it by a clock that counts slots instead of seconds: slot
n opens n / rate seconds after the beginning, and each call takes one. So a worker that wakes late makes the next
call no later, and the calls of any T seconds are at most rate * T and the few that may be caught up at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import floor
from typing import TYPE_CHECKING, Any

from ratelimit import limits

if TYPE_CHECKING:
    from inboxd.jobs.api import Api
    from inboxd.jobs.clock import Clock
    from inboxd.jobs.task import Task

# A worker that wakes late makes up for the calls it missed, up to a bound: a sliding second may be over its limit by
# 2 % and one call. Some calls of that are left to the wire, where calls that were permitted evenly bunch up.
OVER = 0.02
LEFT_TO_THE_WIRE = 3.0
# Where that leaves nothing, a part of the one call; at low rates less of it, so that no two calls follow at once.
OF_THE_ONE_CALL = 0.9
HALF_A_CALL = 0.5
SOON, LATEST = 0.009, 0.05
# By this part of a slot one may be early, or rounding would keep it shut at the very moment it opens.
ROUNDING = 1e-4
# How far ahead a task for which there is no room may be sent: once an hour it may ask again.
FARTHEST = 3600.0
# Weight of the newest interval in the running mean of the intervals between ended tasks.
NEWEST = 0.05


def catch_up(rate: float) -> float:
    """Say for how many seconds slots that nobody took are kept, at `rate` calls a second."""
    calls = max(OVER * rate - LEFT_TO_THE_WIRE, min(OF_THE_ONE_CALL, SOON * rate), min(HALF_A_CALL, LATEST * rate))
    return calls / rate


class Pace:
    """The permits of one API: `rate` a second, of which up to `depth` may be left over for later."""

    def __init__(self, api: Api, clock: Clock) -> None:
        self._clock = clock
        self.limited_at_all = api.rate is not None
        self._rate = api.rate.per_second if api.rate else 1.0
        self._depth = float(api.burst or 1 + self._rate * catch_up(self._rate))
        # Its stubs leave out the plain attributes that hold its window: `last_reset` is the last slot taken.
        limiter: Any = limits(calls=1 if api.rate else sys.maxsize, period=1, clock=lambda: 0)
        if api.rate is not None:
            limiter.clock = self._newest_slot
            # The slot that it begins in is not ours to call in.
            limiter.num_calls = 1
        self._limiter = limiter
        # When slot 0 opened.
        self._begin = clock.mono() - self._depth / self._rate
        # Tasks that a worker has taken and that have not asked the limiter yet. A set, because adding and
        # discarding are atomic, and the two happen on different threads.
        self._handed_out: set[Task] = set()

    def limited(self, send: Callable[[Task], Any]) -> Callable[[Task], Any]:
        """Wrap `send` in the limiter; a call beyond the limit raises RateLimitException."""
        permitted: Callable[[Task], Any] = self._limiter(send)
        if not self.limited_at_all:
            return permitted

        def asking(task: Task) -> Any:
            """Ask for a permit; the task is none of those handed out ahead any more."""
            # Before it asks: to hand out one task too many costs a refusal, one too few a slot.
            self._handed_out.discard(task)
            return permitted(task)

        return asking

    def _newest_slot(self) -> int:
        """Say for the limiter, under its lock, which slot a call may take: the one after the last taken, once open."""
        now = self._clock.mono()
        self._begin = self._begin_at(now)
        return min(self._open(self._begin, now), self._taken + 1)

    def _begin_at(self, now: float) -> float:
        """Say when slot 0 opened, seen from `now`: slots that nobody took are lost, or a rest would end in a flood."""
        return max(self._begin, self._begin_with(self._depth, now))

    def _begin_with(self, permits: float, now: float) -> float:
        return now - (self._taken + permits) / self._rate

    def _open(self, begin: float, now: float) -> int:
        return floor((now - begin) * self._rate + ROUNDING)

    @property
    def _taken(self) -> int:
        return int(self._limiter.last_reset)

    def hand_out(self, task: Task) -> None:
        """Note that `task` is on its way to ask for a permit."""
        if self.limited_at_all:
            self._handed_out.add(task)

    def take_back(self, task: Task) -> None:
        """Note that `task` will not ask after all."""
        self._handed_out.discard(task)

    def opens_at(self, now: float) -> float:
        """Say from when on a permit is left."""
        if not self.limited_at_all:
            return now
        begin, wanted = self._begin_at(now), self._taken + len(self._handed_out) + 1
        return now if self._open(begin, now) >= wanted else begin + wanted / self._rate

    def spent(self, now: float) -> float:
        """Say in how many seconds all permits that may be kept will be there again; for `restore` after a restart."""
        if not self.limited_at_all:
            return 0.0
        return max(self._begin - self._begin_with(self._depth, now), 0.0)

    def restore(self, spent: float, now: float) -> None:
        """Take up a pace that had `spent` seconds to go."""
        self._begin = self._begin_with(self._depth, now) + min(max(spent, 0.0), self._depth / self._rate)


class Throughput:
    """The mean interval between two ended tasks, and from it when there will be room for one more."""

    def __init__(self, at_least: float) -> None:
        self._at_least = at_least
        self._mean = 0.0
        self._samples = 0
        self._last: float | None = None
        self._sent_until = 0.0

    def began(self, now: float) -> None:
        """Note that an idle lane has got something to do: the time before that says nothing about its speed."""
        self._last = now

    def ended(self, now: float) -> None:
        """Note that a task ended."""
        if self._last is not None:
            self._samples += 1
            # A plain mean at first, or the slow first call of each connection would be remembered for long.
            self._mean += (now - self._last - self._mean) * max(NEWEST, 1 / self._samples)
        self._last = now

    def interval(self, now: float) -> float:
        """Give the seconds that one task takes its lane; a task that does not end counts as slow meanwhile."""
        waited = now - self._last if self._last is not None else 0.0
        return max(self._at_least, self._mean, waited if waited > 10 * self._mean else 0.0)

    def spread(self, now: float) -> float:
        """Send the asker one interval further than the last one; in seconds from now."""
        self._sent_until = max(self._sent_until, now) + self.interval(now)
        if self._sent_until - now > FARTHEST:
            self._sent_until = now + FARTHEST / 2
        return self._sent_until - now
