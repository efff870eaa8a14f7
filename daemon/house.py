"""The house: takes the spool, starts the parts in order, and stops them in an order that loses nothing.

`turn` is the main thread's round: it writes the status, saves the lanes and looks whether everybody still moves.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import inboxd
from inboxd.daemon.config import Config, ConfigError
from inboxd.daemon.disk import Disk
from inboxd.daemon.gateway_open import open_gateway
from inboxd.daemon.inflight import Inflight
from inboxd.daemon.inside import Inside
from inboxd.daemon.log import Level
from inboxd.daemon.notify import Notify
from inboxd.daemon.owners import uids
from inboxd.daemon.parts import Parts
from inboxd.daemon.recovery import recover
from inboxd.daemon.spool import Spool, SpoolError
from inboxd.jobs.clock import Clock
from inboxd.jobs.rotation import workers_for

if TYPE_CHECKING:
    from inboxd.daemon.gateway import Gateway

log = logging.getLogger("inboxd.house")

# Seconds between two rounds of the main thread.
ROUND = 1.0
SOON = 0.05
# Asked for again and again while calls end, so that `drain` may be longer than the unit's TimeoutStopSec.
GRACE = 10.0
# What a reload changes, beside the log's level; the other keys are how the parts were built.
AT_RUN_TIME = ("defaults", "api", "allow", "private", "drain", "keep", "metrics", "threads")


class House:
    """One daemon on one spool.

    `read` reads the config anew; `on_level` is told of another log level; `on_log` takes other processes' lines of it;
    `notify` is told whether we serve and are well.
    """

    def __init__(
        self,
        config: Config,
        *,
        disk: Disk | None = None,
        clock: Clock | None = None,
        read: Callable[[], Config] | None = None,
        on_level: Callable[[Level], None] = lambda _: None,
        on_log: Callable[[list[str]], None] = lambda _: None,
        notify: Notify | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.config = config
        # With any other process that makes calls, this one makes only those that are its own to make.
        self._mates = config.mates
        self._read = read or (lambda: config)
        self._on_level = on_level
        self._on_log = on_log
        self._pause = pause
        self._notify = notify or Notify({})
        # Set by signal handlers: how often to stop was asked, and whether to reload.
        self._stops = 0
        self._reload_wanted = False
        self.clock = clock or Clock()
        self.spool = Spool(config.spool, disk or Disk(fsync=config.fsync == "group", owners=uids(config.owners)))
        # Calls that had not ended when the time to stop was up.
        self.cut = 0
        self.gateway: Gateway | None = None

    def start(self) -> None:
        """Take the spool, mend what a crash left behind, and begin to work. Raises SpoolError.

        The outbox comes first, since everything ends there; the intake last, since everything begins there.
        """
        config, spool, clock = self.config, self.spool, self.clock
        spool.make()
        spool.lock()
        self.inflight = Inflight(spool, clock.wall(), self._mates)
        back = recover(spool)
        self.inflight.keep_only(spool.tokens())
        # Before there are any threads, for it may fail.
        self.inflight.open(workers_for(self._threads_of(config)))
        self.parts = Parts(
            config,
            spool,
            clock,
            self.inflight,
            back,
            self._mates,
            self._threads_of(config),
            notify=self._notify,
            hopeless=self._hopeless,
            on_log=self._on_log,
        )
        self._tell_missing_secrets()
        self.parts.rounds.restore_lanes()
        # What is paused or taken back is not called first.
        self.parts.wishes.turn(clock.wall())
        self.parts.crew.start()
        self.parts.outbox.start()
        self.parts.intake.start()
        self._open_gateway()
        log.info("ready", extra={"fields": {"spool": spool.root, "pid": os.getpid(), "version": inboxd.__version__}})

    def _open_gateway(self) -> None:
        parts = self.parts

        def metrics() -> bytes:
            # Made when somebody asks: their library takes a while to load.
            return parts.rounds.metrics.render()

        shown = self.spool, parts.intake, parts.worker, parts.outbox, parts.queues, self.clock
        try:
            self.gateway = open_gateway(Inside(self.config, *shown, parts.rounds.status, metrics))
        except SpoolError:
            self.close()
            raise

    def _tell_missing_secrets(self) -> None:
        for sentence in self.config.missing_secrets():
            log.warning("a secret is missing", extra={"fields": {"error": sentence}})

    def _hopeless(self) -> bool:
        """Tell whether answers shall not wait for the disk: whoever stops us is in a hurry, or the spool is gone."""
        return self._in_a_hurry() or not self.spool.is_ours()

    # -- while it runs ----------------------------------------------------------------------------------------

    def run(self, *, once: bool = False) -> None:
        """Work until `stop` is called, or with `once` until nothing is left to do now; then stop in good order."""
        try:
            while not self._stops:
                self.turn(self.clock.wall())
                if once and self.idle:
                    break
                self._pause(SOON if once or not self.parts.rounds.serves else ROUND)
        finally:
            self.close()

    def stop(self) -> None:
        """Ask for the end; the second time, for a quick one. For signal handlers: takes no lock."""
        self._stops += 1

    def reload_soon(self) -> None:
        """Ask for the config to be read anew. For signal handlers: takes no lock."""
        self._reload_wanted = True

    def _in_a_hurry(self) -> bool:
        return self._stops > 1

    def _cuts_calls(self) -> bool:
        """Tell, while running calls end, whether to wait no longer; whoever stops us shall wait as long as we do."""
        self._notify.extend(GRACE)
        return self._in_a_hurry()

    def _reload(self) -> None:
        """Go on with the config as it is now, or, when that is wrong, say why and keep the old one."""
        self._notify.reloading()
        try:
            self._change(self._read())
        except ConfigError as error:
            log.error("the config is refused, the old one stays", extra={"fields": {"error": str(error)}})
        finally:
            self._notify.ready()

    def _threads_of(self, config: Config) -> int:
        """Give the part that each process has of the calls at a time."""
        return -(-config.threads // max(1, self._mates))

    def _change(self, new: Config) -> None:
        try:
            self.inflight.have_room_for(workers_for(self._threads_of(new)))
        except OSError as error:
            raise ConfigError(f"threads: no room to note what they do: {error.strerror}") from None
        changes: dict[str, Any] = {name: getattr(new, name) for name in AT_RUN_TIME}
        changes["log"] = self.config.log.model_copy(update={"level": new.log.level})
        self.config = self.config.model_copy(update=changes)
        self.parts.rounds.change(self.config)
        self.parts.crew.change(self.config, self._threads_of(self.config))
        self.parts.client.employ(self._threads_of(self.config))
        self.parts.client.change(**self.config.rules)
        self._on_level(self.config.log.level)
        self._tell_missing_secrets()
        later = [name for name in type(new).model_fields if getattr(new, name) != getattr(self.config, name)]
        log.info(
            "reloaded", extra={"fields": {"apis": len(self.config.apis), "needs_restart": ",".join(later) or None}}
        )

    @property
    def idle(self) -> bool:
        """Tell whether all that can be done now is done.

        Each sets the next to work, in a circle: intake, client, outbox, and the intake again with what follows from an
        answer. So nothing is left to do only if the intake has not even looked while the others were looked at.
        """
        intake, client, outbox = self.parts.intake, self.parts.client, self.parts.outbox
        turns = intake.turns
        nothing = intake.idle and client.queue.held == 0 and outbox.idle
        return nothing and intake.idle and intake.turns == turns

    def turn(self, now: float) -> None:
        """Make one round of the main thread at `now` (wall time)."""
        if not self.spool.is_ours():
            log.error("the spool was moved or replaced; stopping", extra={"fields": {"spool": self.spool.root}})
            self.stop()
            return
        if self._reload_wanted:
            self._reload_wanted = False
            self._reload()
        with contextlib.suppress(OSError):
            self.parts.ties.after.turn(now)
            self.parts.queues.turn(now)
        self.parts.rounds.turn(now)

    # -- the end ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop, in an order that loses nothing.

        0. the gateway, so that nothing new is accepted, and what was is in the inbox;
        1. the intake, so that nothing new is claimed;
        2. the client and the other processes: calls under way get `drain` seconds, jobs not begun go back, cut ones
           are deferred;
        3. the outbox, when nobody has an answer for it any more;
        4. the batches, whose last answers are in now;
        5. the state files, the mark that this was no crash, the lock.
        """
        parts = self.parts
        self._notify.stopping()
        log.info("stopping", extra={"fields": {"running": parts.client.queue.running}})
        if self.gateway is not None:
            self.gateway.stop()
        parts.intake.stop()
        parts.crew.stop(self.config.drain)
        until = self.clock.mono() + self.config.drain
        self.cut = parts.client.close(self.config.drain, self._cuts_calls)
        parts.crew.join(max(until - self.clock.mono(), 0.0), self._cuts_calls)
        parts.intake.give_back()
        parts.outbox.stop()
        parts.intake.batches.stop()
        parts.queues.close()
        if self.spool.is_ours():
            parts.rounds.write(self.clock.wall())
            with contextlib.suppress(OSError):
                self.inflight.close()
        self.spool.unlock()
        self._notify.close()
        log.info("stopped", extra={"fields": {"answered": parts.outbox.committed, "cut": self.cut}})
