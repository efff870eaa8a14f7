"""What a mate says to the house: answers as bytes, jobs it gives back, rests of lanes, lines of the log.

One thread takes what has come up, brings answers to the bytes that are kept of them, and sends all of it as one
message. It also says every second that it is there, and looks whether all in its process move.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from typing import NamedTuple

from inboxd.daemon.log import Logs
from inboxd.daemon.logline import Format
from inboxd.daemon.names import body_of_line
from inboxd.daemon.pulse import Pulse, Sign, patience
from inboxd.daemon.ready import Asked, Back, Done, Ready, Recall, Rest
from inboxd.daemon.settlement import ANSWER, BODY, answer_fields, leaves_a_body
from inboxd.daemon.spool import Spool
from inboxd.jobs.client import DISK_FULL_WAIT
from inboxd.jobs.result import Answer
from inboxd.jobs.tally import OK

# Seconds between two words to the house, which are said even when there is nothing to say; and with a short patience,
# what part of that.
BEAT = 1.0
BEATS = 4
# Answers that go back in one message: what comes meanwhile shall not hold up the first.
TOGETHER = 64


class Ended(NamedTuple):
    """An answer that nobody has seen yet."""

    asked: Asked
    answer: Answer


# What there is to say to the house; None at the end.
_Word = Ended | Back | Rest | Recall | list[str] | None


class Reporter:
    """Says to `house` what it is told to say, on a thread of its own; the sink of its process's log as well.

    `line` brings a record to a line of the log, `signs` gives the signs of life of all others in the process, and
    `watchdog` is how often, in seconds, somebody wants to know that they move.
    """

    def __init__(
        self,
        house: Connection,
        spool: Spool,
        line: Format,
        signs: Callable[[], Iterable[Sign]],
        watchdog: float | None = None,
    ) -> None:
        self._house = house
        self._spool = spool
        self._line = line
        self._signs = signs
        self._pulse = Pulse(watchdog)
        self._beat = min(BEAT, patience(watchdog) / BEATS)
        self._felt_at = 0.0
        # In the order in which it came about.
        self._words: SimpleQueue[_Word] = SimpleQueue()
        self._thread = threading.Thread(target=self._send, name="reporter")

    def start(self) -> None:
        """Say that we are there, and begin to say what comes."""
        self._house.send(Done([], [], [], [], [], Counter()))
        self._thread.start()

    def end(self) -> None:
        """Say what there is left to say, and nothing more."""
        self._words.put(None)
        self._thread.join()

    def say(self, word: Ended | Back | Rest | Recall | list[str]) -> None:
        """Have something said; any thread may."""
        self._words.put(word)

    def write(self, lines: list[str]) -> bool:
        """Take finished lines of the log, as its sink."""
        self.say(lines)
        return True

    def close(self) -> None:
        """End being a sink."""

    def _send(self) -> None:
        going = True
        while going:
            done, going = self._gather()
            stuck = self._feel_pulse(time.monotonic())
            if stuck:
                done.log.append(self._line((time.time(), "error", "standing still", {"error": "; ".join(stuck)})))
            try:
                self._house.send(done)
            except OSError:
                os._exit(1)
            if stuck:
                # Without us, the house begins all that we had again.
                os._exit(1)

    def _feel_pulse(self, now: float) -> list[str]:
        """Say who does not move, once in a while."""
        if now < self._felt_at + self._beat:
            return []
        self._felt_at = now
        return self._pulse.stuck(self._signs(), now)

    def _gather(self) -> tuple[Done, bool]:
        """Wait a while for something to say and take all that there is; False with it at the end."""
        done = Done([], [], [], [], [], Counter())
        ended: list[Ended] = []
        going = True
        for item in self._to_say():
            match item:
                case Ended():
                    ended.append(item)
                case Back():
                    done.back.append(item)
                case Rest():
                    done.rests.append(item)
                case Recall():
                    done.kept.append(item.token)
                case list():
                    done.log.extend(item)
                case None:
                    going = False
        self._make_ready(ended, done)
        return done, going

    def _to_say(self) -> Iterator[_Word]:
        with suppress(Empty):
            yield self._words.get(timeout=self._beat)
            for _ in range(TOGETHER - 1):
                yield self._words.get_nowait()

    def _make_ready(self, ended: list[Ended], done: Done) -> None:
        """Bring answers to the bytes that are kept of them, each step for all of them."""
        kept: list[tuple[Ended, bytes, bool]] = []
        for one in ended:
            try:
                kept.append((one, *self._keep(one)))
            except OSError:
                # No room for the body, or the answer; without it there is none.
                past = one.answer.attempts, len(one.answer.attempts)
                done.back.append(Back(one.asked.token, DISK_FULL_WAIT, *past))
        logged = [self._log_line(one.answer) if data else None for one, data, _ in kept]
        for (one, data, body), line in zip(kept, logged, strict=True):
            asked, answer = one
            whole = None if data else answer
            done.ready.append(Ready(asked.token, asked.line, answer.status, data, line, body, whole))
            # An answer that goes to the house whole is counted there; its attempts were made here.
            status = answer.status if data else ""
            done.counts[answer.api or "", status, tuple(end.get("fault", OK) for end in answer.attempts)] += 1

    def _keep(self, ended: Ended) -> tuple[bytes, bool]:
        """Give an answer's line, none for one that goes to the house whole; and whether it left a body staged."""
        asked, answer = ended
        token, line, response = asked.token, asked.line, answer.response
        body = response is not None and (response.side is not None or response.binary)
        if response is not None and body:
            if response.side is None:
                self._spool.disk.write(self._spool.staging(token, BODY), response.body)
            else:
                response.side.close()
                # What is open cannot be given to another process.
                answer.response = response._replace(side=None)
        elif leaves_a_body(answer):
            self._spool.unstage(token, BODY)
        if line is None and (body or not answer.ok):
            return b"", body
        data = answer.to_json(body_of_line(asked.name, token) if body else None) + b"\n"
        if line is None:
            # By many processes side by side; the house makes it durable with others, and publishes it.
            self._spool.disk.write(self._spool.staging(token, ANSWER), data)
        return data, body

    def _log_line(self, answer: Answer) -> str | None:
        if not Logs.shows("info"):
            return None
        return self._line((answer.finished, "info", "answered", answer_fields(answer)))
