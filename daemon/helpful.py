"""Whether other processes are of help to who gives them jobs: so long as they answer some, and do not only give back.

Jobs that ask for what other processes do not do go there and back for nothing.
"""

from __future__ import annotations

from math import inf

# So many more jobs given back untouched than answered, and for so many seconds no more are given.
TOLD_ENOUGH = 64
ALONE = 10.0


class Helpful:
    """The balance of one owner of jobs; `now` is monotonic."""

    def __init__(self) -> None:
        self._balance = 0
        self._alone_until = -inf

    def answered(self, count: int) -> None:
        """Note answers. Those of long ago do not weigh for ever."""
        self._balance = min(self._balance + count, TOLD_ENOUGH)

    def untouched(self, now: float) -> None:
        """Note a job that was given back as it came."""
        self._balance -= 1
        if self._balance < -TOLD_ENOUGH:
            self._balance, self._alone_until = 0, now + ALONE

    def at(self, now: float) -> bool:
        """Tell whether it is worth asking them."""
        return now >= self._alone_until
