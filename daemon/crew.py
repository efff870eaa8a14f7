"""The house's mates: further processes that make calls for it, so that more than one core is at work.

They get jobs, some at a time, and only while there are many; whatever asks for more than a plain call comes back to the
house. What can go wrong: a mate dies, or is killed because it says nothing any more. Its jobs are begun again by the
house, and those that it was calling count as calls over which a process died.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future
from math import inf
from typing import Any

from inboxd.daemon.config import Config
from inboxd.daemon.inflight import Inflight
from inboxd.daemon.link import Link, Owner, started
from inboxd.daemon.pulse import patience
from inboxd.daemon.ready import Asked, Back, Done, PutDown, Ready, Recall, Rest, Stop, Work
from inboxd.jobs.clock import Clock
from inboxd.jobs.tally import Tallies

log = logging.getLogger("inboxd.crew")

# Jobs in one message: enough that the message costs nothing, few enough that several mates get some.
TOGETHER = 64
# Mates are quick while so many answers come within so many seconds.
MANY, SOON = 32, 0.1
# A mate that has died is replaced so many seconds later.
AGAIN = 10.0
# What a mate is granted to come to its end, beyond the drain.
GRACE = 2.0
# What a mate may take to say its first word, beyond the patience that there is with all its others.
STARTING = 30.0
# Whoever looks for the first time in so many seconds was held up as well: what the mates said may still be unread.
HELD_UP = 5.0


class Crew:
    """`size` mates; with none, the house makes all calls itself.

    `wake` is called when one has room again, `on_log` gets their lines of the log, `on_rest` is told which lane is to
    rest for how long. `watchdog` is how often, in seconds, somebody wants to know that all move.
    """

    def __init__(
        self,
        size: int,
        config: Config,
        threads: int,
        inflight: Inflight,
        clock: Clock,
        *,
        wake: Callable[[], None],
        on_log: Callable[[list[str]], None],
        on_rest: Callable[[str, float], None],
        watchdog: float | None = None,
    ) -> None:
        self._watchdog = watchdog
        self._looked_at = -inf
        self._size = size
        self._config = config
        self._threads = threads
        self._inflight = inflight
        self._clock = clock
        self._wake = wake
        self.on_log = on_log
        self._on_rest = on_rest
        # Whose counts are to be counted up; and whether all lines are the house's own to call for now.
        self.tallies = Tallies()
        self.idle = False
        self._mates: dict[int, Link] = {}
        self._readers: list[threading.Thread] = []
        # One lock for who has what: jobs are handed out by the intake and come back on the readers' threads.
        self._lock = threading.Lock()
        self._start_at = 0.0
        self._stopping = False
        # Answers since that was last noted, and when there had been MANY of them.
        self._answers, self._many_at = 0, -inf

    # -- handing out: on the intake's thread ------------------------------------------------------------------

    @property
    def quick(self) -> bool:
        """Tell whether the mates answer so fast that who finds no room soon will; with slow APIs that may take long."""
        return not (self._stopping or self.idle) and self._clock.mono() - self._many_at < SOON

    def room(self, owner: Owner) -> int:
        """Say how many jobs of an owner may be handed out now, at most TOGETHER; sees to it that there are mates."""
        if not self._size or self._stopping or self.idle:
            return 0
        self.start()
        return min(TOGETHER, max((mate.room(owner) for mate in self._mates.values()), default=0))

    def hand_out(self, owner: Owner, jobs: list[tuple[Any, Asked]]) -> None:
        """Give jobs, each with what it is to its owner, to the mate that has the most room."""
        with self._lock:
            mate = max(self._mates.values(), key=lambda one: one.room(owner), default=None)
            if mate is not None:
                for thing, asked in jobs:
                    mate.put(owner, thing, asked)
        if mate is None:
            self._take_back([(owner, thing, asked) for thing, asked in jobs])
        else:
            mate.tell(Work([asked for _, asked in jobs]))

    @staticmethod
    def _take_back(jobs: list[tuple[Owner, Any, Asked]], *, lost: bool = False) -> None:
        for owner, thing, asked in jobs:
            owner.came_back(thing, Back(asked.token, 0.0, asked.attempts, asked.tried, lost=lost))

    def recall(self, token: str) -> Future[bool] | None:
        """Ask a job back from the mate that has it; gives whether it came, or None when no mate has it."""
        with self._lock:
            mate = next((one for one in self._mates.values() if token in one.in_hand), None)
            if mate is None:
                return None
            coming = mate.recalled.setdefault(token, Future())
        mate.tell(Recall(token))
        return coming

    def rest(self, name: str, seconds: float) -> None:
        """Let all mates' lanes of that name rest."""
        for mate in list(self._mates.values()):
            mate.tell(Rest(name, seconds))

    def put_down(self, token: str, wait: float) -> None:
        """Have back what the mates have of a batch and do not call just now."""
        for mate in self.mates:
            if any(asked.token.startswith(token) for _, _, asked in list(mate.in_hand.values())):
                mate.tell(PutDown(token, wait))

    @property
    def mates(self) -> list[Link]:
        """The mates that there are."""
        return list(self._mates.values())

    @property
    def state(self) -> list[dict[str, int]]:
        """What there is to say about each of them."""
        return [{"number": mate.number, "pid": mate.process.pid, "jobs": len(mate.in_hand)} for mate in self.mates]

    # -- their life -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the mates that are missing, if it is time to."""
        if len(self._mates) < self._size and self._clock.mono() >= self._start_at:
            self._start_missing()

    def _start_missing(self) -> None:
        self._start_at = self._clock.mono() + AGAIN
        for number in range(1, self._size + 1):
            if number not in self._mates:
                try:
                    self._start(number)
                except OSError as error:
                    log.error("cannot start a process", extra={"fields": {"error": error.strerror}})

    def _start(self, number: int) -> None:
        mate = started(number, self._threads)
        mate.silent_since = self._clock.mono() + STARTING
        mate.connection.send((number, self._config, self._threads, self._inflight.page(number).path, self._watchdog))
        self._mates[number] = mate
        reader = threading.Thread(target=self._read, args=(mate,), name=f"mate-{number}", daemon=True)
        self._readers.append(reader)
        reader.start()

    def _read(self, mate: Link) -> None:
        """Take what one mate has to say, until it is gone."""
        try:
            while True:
                done = mate.connection.recv()
                # Taking it in may last as long as the disk is busy, which is not the mate's fault.
                mate.silent_since = inf
                self._take(mate, done)
                mate.silent_since = self._clock.mono()
        except (EOFError, OSError):
            pass
        except Exception:
            log.exception("a process speaks strangely", extra={"fields": {"mate": mate.number}})
            mate.process.kill()
        status = mate.process.wait()
        with self._lock:
            # Nobody hands out to it from here on.
            self._mates.pop(mate.number, None)
            left = list(mate.in_hand.values())
        mate.connection.close()
        if not (self._stopping or mate.leaving) or status:
            log.error("a process died", extra={"fields": {"mate": mate.number, "status": status, "jobs": len(left)}})
            self._inflight.noted(self._inflight.page(mate.number).left_behind(), self._clock.wall())
        self._take_back(left, lost=True)
        for token in list(mate.recalled):
            self._tell_recalled(mate, token, came=True)
        self._wake()

    def _take(self, mate: Link, done: Done) -> None:
        if not mate.there:
            mate.there = True
            log.info("a process helps", extra={"fields": {"mate": mate.number, "pid": mate.process.pid}})
        elif not any(done):
            # It only says that it moves.
            return
        if done.log:
            self.on_log(done.log)
        for (api, status, ends), count in done.counts.items():
            self.tallies.of(api).several(status, ends, count)
        for rest in done.rests:
            self._on_rest(rest.name, rest.seconds)
            for other in list(self._mates.values()):
                if other is not mate:
                    other.tell(rest)
        self._note_pace(len(done.ready))
        came: dict[int, tuple[Owner, list[tuple[Any, Ready]]]] = {}
        for ready in done.ready:
            with self._lock:
                owner, thing = mate.off(ready.token)
            came.setdefault(id(owner), (owner, []))[1].append((thing, ready))
            self._tell_recalled(mate, ready.token, came=False)
        for owner, answers in came.values():
            owner.came(answers)
        for back in done.back:
            with self._lock:
                owner, thing = mate.off(back.token)
            owner.came_back(thing, back)
            self._tell_recalled(mate, back.token, came=True)
        for token in done.kept:
            self._tell_recalled(mate, token, came=False)
        self._wake()

    def _tell_recalled(self, mate: Link, token: str, *, came: bool) -> None:
        with self._lock:
            asked = mate.recalled.pop(token, None)
        if asked is not None:
            asked.set_result(came)

    def _note_pace(self, answers: int) -> None:
        self._answers += answers
        if self._answers >= MANY:
            self._answers, self._many_at = 0, self._clock.mono()

    def turn(self, now: float) -> None:
        """See at `now` (monotonic) whether all mates speak, as they do while they move, and kill those that do not."""
        held_up, self._looked_at = now - self._looked_at > HELD_UP, now
        for mate in () if held_up else self.mates:
            if (silent := now - mate.silent_since) > patience(self._watchdog):
                log.error("a process stands still", extra={"fields": {"mate": mate.number, "seconds": round(silent)}})
                mate.process.kill()

    def change(self, config: Config, threads: int) -> None:
        """Go on under another config: those that know the old one come to their end, and others are started."""
        self._config = config
        self._threads = threads
        for mate in list(self._mates.values()):
            mate.leaving = True
            mate.tell(Stop(config.drain))
        self._start_at = 0.0

    # -- the end ----------------------------------------------------------------------------------------------------

    def stop(self, drain: float) -> None:
        """Let the mates begin nothing more; calls under way get `drain` seconds."""
        self._stopping = True
        for mate in list(self._mates.values()):
            mate.tell(Stop(drain))

    def join(self, seconds: float, hurry: Callable[[], bool]) -> None:
        """Wait until all mates are gone; after `seconds`, or when it is urgent, they are killed."""
        until = self._clock.mono() + seconds + GRACE
        for mate in list(self._mates.values()):
            while mate.process.poll() is None and self._clock.mono() < until and not hurry():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    mate.process.wait(0.05)
            if mate.process.poll() is None:
                mate.process.kill()
        for reader in self._readers:
            reader.join(GRACE)
