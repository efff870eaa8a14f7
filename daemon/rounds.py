"""What the main thread does every second while the daemon serves: look whether everybody moves, and say how it goes.

It says so to systemd, in state/status.json, and in state/lanes.json for the next start. Each step is short, and none
of them may end the daemon: what the disk refuses is written a second later.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, Any

import inboxd
from inboxd.daemon.config import Config
from inboxd.daemon.crew import Crew
from inboxd.daemon.intake import Intake
from inboxd.daemon.janitor import Janitor
from inboxd.daemon.notify import Notify
from inboxd.daemon.outbox import Outbox
from inboxd.daemon.pulse import Pulse, signs
from inboxd.daemon.spool import Spool
from inboxd.daemon.wishes import Wishes
from inboxd.jobs.client import ApiClient
from inboxd.jobs.clock import Clock
from inboxd.jobs.result import isotime

if TYPE_CHECKING:
    from inboxd.daemon.metrics import Metrics

log = logging.getLogger("inboxd.rounds")

# Seconds between two files for node_exporter, which is asked about as often.
METRICS_EVERY = 15.0
# Seconds over which calls are counted to tell how many there are in one.
RATE_OVER = 5.0


class Rounds:
    """The rounds of one daemon, around its parts."""

    def __init__(
        self,
        config: Config,
        spool: Spool,
        clock: Clock,
        *,
        intake: Intake,
        client: ApiClient,
        outbox: Outbox,
        crew: Crew,
        notify: Notify,
        wishes: Wishes,
    ) -> None:
        self.config = config
        self._spool = spool
        self._clock = clock
        self._intake = intake
        self._client = client
        self._outbox = outbox
        self._crew = crew
        self._notify = notify
        self._wishes = wishes
        self._pulse = Pulse(notify.watchdog)
        self._stuck: list[str] = []
        # Whether the first turn of the intake is over; before it nothing would be found.
        self.serves = False
        self._started = clock.wall()
        self._janitor = Janitor(spool, config.keep, client.caching.sweep)
        self._metrics_at = -inf
        self._counted: tuple[float, dict[str, int]] = (clock.mono(), {})
        self._rates: dict[str, float] = {}
        self._refused: str | None = None

    def turn(self, now: float) -> None:
        """Make one round at `now` (wall time)."""
        mono = self._clock.mono()
        self._feel_pulse(mono)
        self.write(now)
        try:
            self._wishes.turn(now)
            self._janitor.turn(now)
            if self.config.metrics.textfile is not None and mono >= self._metrics_at:
                self._metrics_at = mono + METRICS_EVERY
                self.metrics.write(self.config.metrics.textfile)
        except OSError as error:
            self._say(f"{error.filename}: {error.strerror}")

    def change(self, config: Config) -> None:
        """Go on under another config."""
        self.config = config
        self._janitor.keeps = config.keep

    @cached_property
    def metrics(self) -> Metrics:
        """What is counted; made when somebody asks, since its library takes a while to load."""
        from inboxd.daemon.metrics import Metrics  # noqa: PLC0415  # see above

        return Metrics(
            self._spool,
            intake=self._intake,
            client=self._client,
            outbox=self._outbox,
            crew=self._crew,
            janitor=self._janitor,
            window=self.config.window,
        )

    def _say(self, refused: str) -> None:
        """Log what the disk refused, once."""
        if refused != self._refused:
            log.warning("housekeeping is refused", extra={"fields": {"error": refused}})
        self._refused = refused

    def write(self, now: float) -> None:
        """Write how it goes, for `status` and for the next start."""
        with contextlib.suppress(OSError):
            self._write_json("status.json", self.status(now))
            self._write_json("lanes.json", {"at": now, "lanes": self._client.queue.states()})

    def restore_lanes(self) -> None:
        """Let the lanes go on as they stood when it was last written how it goes."""
        try:
            with open(self._spool.state("lanes.json"), "rb") as file:
                saved = json.load(file)
            elapsed = max(self._clock.wall() - saved["at"], 0.0)
            for name, state in saved["lanes"].items():
                self._client.restore_lane(name, state, elapsed)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # No state, or one of another version: the lanes begin afresh.
            return

    def _feel_pulse(self, mono: float) -> None:
        """See whether everybody moves; a watchdog that hears nothing more of us starts us again."""
        self._crew.turn(mono)
        stuck = self._pulse.stuck(signs(self._intake, self._client, self._outbox, self.config.rescan), mono)
        if stuck and not self._stuck:
            log.error("standing still", extra={"fields": {"error": "; ".join(stuck)}})
        self._stuck = stuck
        if not stuck:
            self._notify.alive()
        if self._intake.turns and not self.serves:
            self.serves = True
            self._notify.ready()
        queue = self._client.queue
        work = f"{self._outbox.committed} answered, {queue.running} being called, {queue.held - queue.running} waiting"
        self._notify.status("; ".join(self._trouble) or work)

    @property
    def _trouble(self) -> list[str]:
        found = (self._intake.trouble, self._outbox.trouble, self._intake.watch.trouble)
        return [*filter(None, found), *self._stuck]

    def status(self, now: float) -> dict[str, Any]:
        """Say how it goes."""
        queue = self._client.queue
        return {
            "pid": os.getpid(),
            "version": inboxd.__version__,
            "since": isotime(self._started),
            "at": isotime(now),
            "window": {"held": queue.held, "running": queue.running, "of": self.config.window},
            "answered": self._outbox.committed,
            "trouble": self._trouble,
            "cache": self._client.caching.state(),
            "processes": self._crew.state,
            "batches": self._intake.batches.progress,
            "apis": sorted(self._client.apis.named),
            "paused": sorted(self._wishes.paused),
            "lanes": self._lanes(),
            "errors": list(queue.tallies.errors),
        }

    def _lanes(self) -> dict[str, dict[str, Any]]:
        """Give the lanes' states, each with its limit and the calls a second that it makes of late."""
        mono, tallies = self._clock.mono(), self._client.queue.tallies.all()
        made = {name: sum(dict(tally.attempts).values()) for name, tally in tallies.items()}
        if mono - self._counted[0] >= RATE_OVER:
            seconds = mono - self._counted[0]
            self._rates = {name: (count - self._counted[1].get(name, 0)) / seconds for name, count in made.items()}
            self._counted = mono, made
        limits = {name: api.rate.per_second for name, api in self._client.apis.named.items() if api.rate is not None}
        return {
            name: {**state, "per_second": round(self._rates.get(name, 0.0), 2), "limit": limits.get(name)}
            for name, state in self._client.queue.states().items()
        }

    def _write_json(self, name: str, value: Any) -> None:
        """Replace one of our own small files; torn or lost after a power cut, it is simply made again."""
        staged = self._spool.state(f".{name}")
        self._spool.disk.write(staged, json.dumps(value, indent=2).encode() + b"\n")
        self._spool.disk.rename(staged, self._spool.state(name))
