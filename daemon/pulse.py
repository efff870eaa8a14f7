"""Does everybody still move? Decides, from signs of life that are taken every second, which part has come to a stand.

The one rule: only a part that has something to do and does not get on is stuck. A disk that refuses is trouble of its
own, which a restart would not cure, so nobody is called stuck for waiting for it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inboxd.jobs.client import ApiClient

if TYPE_CHECKING:
    from inboxd.daemon.intake import Intake
    from inboxd.daemon.outbox import Outbox

# Seconds without a move after which a part is stuck, where no watchdog says otherwise.
PATIENCE = 60.0
# Of the watchdog's interval: from standing still to being killed it takes half of it at least, and less than twice.
SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Sign:
    """A part's sign of life: `moved` is another value whenever it got on; idle, it need not.

    `within` are the seconds that its present step may take by right, beyond everybody's patience.
    """

    part: str
    moved: Hashable
    idle: bool = False
    within: float = 0.0


def patience(watchdog: float | None) -> float:
    """Say how many seconds whoever has something to do may stand still."""
    return PATIENCE if watchdog is None else SHARE * watchdog


class Pulse:
    """Remembers when each part moved last. `watchdog` is in seconds, or None."""

    def __init__(self, watchdog: float | None = None) -> None:
        self._patience = patience(watchdog)
        self._last: dict[str, tuple[Hashable, float]] = {}

    def stuck(self, signs: Iterable[Sign], now: float) -> list[str]:
        """Say of each part that does not move at `now` (monotonic) since when; an empty list: everybody does."""
        last, found = {}, []
        for sign in signs:
            moved, since = self._last.get(sign.part, (None, now))
            if sign.idle or moved != sign.moved:
                since = now
            last[sign.part] = (sign.moved, since)
            if now - since > self._patience + sign.within:
                found.append(f"{sign.part} has not moved for {now - since:.0f} s")
        # Parts that gave no sign have ended, as calls do.
        self._last = last
        return found


def signs(intake: Intake, client: ApiClient, outbox: Outbox, rescan: float) -> Iterator[Sign]:
    """Take the signs of life of all parts of the house; the intake looks around every `rescan` seconds."""
    refused = outbox.trouble is not None
    yield Sign("the intake", intake.turns, within=rescan)
    yield Sign("the commit", outbox.committed, idle=outbox.idle or refused)
    yield from signs_of_calls(client, refused=refused)


def signs_of_calls(client: ApiClient, *, refused: bool = False) -> Iterator[Sign]:
    """Take the signs of life of those that make calls; with `refused`, the disk does not take their answers."""
    yield Sign("the queue", client.queue.taken, idle=not client.queue.overdue)
    for worker, task in list(client.at_work.items()):
        yield Sign(f"worker {worker} (job {task.id})", (task.seq, len(task.attempts)), refused, task.timeout)
