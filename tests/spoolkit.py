"""A spool without threads: a disk that crashes on cue, an outbox and a client that act when they are told."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inboxd.daemon.disk import Disk
from inboxd.daemon.names import Claim
from inboxd.daemon.outbox import Settlement, settle, stage
from inboxd.daemon.spool import Spool
from inboxd.daemon.ties import Ties
from inboxd.daemon.worker import Worker
from inboxd.jobs.api import Apis
from inboxd.jobs.clock import FakeClock
from inboxd.jobs.job import Job
from inboxd.jobs.lanes import LaneFull
from inboxd.jobs.result import Answer, Problem, Response
from inboxd.jobs.task import Errand, Postponed
from tests.crashkit import Crashing, keep


class CrashingDisk(Crashing, Disk):
    """A real disk that stops before its `fuse`th operation, and that can undo what a power cut would take.

    Content is safe once it was synced. Of the operations on names since the last sync of anything, a power cut leaves
    the first so many, as a journal does.
    """

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self._burn(f"create {path}")
        if not os.path.exists(path):
            self._undo.append(lambda: os.unlink(path))
        super().write(path, b"", mode)
        self._unsynced[path] = 0
        self._burn(f"write {path}")
        super().write(path, data, mode)

    def write_lines(self, path: str, lines: Iterable[bytes]) -> None:
        self.write(path, b"".join(lines))

    def append(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self._burn(f"append half {path}")
        before = os.path.getsize(path) if os.path.exists(path) else 0
        super().append(path, data[: len(data) // 2], mode)
        self._burn(f"append rest {path}")
        os.truncate(path, before)
        super().append(path, data, mode)
        self._unsynced.pop(path, None)
        self._undo.clear()

    def truncate(self, path: str, size: int) -> None:
        self._burn(f"truncate {path}")
        super().truncate(path, size)

    def rename(self, source: str, target: str) -> None:
        self._burn(f"rename {source} {target}")
        kept = keep(target)
        super().rename(source, target)
        self._moved(source, target, kept)

    def rename_new(self, source: str, target: str) -> None:
        self._burn(f"rename_new {source} {target}")
        super().rename_new(source, target)
        self._moved(source, target, lambda: None)

    def _moved(self, source: str, target: str, kept: Callable[[], None]) -> None:
        if source in self._unsynced:
            self._unsynced[target] = self._unsynced.pop(source)

        def undo() -> None:
            os.rename(target, source)
            kept()

        self._undo.append(undo)

    def unlink(self, path: str) -> None:
        self._burn(f"unlink {path}")
        kept = keep(path)
        super().unlink(path)
        self._unsynced.pop(path, None)
        self._undo.append(kept)

    def set_mtime(self, path: str, moment: float) -> None:
        self._burn(f"mtime {path}")
        super().set_mtime(path, moment)

    def sync(self, paths: Sequence[str], folder: str | None) -> None:
        self._burn(f"sync {len(paths)}")
        for path in paths:
            os.stat(path)
            self._unsynced.pop(path, None)
        self._undo.clear()

    def sync_folders(self, folders: Iterable[str]) -> None:
        self._burn("sync folders")
        super().sync_folders(folders)
        self._undo.clear()

    def cut_power(self, kept: int = sys.maxsize) -> None:
        """Take back all content that was never synced, and all operations on names but the first `kept`."""
        for path, size in self._unsynced.items():
            if os.path.exists(path):
                os.truncate(path, size)
        self._take_back(kept)
        self.settle_down()


class HandOutbox:
    """An outbox that commits on the caller's thread, when the caller says so."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.waiting: list[Settlement] = []

    def put(self, settlement: Settlement, answers: int = 1) -> None:
        assert answers > 0
        self.waiting.append(settlement)

    def commit(self) -> None:
        group, self.waiting = list(dict.fromkeys(self.waiting)), []
        if group:
            stage(self._spool, group)
            settle(group)
            for settlement in group:
                settlement.settled()


@dataclass
class Asked:
    """A call that somebody is to answer."""

    job: Job
    errand: Errand
    future: Future[Answer]


