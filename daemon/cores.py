"""How many processes there are, and which processor core each runs on.

Threads of one interpreter take turns, and on two cores each turn wakes the other core: the same work takes up to twice
as much of the processor as on one. So each of several processes gets a core of its own.
"""

from __future__ import annotations

import logging
import os
from typing import Literal

log = logging.getLogger("inboxd.cores")

# Further processes that nobody has asked for: each takes some 60 MB, and with few threads it would be of no use.
MOST = 4
FEWEST_THREADS = 4


def count() -> int:
    """Say how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def mates(processes: int | Literal["auto"], threads: int, cores: int) -> int:
    """Say how many further processes make calls on a machine of so many `cores`; 0: one process is all there is."""
    wanted = min(cores, MOST, threads // FEWEST_THREADS) if processes == "auto" else processes
    return wanted if wanted > 1 else 0


def stay_on(core: int) -> None:
    """Run on the `core`th (from 0) of the cores that this process may use; with fewer cores, they are shared."""
    cores = sorted(os.sched_getaffinity(0))
    try:
        os.sched_setaffinity(0, {cores[core % len(cores)]})
    except OSError as error:
        # A sandbox may forbid it. All works the same, only slower.
        log.warning("cannot stay on one core", extra={"fields": {"error": error.strerror}})
