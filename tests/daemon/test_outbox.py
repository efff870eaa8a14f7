import errno
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from inboxd.daemon.disk import Disk
from inboxd.daemon.outbox import WAITING, Outbox
from inboxd.daemon.settlement import Answered
from inboxd.daemon.spool import Spool
from inboxd.jobs.result import Answer
from tests.jobskit import eventually


class BadDisk(Disk):
    """A disk that refuses, or stumbles over, what the test says; it counts its syncs."""

    def __init__(self) -> None:
        super().__init__(fsync=False)
        self.refuse: Callable[[str], BaseException | None] = lambda _: None
        self.syncs: list[int] = []

    def _ask(self, operation: str) -> None:
        error = self.refuse(operation)
        if error is not None:
            raise error

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self._ask(f"write {path}")
        super().write(path, data, mode)

    def rename_new(self, source: str, target: str) -> None:
        self._ask(f"publish {target}")
        super().rename_new(source, target)

    def sync(self, paths: Sequence[str], folder: str) -> None:
        self.syncs.append(len(paths))
        super().sync(paths, folder)


class Office:
    """An outbox on a bad disk; each second of waiting for the disk lasts until the test says so."""

    def __init__(self, root: Path) -> None:
        self.disk = BadDisk()
        self.spool = Spool(str(root), self.disk)
        self.spool.make()
        self.paused = threading.Event()
        self.go_on = threading.Event()
        self.outbox = Outbox(self.spool, pause=self._pause)

    def _pause(self, _: float) -> None:
        self.paused.set()
        assert self.go_on.wait(20)

    def job(self, name: str) -> Answered:
        Path(self.spool.inbox, f"{name}.json").write_text("{}")
        claim = self.spool.claim(f"{name}.json")
        assert claim is not None
        return Answered(self.spool, claim, Answer("id", "done", name=name, claim=claim.token))

    def files(self, folder: str) -> list[str]:
        return sorted(path.name for path in Path(self.spool.folder(folder)).iterdir())


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path / "spool")
    yield office
    office.go_on.set()
    if office.outbox.alive:
        office.outbox.stop()


def test_many_answers_share_one_sync(office: Office) -> None:
    for number in range(20):
        office.outbox.put(office.job(f"a{number}"))
    assert not office.outbox.idle
    office.outbox.start()
    office.outbox.stop()
    assert office.disk.syncs == [20]
    assert office.outbox.committed == 20
    assert office.outbox.idle
    assert len(office.files("outbox")) == 20
    assert office.files("active") == office.files("state/staged") == []


def test_a_lone_answer_need_not_wait(office: Office) -> None:
    office.outbox.start()
    office.outbox.put(office.job("a"))
    assert eventually(lambda: office.files("outbox") == ["a.json"])


@pytest.mark.parametrize("operation", ["write", "publish"])
def test_a_full_disk_only_delays(office: Office, operation: str) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/spool/x")
    office.disk.refuse = lambda what: full if what.startswith(operation) and "b" in what[-7:] else None
    if operation == "write":
        office.disk.refuse = lambda what: full if what.startswith("write") else None
    for name in "abc":
        office.outbox.put(office.job(name))
    office.outbox.start()
    assert office.paused.wait(20)
    assert office.outbox.trouble == "/spool/x: No space left on device"
    assert not office.outbox.idle
    office.disk.refuse = lambda _: None
    office.go_on.set()
    assert eventually(lambda: office.outbox.idle)
    assert office.files("outbox") == ["a.json", "b.json", "c.json"]
    assert office.outbox.trouble is None
    assert office.files("active") == office.files("state/staged") == []


@pytest.mark.parametrize("when", ["write", "publish"])
def test_a_mistake_of_ours_harms_one_job_only(office: Office, when: str) -> None:
    jobs = [office.job(name) for name in "abc"]
    token = jobs[1].claim.token
    marks = {"write": token, "publish": "/b.json"}
    office.disk.refuse = lambda what: (
        RuntimeError("a mistake") if what.startswith(when) and marks[when] in what else None
    )
    for job in jobs:
        office.outbox.put(job)
    office.outbox.start()
    assert eventually(lambda: office.outbox.idle)
    # None twice, not even those that were out already when it happened.
    assert office.files("outbox") == ["a.json", "c.json"]
    office.outbox.put(office.job("d"))
    assert eventually(lambda: "d.json" in office.files("outbox"))


def test_a_mistake_in_telling_does_not_end_the_thread(office: Office) -> None:
    class Mute:
        def stage(self) -> list[str]:
            return []

        def settle(self) -> None:
            pass

        def settled(self) -> None:
            raise ValueError("a mistake")

    office.outbox.start()
    office.outbox.put(Mute())
    office.outbox.put(office.job("b"))
    assert eventually(lambda: office.files("outbox") == ["b.json"])


def test_who_hands_over_too_much_waits(office: Office) -> None:
    jobs = [office.job(f"a{number}") for number in range(WAITING + 1)]

    def hand_over() -> None:
        for job in jobs:
            office.outbox.put(job)

    blocked = threading.Thread(target=hand_over)
    blocked.start()
    assert eventually(office.outbox._waiting.full)
    assert blocked.is_alive()
    office.outbox.start()
    blocked.join(20)
    assert not blocked.is_alive()
    assert eventually(lambda: len(office.files("outbox")) == WAITING + 1)


def test_who_brings_many_answers_at_once_fills_the_room_with_each_of_them(office: Office) -> None:
    office.outbox.put(office.job("a"), answers=WAITING - 1)
    assert not office.outbox._waiting.full()
    office.outbox.put(office.job("b"))
    assert office.outbox._waiting.full()
    office.outbox.start()
    office.outbox.stop()
    assert office.outbox.committed == WAITING
    assert office.outbox.idle
    assert office.files("outbox") == ["a.json", "b.json"]


def test_a_batch_put_many_times_is_committed_once_in_a_group(office: Office) -> None:
    job = office.job("a")
    for _ in range(5):
        office.outbox.put(job)
    office.outbox.start()
    office.outbox.stop()
    assert office.outbox.idle
    assert office.files("outbox") == ["a.json"]
    assert office.disk.syncs == [1]
