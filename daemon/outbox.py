"""The outbox: answers become durable and visible, many for one fsync, and a lone one need not wait for company.

One thread takes all that has come up, stages it, syncs once, and then settles each: the job leaves active/, the answer
appears. If the disk refuses, the group is kept and tried again; nothing is lost, and the workers wait meanwhile.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from inboxd.daemon.groups import take_all
from inboxd.daemon.spool import Spool
from inboxd.jobs.tally import Histogram

log = logging.getLogger("inboxd.outbox")

# Answers that are made but not yet staged. A crash makes their calls once more, so there should be few; but workers
# wait when it is reached, and a disk that takes a tenth of a second for one sync must not slow an API at 1000/s.
WAITING = 128
# Seconds between attempts while the disk refuses.
PATIENCE = 1.0
# Steps, in seconds, in which it is counted how long groups took.
STEPS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Settlement(Protocol):
    """The last step of a job: what it leaves behind, in two halves with a sync between them.

    Both halves may be repeated: after an error the outbox tries again, after a crash recovery does.
    """

    def stage(self) -> list[str]:
        """Write everything that is to appear; gives the paths to be synced."""

    def settle(self) -> None:
        """Let the job leave and what is staged appear."""

    def settled(self) -> None:
        """Take note that all of it is durable and visible."""


# Settlements that were put together, and how many answers they bring.
_Put = tuple[Sequence[Settlement], int]


class Waiting(queue.Queue[_Put | None]):
    """What waits for the disk. There may be so many answers, and as many more as came together with the last one."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._answers = 0

    def _qsize(self) -> int:
        return self._answers

    def _put(self, item: _Put | None) -> None:
        super()._put(item)
        self._answers += _answers_of(item)

    def _get(self) -> _Put | None:
        item: _Put | None = super()._get()
        self._answers -= _answers_of(item)
        return item


def _answers_of(item: _Put | None) -> int:
    # The word that it is the end has to be seen as well.
    return 1 if item is None else item[1]


class Outbox:
    """The thread that commits. `put` blocks while WAITING answers are waiting already.

    While the disk refuses it tries again, unless that is `hopeless`: then the next start makes good for it.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        hopeless: Callable[[], bool] = lambda: False,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._spool = spool
        self._hopeless = hopeless
        self._pause = pause
        self._waiting = Waiting(WAITING)
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self.trouble: str | None = None
        self.committed = 0
        self.took = Histogram(STEPS)

    @property
    def idle(self) -> bool:
        """Tell whether everything that was put is settled."""
        return not self._waiting.unfinished_tasks

    @property
    def alive(self) -> bool:
        """Tell whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to commit."""
        self._thread.start()

    def put(self, settlement: Settlement, answers: int = 1) -> None:
        """Hand over a settlement with so many new answers."""
        self._waiting.put(((settlement,), answers))

    def put_all(self, settlements: Sequence[Settlement]) -> None:
        """Hand over settlements of an answer each, in one word: each would have two threads take turns."""
        self._waiting.put((settlements, len(settlements)))

    def stop(self) -> None:
        """Commit what was put, and end."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            group, more = take_all(self._waiting)
            if group:
                began = time.monotonic()
                # A batch is put for each of its answers, and committed once.
                self._insist(list(dict.fromkeys(one for settlements, _ in group for one in settlements)))
                self.took.observe(time.monotonic() - began)
                self._take_off(group)
            if not more:
                self._waiting.task_done()
                return

    def _insist(self, group: list[Settlement], *, staged: bool = False) -> None:
        """Commit a group, however often it takes. What is staged is not staged again: some of it may be out already."""
        while True:
            try:
                if not staged:
                    stage(self._spool, group)
                    staged = True
                settle(group)
            except OSError as error:
                self._say(error, len(group))
                if self._hopeless():
                    return
                self._pause(PATIENCE)
            except Exception:
                if len(group) > 1:
                    self._isolate(group, staged=staged)
                else:
                    log.exception("internal error: a job stays in active/ until the next start")
                return
            else:
                break
        if self.trouble is not None:
            log.info("the disk takes answers again", extra={"fields": {"answers": len(group)}})
            self.trouble = None
        for settlement in group:
            try:
                settlement.settled()
            except Exception:  # it is settled all the same, and the thread must live
                log.exception("internal error in telling of an answer")

    def _say(self, error: OSError, answers: int) -> None:
        trouble = f"{error.filename or self._spool.root}: {error.strerror}"
        if trouble != self.trouble:
            log.error("answers wait for the disk", extra={"fields": {"error": trouble, "answers": answers}})
        self.trouble = trouble

    def _isolate(self, group: list[Settlement], *, staged: bool) -> None:
        """After a mistake of our own: commit the others, and leave the one it was about to the next start."""
        for settlement in group:
            self._insist([settlement], staged=staged)

    def _take_off(self, group: list[_Put]) -> None:
        for _, answers in group:
            self.committed += answers
            self._waiting.task_done()


def stage(spool: Spool, group: list[Settlement]) -> None:
    """Make all that a group leaves behind complete and durable, out of sight."""
    paths = [path for settlement in group for path in settlement.stage()]
    spool.disk.sync(paths, spool.staged)


def settle(group: list[Settlement]) -> None:
    """Let the jobs of a staged group leave and their answers appear.

    That needs no sync of its own. A power cut may undo the last of these moves; then the staged answers are there
    again and recovery makes the same moves once more.
    """
    for settlement in group:
        settlement.settle()
