"""The parts of a daemon: built around one spool and told of one another.

The one rule: nothing moves yet. Who starts them, in which order, and how they stop, is the business of the house.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from inboxd.cache.store import Store
from inboxd.daemon.config import Config
from inboxd.daemon.crew import Crew
from inboxd.daemon.deferred import Deferred
from inboxd.daemon.inflight import Inflight
from inboxd.daemon.intake import Intake
from inboxd.daemon.names import Claim
from inboxd.daemon.notify import Notify
from inboxd.daemon.outbox import Outbox
from inboxd.daemon.rounds import Rounds
from inboxd.daemon.spool import Spool
from inboxd.daemon.ties import Ties
from inboxd.daemon.wishes import Wishes
from inboxd.daemon.worker import Worker
from inboxd.jobs.client import ApiClient
from inboxd.jobs.clock import Clock
from inboxd.jobs.files import Files
from inboxd.jobs.queues import Queues


class Parts:
    """What a daemon consists of. `back` are the claims that recovery found; the outbox gives up when it is `hopeless`.

    `mates` are the other processes that make calls, `threads` the calls at a time of each; `on_log` takes their lines.
    """

    def __init__(
        self,
        config: Config,
        spool: Spool,
        clock: Clock,
        inflight: Inflight,
        back: Iterable[Claim],
        mates: int,
        threads: int,
        *,
        notify: Notify,
        hopeless: Callable[[], bool],
        on_log: Callable[[list[str]], None],
    ) -> None:
        self._config = config
        self._spool = spool
        self._clock = clock
        self._inflight = inflight
        self._mates = mates
        self._threads = threads
        self._deferred = Deferred(spool)
        self.outbox = Outbox(spool, hopeless=hopeless)
        self.crew = self._crew(on_log, notify.watchdog)
        files = Files(fsync=config.fsync == "group")
        self.queues = Queues(spool.folder("queues"), config.queues, clock=clock, files=files)
        self.client = self._client()
        self.crew.tallies = self.client.queue.tallies
        self.ties = Ties(spool, clock, self._on_return, config.remember)
        self.worker = self._worker()
        self.intake = Intake(spool, self.worker, self._deferred, back, rescan=config.rescan, min_free=config.min_free)
        unwanted, batches = self.worker.unwanted, self.intake.batches
        self.wishes = Wishes(spool, self.client.queue, self.crew, unwanted, batches, note=self._on_return)
        self.rounds = self._rounds(notify)

    def _crew(self, on_log: Callable[[list[str]], None], watchdog: float | None) -> Crew:
        return Crew(
            self._mates,
            self._config,
            self._threads,
            self._inflight,
            self._clock,
            wake=self._on_room,
            on_log=on_log,
            on_rest=self._rest_lane,
            watchdog=watchdog,
        )

    def _client(self) -> ApiClient:
        config = self._config
        return ApiClient(
            threads=self._threads,
            window=config.window,
            cache=Store(self._spool.folder("cache"), entries=config.cache.entries, size=config.cache.size),
            handlers=config.handlers,
            stores=config.store,
            queues=self.queues,
            clock=self._clock,
            marks=self._inflight,
            on_room=self._on_room,
            on_rest=self.crew.rest,
            **config.client_settings,
        )

    def _worker(self) -> Worker:
        config = self._config
        return Worker(
            self._spool,
            self.client,
            self.outbox,
            self._clock,
            self._inflight.crashes,
            config.max_job,
            config.quiet,
            note=self._deferred.note,
            wake=self._on_room,
            crew=self.crew,
            tallies=self.client.queue.tallies,
            ties=self.ties,
            private_posts=config.gateway.private,
        )

    def _rounds(self, notify: Notify) -> Rounds:
        return Rounds(
            self._config,
            self._spool,
            self._clock,
            intake=self.intake,
            client=self.client,
            outbox=self.outbox,
            crew=self.crew,
            notify=notify,
            wishes=self.wishes,
        )

    def _on_room(self) -> None:
        self.intake.wake()

    def _on_return(self, filename: str, due: float) -> None:
        """Take note of a file in deferred/, and have the intake look at once."""
        self._deferred.note(filename, due)
        self.intake.wake()

    def _rest_lane(self, name: str, seconds: float) -> None:
        self.client.rest(name, seconds)
