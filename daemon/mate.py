"""A mate: another process that makes calls for the house. Jobs come in over a socket, answers go back.

Its one rule: it takes the plain way only. A job whose API has a limit, which is the house's to keep, or that asks for
more than a call, goes back untouched; one that has to wait goes back with its trace. So limits, waits, files and all
that must survive a crash are in one process, and a mate may die at any time: what it had is begun again by the house.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from functools import partial
from multiprocessing.connection import Connection
from typing import BinaryIO

from inboxd.daemon import interpreter
from inboxd.daemon.config import Config
from inboxd.daemon.cores import stay_on
from inboxd.daemon.disk import Disk
from inboxd.daemon.inflight import Page
from inboxd.daemon.log import Logs, line_of
from inboxd.daemon.names import Claim, is_posted
from inboxd.daemon.owners import uids
from inboxd.daemon.pulse import Sign, signs_of_calls
from inboxd.daemon.ready import LONGEST, Asked, Back, PutDown, Recall, Rest, Stop, Work
from inboxd.daemon.reporter import Ended, Reporter
from inboxd.daemon.settlement import BODY
from inboxd.daemon.spool import Spool, Unfit
from inboxd.jobs.calls import placed, plain
from inboxd.jobs.client import ApiClient
from inboxd.jobs.faults import Invalid
from inboxd.jobs.ids import time_of
from inboxd.jobs.job import Job, parse
from inboxd.jobs.result import Answer, Problem
from inboxd.jobs.rotation import workers_for
from inboxd.jobs.task import Errand, Postponed

# What a job may ask for besides a call; each of these is the house's to see to.
_PLAIN = frozenset(
    {
        *(
            "id",
            "method",
            "url",
            "query",
            "headers",
            "json_body",
            "form",
            "text",
            "base64",
            "attempts",
            "timeout",
            "ok",
        ),
        *("call", "arguments", "select"),
    }
)


class Mate:
    """Carries out what comes over `house` until it is told to stop, or the house is gone.

    `watchdog` is how often, in seconds, somebody wants to know that all move.
    """

    def __init__(
        self, house: Connection, config: Config, threads: int, page: Page, watchdog: float | None = None
    ) -> None:
        self._house = house
        # How many jobs were begun, and whether one is being begun now.
        self._begun = 0
        self._begins = False
        self._max_job = config.max_job
        self._remembers = config.remember > 0
        self._private_posts = config.gateway.private
        self._spool = Spool(config.spool, Disk(owners=uids(config.owners)))
        line = line_of(config.log.format, config.log.file)
        self._reporter = Reporter(house, self._spool, line, self._signs, watchdog)
        # What was begun, by token, so that it can be given back.
        self._futures: dict[str, Future[Answer]] = {}
        self._logs = Logs(self._reporter, line)
        self._logs.begin(config.log.level)
        self.client = ApiClient(threads=threads, marks=page, on_rest=self._tell_rest, **config.client_settings)

    def run(self) -> None:
        """Work until told to stop. Raises EOFError or OSError when the house is gone."""
        self._reporter.start()
        while not isinstance(message := self._house.recv(), Stop):
            if isinstance(message, Work):
                self._begins = True
                self._begin(message.jobs)
                self._begins = False
            elif isinstance(message, PutDown):
                self.client.queue.put_down(message.token, message.wait)
            elif isinstance(message, Recall):
                self._recall(message)
            else:
                self.client.rest(message.name, message.seconds)
        self.client.close(message.drain)
        self._logs.stop()
        self._reporter.end()

    def _signs(self) -> Iterator[Sign]:
        yield Sign("the taking in", self._begun, idle=not self._begins)
        yield from signs_of_calls(self.client)

    # -- jobs in ----------------------------------------------------------------------------------------------

    def _begin(self, jobs: list[Asked]) -> None:
        """Set jobs to work, each step for all of them, for the reason that `ApiClient.take` gives."""
        read = [(asked, self._read(asked)) for asked in jobs]
        ours = [(asked, job, self._errand(asked, job)) for asked, job in read if job is not None]
        outcomes = self.client.take((job, errand) for _, job, errand in ours)
        for (asked, _, errand), outcome in zip(ours, outcomes, strict=True):
            if isinstance(outcome, Answer):
                self._answer(asked, outcome)
                continue
            # A window without bounds is never full.
            assert isinstance(outcome, Future)
            self._futures[asked.token] = outcome
            outcome.add_done_callback(partial(self._ended, asked, errand.id or asked.token))

    def _read(self, asked: Asked) -> Job | None:
        """Read a job that we may carry out; one that we may not is answered or given back."""
        self._begun += 1
        data = asked.data if asked.line is not None else self._file(asked)
        if data is None:
            self._reporter.say(_untouched(asked))
            return None
        try:
            job = self._parse(data)
        except Invalid as error:
            if asked.line is None:
                # It may still be being written, or be an array.
                self._reporter.say(_untouched(asked))
                return None
            received, why = time_of(asked.token), Problem(error.kind, str(error))
            self._answer(asked, Answer(asked.token, "rejected", received=received, finished=time.time(), error=why))
            return None
        # The house knows which ids it has had, those of single jobs.
        if not self._is_plain(job) or (self._remembers and asked.line is None and job.id is not None):
            self._reporter.say(_untouched(asked))
            return None
        return job

    def _errand(self, asked: Asked, job: Job) -> Errand:
        return Errand(
            id=job.id or asked.token,
            token=asked.token,
            received=time_of(asked.token),
            attempts=asked.attempts,
            tried=asked.tried,
            patience=0.0,
            spill=partial(self._spill, asked.token),
            public=is_posted(asked.name) and not self._private_posts,
        )

    def _file(self, asked: Asked) -> bytes | None:
        """Read the file of a single job; None for one that the house has to look at."""
        try:
            _, data = self._spool.read(Claim(asked.name, asked.token, ".json"), LONGEST + 1)
        except (OSError, Unfit):
            return None
        return data if len(data) <= LONGEST else None

    def _recall(self, recall: Recall) -> None:
        """Give a job back that is not being called; of one that has ended, the house will hear, or has."""
        future = self._futures.get(recall.token)
        if future is not None and not future.cancel():
            self._reporter.say(recall)

    def _parse(self, data: bytes) -> Job:
        if len(data) > self._max_job and not data.endswith(b"\n"):
            raise Invalid(f"the job is longer than {self._max_job} bytes")
        return plain(parse(data), self.client.apis)

    def _is_plain(self, job: Job) -> bool:
        if not job.model_fields_set <= _PLAIN:
            return False
        if job.call in self.client.apis.spacings:
            return False
        api = placed(job, self.client.apis)[1]
        if api.auth is not None and api.auth.oauth2 is not None:
            # Some servers take only the newest token, and two processes would fetch theirs in turns.
            return False
        return api.rate is None and api.concurrency is None and not self.client.rests(api)

    def _spill(self, token: str) -> BinaryIO:
        # A job with `select`, or one whose server echoes credentials, reads it again.
        return open(self._spool.staging(token, BODY), "w+b")

    def _ended(self, asked: Asked, request_id: str, future: Future[Answer]) -> None:
        del self._futures[asked.token]
        try:
            postponed = future.exception()
        except CancelledError:
            self._reporter.say(_untouched(asked))
            return
        if postponed is None:
            self._answer(asked, future.result())
            return
        assert isinstance(postponed, Postponed)
        past = postponed.attempts, postponed.tried
        self._reporter.say(Back(asked.token, postponed.wait, *past, stopped=postponed.stopped, id=request_id))

    def _answer(self, asked: Asked, answer: Answer) -> None:
        answer.name = asked.name
        answer.line = asked.line
        answer.claim = asked.token if asked.line is None else None
        self._reporter.say(Ended(asked, answer))

    def _tell_rest(self, name: str, seconds: float) -> None:
        self._reporter.say(Rest(name, seconds))
        # They would wait here for a lane that the house may come to know better.
        self.client.give_back(name)


def _untouched(asked: Asked) -> Back:
    return Back(asked.token, 0.0, asked.attempts, asked.tried)


def main(fd: int) -> None:
    """Be a mate over the socket `fd`.

    The first message says which and how: core, config, threads, path of the page, the watchdog's interval.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A terminal or a service manager tells them to all of us; what is to be done is the house's decision.
        signal.signal(number, signal.SIG_IGN)
    status = 1
    try:
        house = Connection(fd)
        core, config, threads, path, watchdog = house.recv()
        stay_on(core)
        interpreter.settle(interpreter.BUSY)
        page = Page(path)
        page.open(workers_for(threads))
        Mate(house, config, threads, page, watchdog).run()
        page.close()
        status = 0
    except (EOFError, OSError):
        # The house is gone, and with it who would keep the answers.
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        # Not by the usual way: threads of calls that go on would hold the process until their deadline.
        os._exit(status)
