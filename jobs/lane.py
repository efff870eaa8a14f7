"""One API's lane: its waiting tasks, its pace, its rests, and the decorated call.

`call` is the function that sends, wrapped in `ratelimit.limits` and then in `backoff.on_exception`. The rest of the
file decides from `now`, without I/O and without sleeping, when the lane may be served next.
What can go wrong: a limiter that is asked too early refuses, and the task goes back without an attempt lost.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Generator
from functools import partial
from math import inf
from typing import Any

import backoff

from inboxd.jobs.api import Api
from inboxd.jobs.clock import Clock
from inboxd.jobs.faults import Fault
from inboxd.jobs.pace import Pace, Throughput
from inboxd.jobs.patience import Again, decide
from inboxd.jobs.tally import OK, Tally
from inboxd.jobs.task import Task
from inboxd.jobs.waitingroom import WaitingRoom

# A worker sleeps out a wait itself only when handing the task back would take about as long.
PATIENCE = 0.25
# Seconds after which it is worth asking again whether a lane is still paused.
PAUSED = 60.0


class RetryLater(Exception):
    """The next attempt is `wait` seconds away, too long for a worker to sleep."""

    def __init__(self, wait: float) -> None:
        super().__init__(wait)
        self.wait = wait


class Lane:
    """One API's share of the engine. `send` makes one attempt of a task, and raises a Fault that `failed` has seen.

    `on_rest` is told the lane's name, and for how long, when it goes to rest.
    """

    def __init__(
        self,
        api: Api,
        send: Callable[[Lane, Task], Any],
        clock: Clock,
        on_rest: Callable[[str, float], None] = lambda *_: None,
    ) -> None:
        self.api = api
        self.name = api.name
        self.held = 0
        self.running = 0
        self.rest_until = 0.0
        # Temporary faults in a row; and how often in a row the breaker has tripped: more than 0 means open.
        self.faults = 0
        self.trips = 0
        # Set by the queue: when the lane is to be looked at again, and whether it stands in the rotation.
        self.wakes_at = inf
        self.in_rotation = False
        # Somebody wants no more calls to be made for now.
        self.paused = False
        # Set by the queue as well, so that what was counted outlives the lane.
        self.tally = Tally()
        self._clock = clock
        self._on_rest = on_rest
        # Workers report faults side by side; the waiting room is guarded by the queue's own lock.
        self._lock = threading.Lock()
        self.waiting = WaitingRoom()
        self._pace = Pace(api, clock)
        self._throughput = Throughput(1 / api.rate.per_second if api.rate else 0.0)
        self._send = partial(send, self)
        self.call = self._decorated(self._send)

    def _decorated(self, send: Callable[[Task], Any]) -> Callable[[Task], Any]:
        retried = backoff.on_exception(
            self._waits,
            Fault,
            # Jitter is part of the decision, which never undercuts a server's Retry-After.
            jitter=None,
            giveup=_is_over,
            on_backoff=_unless_short,
            # The library's own lines carry the call's arguments, and so its secrets.
            logger=None,
        )
        call: Callable[[Task], Any] = retried(self._in_peace(self._pace.limited(send)))
        return call

    def _in_peace(self, call: Callable[[Task], Any]) -> Callable[[Task], Any]:
        """Keep tasks from calling that are too early for a limit of their own, or when the lane has gone to rest.

        The latter may be since they were taken, as on a retry in place.
        """

        def unless_resting(task: Task) -> Any:
            """Call, or raise RetryLater."""
            if (
                self.paused
                or (self.trips and not task.probing)
                or (self.rest_until and self._clock.mono() < self.rest_until)
            ):
                raise RetryLater(0.0)
            if task.spacing is not None and (wait := task.spacing.wait(self._clock.mono())):
                raise RetryLater(wait)
            return call(task)

        return unless_resting

    @staticmethod
    def _waits() -> Generator[float, Any, None]:
        """Give the wait that was decided on, whenever backoff sends in the fault."""
        fault = yield 0.0
        while True:
            fault = yield fault.decision.wait

    # -- coming and going ---------------------------------------------------------------------------------

    def add(self, task: Task) -> None:
        """Let a task wait here until `task.due`, then by priority and age."""
        self.waiting.add(task, self._clock.mono())

    def opens_at(self, now: float) -> float:
        """Say when a task could be taken: `now`, a later moment, or inf when only something else can change it."""
        if not self.waiting or self.paused:
            return inf
        if self.trips and self.running:
            # A probe, or the last of the calls that tripped the breaker, is still on its way.
            return inf
        if self.api.concurrency is not None and self.running >= self.api.concurrency:
            return inf
        return max(self.waiting.due(now), self.rest_until, self._pace.opens_at(now), now)

    def take(self, now: float) -> Task:
        """Take the next task; the caller knows from `opens_at` that the lane is open and has one."""
        task = self.waiting.next(now)
        self.running += 1
        task.probing = bool(self.trips)
        task.begun = True
        self._pace.hand_out(task)
        self.tally.took(now - task.due)
        return task

    def take_out(self, task: Task) -> bool:
        """Take one task out of its turn, as a worker would; False when it does not wait."""
        taken = self.waiting.take_out(task)
        self.running += taken
        return taken

    def admit(self, now: float) -> None:
        """Note that the lane holds one task more."""
        if not self.held:
            self._throughput.began(now)
        self.held += 1

    def dismiss(self, now: float) -> None:
        """Note that the lane is done with one of its tasks."""
        self.held -= 1
        if self.waiting:
            self._throughput.ended(now)
        else:
            # With nobody waiting, the time to the next end tells how seldom jobs come and not how fast they go.
            self._throughput.began(now)

    def returned(self, task: Task) -> None:
        """Note that a worker is through with a task it had taken."""
        self.running -= 1
        self._pace.take_back(task)

    def change(self, api: Api, now: float) -> None:
        """Go on under another definition of the same API; what was spent of the old limit counts for the new one."""
        spent = self._pace.spent(now)
        self.api = api
        self._pace = Pace(api, self._clock)
        self._pace.restore(spent, now)
        self._throughput = Throughput(1 / api.rate.per_second if api.rate else 0.0)
        self.call = self._decorated(self._send)

    # -- rests and the breaker ----------------------------------------------------------------------------

    def succeeded(self) -> None:
        """Note that the server did its work, which closes the breaker."""
        self.tally.attempt(OK)
        self._is_well()

    def _is_well(self) -> None:
        if self.faults or self.trips:
            with self._lock:
                self.faults = 0
                self.trips = 0

    def failed(self, fault: Fault, task: Task, now: float) -> bool:
        """Note a fault, rest if need be, and put the decision for `task` into it; True when the attempt counts.

        A probe that fails costs the lane a longer rest and not the job an attempt: nothing is rejected
        because its API was down. At most a whole round of probes is free, so that every job ends.
        """
        self.tally.attempt(fault.kind)
        if fault.temporary:
            rested = self.rest_until
            with self._lock:
                self._note_temporary(fault, task, now)
            if self.rest_until > rested:
                self._on_rest(self.name, self.rest_until - now)
        elif fault.status is not None:
            # A permanent fault with a status is an answer too: the server is alive.
            self._is_well()
        counts = not (fault.temporary and task.probing and task.probes < task.limit)
        rounds, attempt = divmod(max(task.tried + counts, 1) - 1, task.limit)
        fault.decision = decide(
            fault,
            attempt + 1,
            task.limit + (not counts),
            self.api.backoff,
            random.random(),
            task.reprocess.after if rounds < task.reprocess.rounds else None,
        )
        return counts

    def rests(self, now: float) -> bool:
        """Tell whether nothing is called now because the server failed or said so."""
        return bool(self.trips) or self.rest_until > now

    def _note_temporary(self, fault: Fault, task: Task, now: float) -> None:
        self.faults += 1
        if fault.retry_after is not None:
            self.rest_until = max(self.rest_until, now + fault.retry_after)
        # Of the calls that were under way when the breaker tripped, none lengthens the rest; only a probe does.
        if task.probing or (not self.trips and self.faults >= self.api.trip):
            self.trips += 1
            self.rest_until = max(self.rest_until, now + self.api.backoff.wait(self.trips, random.random()))

    def rest(self, until: float) -> None:
        """Rest at least until then, because another process was told to."""
        with self._lock:
            self.rest_until = max(self.rest_until, until)

    # -- what the queue and the status page want to know ----------------------------------------------------

    def spread(self, now: float) -> float:
        """Say in how many seconds one more task, for which there is no room, had best come back.

        Each asker is sent one interval further than the last, so that they come back one by one as there is room.
        """
        return max(self.rest_until - now, PAUSED if self.paused else 0.0) + self._throughput.spread(now)

    def drains_in(self, now: float) -> float:
        """Say in how many seconds all that is held will be through, at the pace of late."""
        return max(self.rest_until - now, PAUSED if self.paused else 0.0) + self.held * self._throughput.interval(now)

    def state(self, now: float) -> dict[str, Any]:
        """Give the lane as `status` shows it and a restart takes it up again; times in seconds from now."""
        return {
            "waiting": self.held - self.running,
            "running": self.running,
            "rests_for": round(max(self.rest_until - now, 0.0), 3),
            "faults": self.faults,
            "trips": self.trips,
            "paused": self.paused,
            "spent": round(self._pace.spent(now), 3),
        }

    def restore(self, state: dict[str, Any], elapsed: float, now: float) -> None:
        """Take up the rest, the breaker and the used permits of a lane saved `elapsed` seconds ago."""
        self.rest_until = now + max(float(state["rests_for"]) - elapsed, 0.0)
        self.faults, self.trips = int(state["faults"]), int(state["trips"])
        self._pace.restore(float(state["spent"]) - elapsed, now)

    @property
    def idle(self) -> bool:
        """True when forgetting the lane would forget nothing but its name."""
        now = self._clock.mono()
        return not self.held and not self.trips and now >= self.rest_until and not self._pace.spent(now)

    def __repr__(self) -> str:
        return f"<Lane {self.name} held={self.held} running={self.running} trips={self.trips}>"


def _is_over(error: Exception) -> bool:
    """Tell whether the lane decided that a task's last attempt was its last."""
    return not (isinstance(error, Fault) and isinstance(error.decision, Again))


def _unless_short(details: Any) -> None:
    """Let backoff sleep only waits within PATIENCE; the task leaves the worker for any longer one."""
    if details["wait"] > PATIENCE:
        raise RetryLater(details["wait"]) from None
