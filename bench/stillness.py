"""How long the machine stood still: a process only looks at the clock, and adds up for how long it was kept from that.

A guest whose host stops it for half a second loses the calls of half a second, and a limit forbids to make up for
them. A measurement of a limit means something only while the machine ran.
"""

import subprocess
import sys
from types import TracebackType
from typing import Self

# Seconds: how often it looks, and the least delay that is no matter of whose turn on a core it was.
_LOOK, _DELAY = 0.005, 0.05
_WATCH = f"""
import select, sys, time
still, last = 0.0, time.monotonic()
while not select.select([sys.stdin], [], [], {_LOOK})[0]:
    now = time.monotonic()
    still += now - last if now - last > {_DELAY} else 0.0
    last = now
print(still)
"""


class Stillness:
    """In a `with` block it watches; afterwards `seconds` says for how long the machine stood still in it."""

    seconds = 0.0

    def __enter__(self) -> Self:
        self._watch = subprocess.Popen(
            [sys.executable, "-c", _WATCH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = float(self._watch.communicate("\n")[0])
