"""How the interpreter of a process is set: how long a thread may compute while others wait, and who looks for garbage.

The house keeps to limits, so a worker with a permit in hand must not miss its time. A mate only has to get much done.
"""

from __future__ import annotations

import gc
import sys

# Seconds after which a thread that computes hands the interpreter on, in the house. Python's own 5 ms are longer than
# the slots of an API at 1000/s. Measured: 98 % of that rate instead of 94 %, for about an eighth of the speed of a
# batch.
PUNCTUAL = 0.0005
# In a mate, where every turn is short anyway; with 5 ms those who wait look up for nothing, for 7 % of its work.
BUSY = 0.05
# New objects after which cycles are looked for. Jobs leave none behind, and to look after 700 costs 5 % of the work.
GARBAGE = 20_000


def settle(patience: float) -> None:
    """Set the interpreter for a process that has loaded what it needs; `patience` is PUNCTUAL or BUSY."""
    sys.setswitchinterval(patience)
    gc.freeze()
    gc.set_threshold(GARBAGE)
