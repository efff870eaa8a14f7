"""Which jobs were being called when the daemon died: a page of memory that outlives the process.

Each worker has a line in a small mapped file and writes there what it begins; that costs no system call. After a crash
the tokens still stand there. A power cut may take the page with it, which is right: then the power was to blame.
"""

from __future__ import annotations

import json
import mmap
import os

from inboxd.daemon.spool import Spool

# A token is a UUID of 36 characters, with a colon and a line number for the lines of a batch.
WIDTH = 64
# So often may a daemon die over the same job before the job is held to be the reason.
CRASHES = 3


class Page:
    """The mapped file of one process: each of its workers has a line there."""

    def __init__(self, path: str) -> None:
        self.path = path

    def open(self, workers: int) -> None:
        """Begin a new run: nobody does anything yet."""
        self._map = self._mapped(workers, os.O_TRUNC)

    def have_room_for(self, workers: int) -> None:
        """Go on with more workers; what those do that there are is kept."""
        if workers * WIDTH > len(self._map):
            # Another view of the same memory. Who uses the old one just now writes to the same page.
            self._map = self._mapped(workers)

    def _mapped(self, workers: int, flags: int = 0) -> mmap.mmap:
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flags, 0o600)
        try:
            # Really there, not a hole: on a full disk the first write into a hole would kill the process.
            os.posix_fallocate(fd, 0, workers * WIDTH)
            return mmap.mmap(fd, workers * WIDTH)
        finally:
            os.close(fd)

    def begin(self, worker: int, token: str) -> None:
        """Note that a worker begins a call."""
        self._map[worker * WIDTH : (worker + 1) * WIDTH] = token.encode().ljust(WIDTH)

    def clear(self, worker: int) -> None:
        """Note that a worker does nothing."""
        self._map[worker * WIDTH] = 0

    def close(self) -> None:
        """End the run in good order: nobody was interrupted."""
        self._map.close()
        os.truncate(self.path, 0)

    def left_behind(self) -> list[str]:
        """Give the tokens of what was being called when its process died, once: they are wiped out."""
        tokens = self.under_way()
        if tokens:
            # Noticed once is enough, even if this start does not get far.
            os.truncate(self.path, 0)
        return tokens

    def under_way(self) -> list[str]:
        """Give the tokens of what is being called; any process may ask."""
        try:
            with open(self.path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return []
        lines = (
            data[start : start + WIDTH].rstrip(b" \0").decode("ascii", "replace")
            for start in range(0, len(data), WIDTH)
        )
        # A worker that did nothing had the first byte of its line wiped out.
        return [token for token in lines if token and token[0] != "\0"]


class Inflight(Page):
    """The page of the house, and the crashes of earlier runs and of mates by token: when each was noticed (wall time).

    `mates` is how many further processes there may have been.
    """

    def __init__(self, spool: Spool, now: float, mates: int = 0) -> None:
        super().__init__(spool.state("inflight"))
        self._spool = spool
        self._crashes_path = spool.state("crashes.json")
        self.crashes = self._known()
        self.noted(
            [token for page in [self, *map(self.page, range(1, mates + 1))] for token in page.left_behind()], now
        )

    def page(self, mate: int) -> Page:
        """Give the page of a further process, which are counted from 1."""
        return Page(f"{self.path}.{mate}")

    def noted(self, tokens: list[str], now: float) -> None:
        """Note that a process died over these."""
        for token in tokens:
            self.crashes.setdefault(token, []).append(now)
        if tokens:
            self._save()

    def _known(self) -> dict[str, list[float]]:
        try:
            with open(self._crashes_path, "rb") as file:
                return {str(token): [float(at) for at in times] for token, times in json.load(file).items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def _save(self) -> None:
        staged = self._spool.staging("crashes", ".json.tmp")
        self._spool.disk.write(staged, json.dumps(self.crashes).encode())
        self._spool.disk.sync([staged], self._spool.staged)
        self._spool.disk.rename(staged, self._crashes_path)

    def keep_only(self, tokens: set[str]) -> None:
        """Forget the crashes of jobs that are no longer there; `tokens` are those of files in active/ and deferred/."""
        kept = {token: times for token, times in self.crashes.items() if token.partition(":")[0] in tokens}
        if kept != self.crashes:
            self.crashes = kept
            self._save()