@dataclass
class HandClient:
    """A client that makes no call: the test looks at `asked` and answers."""

    asked: list[Asked] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    # What it raises for jobs whose URL has these words in it.
    refuse: BaseException | None = None
    refused: str = ""
    # By lane: how many more jobs it says it could hold.
    rooms: dict[str, int] = field(default_factory=dict)
    # When the last answer came (wall time): each a second after the one before, and all before now, as tokens are made.
    last: float = field(default_factory=lambda: time.time() - 3600)
    apis: Apis = field(default_factory=Apis)

    @property
    def queue(self) -> HandClient:
        return self

    def room(self, lane: str) -> int:
        return self.rooms.get(lane, 0)

    def submit(self, job: Job, errand: Errand) -> Future[Answer]:
        if self.refuse is not None and self.refused in job.url:
            raise self.refuse
        asked = Asked(job, errand, Future())
        self.asked.append(asked)
        self.calls.append(job.url)
        return asked.future

    def take(self, asked: Iterable[tuple[Job, Errand]]) -> Iterator[Answer | Future[Answer] | LaneFull]:
        for job, errand in asked:
            if job.cache is not None:
                # All that may be known is known.
                yield Answer(errand.id or "?", "done", cache="hit")
                continue
            try:
                yield self.submit(job, errand)
            except LaneFull as full:
                yield full

    def answer(
        self, asked: Asked, status: str = "done", body: bytes = b'{"n": 1}', *, attempts: int = 0, **headers: str
    ) -> None:
        self.asked.remove(asked)
        done = status == "done"
        self.last += 1
        response = Response(200 if done else 404, {"Content-Type": "application/json", **headers}, body, size=len(body))
        asked.future.set_result(
            Answer(
                asked.errand.id or "?",
                status,  # type: ignore[arg-type]  # the tests name statuses that exist
                response=response,
                attempts=[{"at": "2026-11-22T08:00:00.000Z", "ms": 1.0}] * attempts,
                received=asked.errand.received or 0.0,
                finished=self.last,
                error=None if done else Problem("client", "the server answered 404"),
            )
        )

    def postpone(
        self, asked: Asked, wait: float, *, stopped: bool = False, attempts: list[dict[str, Any]] | None = None
    ) -> None:
        self.asked.remove(asked)
        attempts = attempts if attempts is not None else [{"at": "2026-11-22T08:00:00.000Z", "ms": 1.0, "status": 503}]
        asked.future.set_exception(Postponed(wait, attempts, len(attempts), begun=bool(attempts), stopped=stopped))


@dataclass
class Bench:
    """A spool with everything around it that a Worker needs, under the test's own hands."""

    root: Path
    disk: Disk = field(default_factory=CrashingDisk)
    clock: FakeClock = field(default_factory=FakeClock)
    client: HandClient = field(default_factory=HandClient)
    noted: list[tuple[str, float]] = field(default_factory=list)
    crashes: dict[str, list[float]] = field(default_factory=dict)
    quiet: float = 0.5
    remember: float = 3600.0

    def __post_init__(self) -> None:
        self.spool = Spool(str(self.root), self.disk)
        self.spool.make()
        self.outbox = HandOutbox(self.spool)
        self.worker = Worker(
            self.spool,
            self.client,  # type: ignore[arg-type]  # stands in for the engine
            self.outbox,  # type: ignore[arg-type]  # stands in for the thread
            self.clock,
            self.crashes,
            1024 * 1024,
            self.quiet,
            note=lambda filename, due: self.noted.append((filename, due)),
            wake=lambda: None,
            ties=Ties(self.spool, self.clock, lambda filename, due: self.noted.append((filename, due)), self.remember),
        )

    def drop(self, filename: str, content: str | bytes) -> None:
        data = content.encode() if isinstance(content, str) else content
        path = Path(self.spool.inbox, filename)
        path.write_bytes(data)
        # Old enough to be believed finished.
        os.utime(path, (self.clock.wall() - 10, self.clock.wall() - 10))

    def names(self, folder: str) -> list[str]:
        return sorted(os.listdir(self.spool.folder(folder)))

    def claim(self, filename: str, content: str | bytes = "{}") -> Claim:
        """Drop a file and claim it."""
        self.drop(filename, content)
        claim = self.spool.claim(filename)
        assert claim is not None
        return claim

    def read(self, folder: str, filename: str) -> Any:
        return json.loads(Path(self.spool.folder(folder), filename).read_bytes())

    def take_all(self) -> None:
        """Claim and begin everything in the inbox that is a single job."""
        for filename in self.names("inbox"):
            claim = self.spool.claim(filename)
            assert claim is not None
            self.worker.take(claim, self.clock.wall())
