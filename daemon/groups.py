"""Groups: all that waits for the disk at one moment is taken together, so that one sync does for all of it."""

from __future__ import annotations

import queue
from typing import TypeVar

Item = TypeVar("Item")


def take_all(waiting: queue.Queue[Item | None]) -> tuple[list[Item], bool]:
    """Wait for one item and take all others that are there; False with them when the end, a None, was among them."""
    group: list[Item] = []
    item = waiting.get()
    while item is not None:
        group.append(item)
        try:
            item = waiting.get_nowait()
        except queue.Empty:
            return group, True
    return group, False
