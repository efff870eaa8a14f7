"""A mate: another process that makes calls for the house. Lines of batches come in over a socket, answers go back.

Its one rule: it takes the plain way only. A line whose API has a limit, which is the house's to keep, or that asks for
more than a call, goes back untouched; one that has to wait goes back with its trace. So limits, waits, files and all
that must survive a crash are in one process, and a mate may die at any time: what it had is begun again by the house.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import defaultdict
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from typing import BinaryIO, NamedTuple

from inboxd.daemon.config import Config
from inboxd.daemon.cores import stay_on
from inboxd.daemon.inflight import Page
from inboxd.daemon.log import Logs
from inboxd.daemon.logline import json_line, logfmt
from inboxd.daemon.names import body_of_line
from inboxd.daemon.ready import Asked, Back, Done, Ready, Rest, Stop, Work
from inboxd.daemon.settlement import BODY, answer_fields
from inboxd.daemon.spool import Spool
from inboxd.jobs.client import DISK_FULL_WAIT, ApiClient
from inboxd.jobs.faults import Invalid
from inboxd.jobs.ids import time_of
from inboxd.jobs.job import Job, parse
from inboxd.jobs.result import Answer, Problem
from inboxd.jobs.rotation import workers_for
from inboxd.jobs.task import Errand, Postponed

# What a job may ask for besides a call; each of these is the house's to see to.
_PLAIN = frozenset(
    {"id", "method", "url", "query", "headers", "json_body", "form", "text", "base64", "attempts", "timeout", "ok"}
)


# Answers that go back in one message: what comes meanwhile shall not hold up the first.
TOGETHER = 64


class _Ended(NamedTuple):
    """An answer that nobody has seen yet."""

    work: Work
    number: int
    answer: Answer


class Mate:
    """Carries out what comes over `house` until it is told to stop, or the house is gone."""

    def __init__(self, house: Connection, config: Config, threads: int, page: Page) -> None:
        self._house = house
        self._max_job = config.max_job
        self._spool = Spool(config.spool)
        self._line = json_line if config.log.format == "json" else logfmt
        # What goes back to the house, in the order in which it came about; None at the end.
        self._out: SimpleQueue[_Ended | tuple[int, Back] | Rest | list[str] | None] = SimpleQueue()
        self._logs = Logs(self, self._line)
        self._logs.begin(config.log.level)
        self.client = ApiClient(
            config.apis,
            threads=threads,
            allow=config.allow,
            private=config.private,
            max_body=config.max_body,
            inline=config.inline,
            marks=page,
            on_rest=self._tell_rest,
            **config.defaults.model_dump(exclude_unset=True),
        )
        self._sender = threading.Thread(target=self._send, name="sender")

    def run(self) -> None:
        """Work until told to stop. When the house is gone, so is who would keep the answers: end at once."""
        self._house.send(Done({}, {}, [], []))
        self._sender.start()
        try:
            while not isinstance(message := self._house.recv(), Stop):
                if isinstance(message, Work):
                    for asked in message.lines:
                        self._begin(message, asked)
                else:
                    self.client.rest(message.name, message.seconds)
        except (EOFError, OSError):
            os._exit(1)
        cut = self.client.close(message.drain)
        self._logs.stop()
        self._out.put(None)
        self._sender.join()
        if cut:
            # Threads of calls that did not end in time would hold the process until their deadline.
            os._exit(0)

    # -- one line ---------------------------------------------------------------------------------------------

    def _begin(self, work: Work, asked: Asked) -> None:
        token, received = f"{work.token}:{asked.number}", time_of(work.token)
        try:
            job = self._parse(asked.data)
        except Invalid as error:
            why = Problem(error.kind, str(error))
            self._answer(work, asked, Answer(token, "rejected", received=received, finished=time.time(), error=why))
            return
        if not self._is_plain(job):
            self._out.put((work.batch, Back(asked.number, 0.0, asked.attempts, asked.tried, ours=True)))
            return
        errand = Errand(
            id=job.id or token,
            token=token,
            received=received,
            attempts=asked.attempts,
            tried=asked.tried,
            patience=0.0,
            spill=partial(self._spill, token),
        )
        self.client.submit(job, errand).add_done_callback(partial(self._ended, work, asked))

    def _parse(self, data: bytes) -> Job:
        if len(data) > self._max_job and not data.endswith(b"\n"):
            raise Invalid(f"the line is longer than {self._max_job} bytes")
        return parse(data)

    def _is_plain(self, job: Job) -> bool:
        if not job.model_fields_set <= _PLAIN:
            return False
        api = self.client.apis.of(job.url)
        return api.rate is None and api.concurrency is None and not self.client.rests(api)

    def _spill(self, token: str) -> BinaryIO:
        return open(self._spool.staging(token, BODY), "wb")

    def _ended(self, work: Work, asked: Asked, future: Future[Answer]) -> None:
        postponed = future.exception()
        if postponed is None:
            self._answer(work, asked, future.result())
            return
        assert isinstance(postponed, Postponed)
        self._out.put((work.batch, Back(asked.number, postponed.wait, postponed.attempts, postponed.tried, ours=True)))

    def _answer(self, work: Work, asked: Asked, answer: Answer) -> None:
        answer.name = work.name
        answer.line = asked.number
        self._out.put(_Ended(work, asked.number, answer))

    def _tell_rest(self, name: str, seconds: float) -> None:
        self._out.put(Rest(name, seconds))
        # They would wait here for a lane that the house may come to know better.
        self.client.give_back(name)

    # -- what goes back -----------------------------------------------------------------------------------------

    def write(self, lines: list[str]) -> bool:
        """Take finished lines of the log, as its sink."""
        self._out.put(lines)
        return True

    def close(self) -> None:
        """End being a sink."""

    def _send(self) -> None:
        going = True
        while going:
            done, going = self._gather()
            try:
                self._house.send(done)
            except OSError:
                os._exit(1)

    def _gather(self) -> tuple[Done, bool]:
        """Wait for something to say and take all that there is; False with it at the end."""
        ready: defaultdict[int, list[Ready]] = defaultdict(list)
        back: defaultdict[int, list[Back]] = defaultdict(list)
        done = Done(ready, back, [], [])
        item, count = self._out.get(), 0
        with suppress(Empty):
            while item is not None and count < TOGETHER:
                count += 1
                match item:
                    case _Ended():
                        self._make_ready(item, done)
                    case Rest():
                        done.rests.append(item)
                    case list():
                        done.log.extend(item)
                    case batch, one:
                        back[batch].append(one)
                if count < TOGETHER:
                    item = self._out.get_nowait()
        return done, item is not None

    def _make_ready(self, ended: _Ended, done: Done) -> None:
        work, answer = ended.work, ended.answer
        try:
            done.ready[work.batch].append(self._ready(work, ended.number, answer))
        except OSError:
            # No room for the body; without it the answer is none.
            again = Back(ended.number, DISK_FULL_WAIT, answer.attempts, len(answer.attempts), ours=True)
            done.back[work.batch].append(again)

    def _ready(self, work: Work, number: int, answer: Answer) -> Ready:
        """Bring an answer to the bytes that are kept of it; a body that has no place there is staged."""
        response, file = answer.response, None
        if response is not None and (response.side is not None or response.binary):
            file = body_of_line(work.name, work.token, number)
            if response.side is not None:
                response.side.close()
            else:
                self._spool.disk.write(self._spool.staging(f"{work.token}:{number}", BODY), response.body)
        data = answer.to_json(file) + b"\n"
        logged = None
        if self._logs.shows("info"):
            logged = self._line((answer.finished, "info", "answered", answer_fields(answer)))
        return Ready(number, answer.status, data, logged, body=file is not None)


def main(fd: int) -> None:
    """Be a mate over the socket `fd`. The first message says which and how: core, config, threads, path of the page."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A terminal or a service manager tells them to all of us; what is to be done is the house's decision.
        signal.signal(number, signal.SIG_IGN)
    house = Connection(fd)
    core, config, threads, path = house.recv()
    stay_on(core)
    page = Page(path)
    page.open(workers_for(threads))
    Mate(house, config, threads, page).run()
    page.close()
