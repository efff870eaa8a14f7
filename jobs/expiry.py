"""What becomes of a message whose lease ran out: it is ready again, or, received too often, a dead letter.

Nobody waits for a timer: each turn begins with letting go what is overdue, so all processes agree on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import groupby

from inboxd.jobs.ledger import Place, pos_of, rank_of
from inboxd.jobs.queuesettings import QueueSettings
from inboxd.jobs.shelf import DEAD, READY
from inboxd.jobs.stock import Stock


class Expiry:
    """Lets the leases in one queue run out; within a turn."""

    def __init__(self, stock: Stock, settings: Callable[[], QueueSettings]) -> None:
        self._stock = stock
        self._settings = settings

    def __call__(self, now: float) -> None:
        """Let the messages whose leases ran out be ready again, or die."""
        stock, ledger, settings = self._stock, self._stock.ledger, self._settings()
        overdue = ledger.overdue(now)
        if not overdue:
            return
        most = settings.max_receives
        back = [place for place in overdue if place[1] < 0 or not most or ledger.held[place].receives < most]
        if settings.expired == "head":
            stock.record(*(["r", *place, pos_of(place[0]) + place[1]] for place in back))
        elif back:
            tail = stock.shelf.numbers(len(back), now)
            stock.record(*(["r", *place, tail + n] for n, place in enumerate(back)))
        dead = sorted(set(overdue).difference(back))
        for _, places in groupby(dead, lambda place: rank_of(place[0])):
            self._bury(list(places), settings, now)

    def _bury(self, places: list[Place], settings: QueueSettings, now: float) -> None:
        shelf = self._stock.shelf
        above, name = os.path.split(shelf.folder)
        why = {"at": now, "why": f"received {settings.max_receives} times and never confirmed", "queue": name}
        folder = shelf.places[DEAD] if settings.dead_to is None else os.path.join(above, settings.dead_to, READY)
        os.makedirs(folder, exist_ok=True)
        for start in range(0, len(places), settings.per_file):
            some = places[start : start + settings.per_file]
            self._stock.move(some, folder, shelf.numbers(len(some), now), why)
