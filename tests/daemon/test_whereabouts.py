"""A job that moves while it is looked for is found all the same."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inboxd.daemon.disk import Disk
from inboxd.daemon.spool import Spool
from inboxd.daemon.whereabouts import Whereabouts
from tests.spoolkit import Bench


class Observed(Disk):
    """A disk that lets somebody look before each of its moves and removals."""

    def __init__(self) -> None:
        super().__init__(fsync=False)
        self.look: Callable[[], None] = lambda: None

    def rename(self, old: str, new: str) -> None:
        self.look()
        super().rename(old, new)

    def rename_new(self, old: str, new: str) -> None:
        self.look()
        super().rename_new(old, new)

    def unlink(self, path: str) -> None:
        self.look()
        super().unlink(path)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, Observed())


def whereabouts(bench: Bench) -> Whereabouts:
    """Look into the folders only, as whoever asks of what is no job in the window."""
    intake: Any = SimpleNamespace(batches=SimpleNamespace(posted=lambda _: None))
    worker: Any = SimpleNamespace(under_way={}, clock=bench.clock, client=bench.client, unwanted=set())
    return Whereabouts(bench.spool, intake, worker, lambda _: {"paused": [], "lanes": {}})


@pytest.mark.parametrize("status", ["done", "failed"])
def test_a_job_is_known_at_every_step_towards_its_answer(bench: Bench, status: Any) -> None:
    looker, seen = whereabouts(bench), []
    bench.drop("a.json", '{"url": "http://api.test/x"}')
    bench.take_all()
    assert isinstance(bench.spool.disk, Observed)
    bench.spool.disk.look = lambda: seen.append(looker.known(frozenset({"a"})))
    bench.client.answer(bench.client.asked[0], status, b"{}")
    bench.outbox.commit()
    assert len(seen) > 1
    assert all(known == {"a"} for known in seen)
    assert not bench.spool.leaving


def test_a_job_that_goes_back_to_wait_while_it_is_looked_for_is_known(bench: Bench) -> None:
    bench.drop("a.json", '{"url": "http://api.test/x"}')
    claim = bench.spool.claim("a.json")
    assert claim is not None
    names_in = Spool.names_in

    class Moved(Spool):
        def names_in(self, folder: str, wanted: Any) -> set[str]:
            found = names_in(self, folder, wanted)
            if folder == self.deferred and os.path.exists(self.path(claim)):
                self.park(claim, 1.0)
            return found

    bench.spool.__class__ = Moved
    assert whereabouts(bench).known(frozenset({"a"})) == {"a"}
