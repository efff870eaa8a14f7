"""Which processor core a process runs on.

Threads of one interpreter take turns, and on two cores each turn wakes the other core: the same work takes up to twice
as much of the processor as on one. So each of several processes gets a core of its own.
"""

from __future__ import annotations

import logging
import os

log = logging.getLogger("inboxd.cores")


def count() -> int:
    """Say how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def stay_on(core: int) -> None:
    """Run on the `core`th (from 0) of the cores that this process may use; with fewer cores, they are shared."""
    cores = sorted(os.sched_getaffinity(0))
    try:
        os.sched_setaffinity(0, {cores[core % len(cores)]})
    except OSError as error:
        # A sandbox may forbid it. All works the same, only slower.
        log.warning("cannot stay on one core", extra={"fields": {"error": error.strerror}})
