"""The inbox watcher against the real kernel: what wakes, what must not, and how it comes back from trouble."""

import contextlib
import ctypes
import errno
import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, EventEmitter
from watchdog.observers.inotify_c import InotifyEvent, InotifyFD, WatchDescriptor, inotify_rm_watch
from watchdog.observers.polling import PollingObserver

from inboxd.daemon.watch import Watch, _Emitter, platform_observer

PATIENCE = 20.0
NOBODY = 65534

MakeObserver = Callable[[Callable[[], None]], BaseObserver]


class Bell:
    """A `wake` that counts, and raises the first `faults` times."""

    def __init__(self, faults: int = 0) -> None:
        self.rung = 0
        self._faults = faults
        self._changed = threading.Condition()

    def __call__(self) -> None:
        with self._changed:
            self.rung += 1
            self._changed.notify_all()
            if self.rung <= self._faults:
                raise ValueError("this intake is broken")

    def rings_beyond(self, count: int) -> bool:
        """Wait until it was rung more than `count` times; False when nobody wakes the intake."""
        with self._changed:
            return self._changed.wait_for(lambda: self.rung > count, PATIENCE)


class SilentEmitter(EventEmitter):
    """What a network file system looks like: a watch without error and without events."""

    def queue_events(self, timeout: float) -> None:
        self.stopped_event.wait(timeout)


class HeldEmitter(_Emitter):
    """Does not read before `gate` is opened, so that the kernel's queue fills."""

    gate: ClassVar[threading.Event]

    def queue_events(self, timeout: float) -> None:
        assert self.gate.wait(PATIENCE)
        super().queue_events(timeout)


class NotingEmitter(_Emitter):
    """Notes the name in every event that it was told."""

    names: ClassVar[list[bytes]]

    def on_event(self, event: InotifyEvent) -> None:
        self.names.append(event.name)
        super().on_event(event)


class RefusedObserver(BaseObserver):
    """Starts its emitter and then no more, for a reason that this machine will not give us at will."""

    fault: Exception

    def on_thread_start(self) -> None:
        super().on_thread_start()
        raise self.fault


@contextlib.contextmanager
def watching(folder: Path, wake: Callable[[], None], observer: MakeObserver = platform_observer) -> Iterator[Watch]:
    watch = Watch(str(folder), wake, observer=observer)
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        pause.wait(0.005)


def drop(folder: Path, name: str = "job.json") -> None:
    beside = folder.parent / f"{name}.being-written"
    beside.write_text("{}")
    beside.rename(folder / name)


def hints_come(folder: Path, bell: Bell) -> None:
    rung = bell.rung
    drop(folder)
    assert bell.rings_beyond(rung)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Touch files as an unprivileged user, on this thread only; root may read everything."""
    libc = ctypes.CDLL(None)
    before = libc.setfsuid(NOBODY) if os.geteuid() == 0 else None
    try:
        yield
    finally:
        if before is not None:
            libc.setfsuid(before)


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def the_emitter(watch: Watch) -> _Emitter:
    assert watch._observer is not None
    (emitter,) = watch._observer.emitters
    assert isinstance(emitter, _Emitter)
    return emitter


def the_descriptor(watch: Watch) -> InotifyFD:
    descriptor = the_emitter(watch)._descriptor
    assert descriptor is not None
    return descriptor


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def unreadable() -> Iterator[Path]:
    """An inbox whose parents may be passed by everyone, and which nobody but its owner's chmod makes readable."""
    with tempfile.TemporaryDirectory(dir="/tmp") as parent:
        folder = Path(parent, "inbox")
        folder.mkdir()
        os.chmod(parent, 0o711)
        os.chmod(folder, 0o311)
        yield folder
        os.chmod(folder, 0o700)


def test_a_file_renamed_in_wakes(inbox: Path) -> None:
    bell = Bell()
    with watching(inbox, bell):
        drop(inbox)
        assert bell.rings_beyond(0)


def test_a_hard_link_wakes(inbox: Path) -> None:
    outside = inbox.parent / "job.json"
    outside.write_text("{}")
    bell = Bell()
    with watching(inbox, bell):
        os.link(outside, inbox / "job.json")
        assert bell.rings_beyond(0)


def test_the_end_of_writing_wakes(inbox: Path) -> None:
    bell = Bell()
    with watching(inbox, bell):
        with open(inbox / "job.json", "w") as file:
            assert bell.rings_beyond(0)
            made = bell.rung
            file.write("{}")
        assert bell.rings_beyond(made)


def test_a_file_moved_out_is_no_event_at_all(inbox: Path) -> None:
    for number in range(5):
        (inbox / f"claimed-{number}").touch()

    class Noting(NotingEmitter):
        names: ClassVar[list[bytes]] = []

    bell = Bell()
    with watching(inbox, bell, lambda overflowed: BaseObserver(Noting, overflowed=overflowed)):
        for number in range(5):
            (inbox / f"claimed-{number}").rename(inbox.parent / f"claimed-{number}")
        drop(inbox, "last.json")
        assert bell.rings_beyond(0)
        assert Noting.names == [b"last.json"]


def test_claims_do_not_delay_the_next_wake(inbox: Path) -> None:
    bell = Bell()
    with watching(inbox, bell):
        begun = time.monotonic()
        for number in range(30):
            hints_come(inbox, bell)
            (inbox / "job.json").rename(inbox.parent / f"claimed-{number}")
        # Half a second for each would make 15.
        assert time.monotonic() - begun < 7


def test_a_burst_is_handled_as_a_few_events(inbox: Path) -> None:
    class Held(HeldEmitter, NotingEmitter):
        gate = threading.Event()
        names: ClassVar[list[bytes]] = []

    bell = Bell()
    (inbox / "0").touch()
    with watching(inbox, bell, lambda overflowed: BaseObserver(Held, overflowed=overflowed)):
        for number in range(5000):
            os.rename(inbox / f"{number}", inbox / f"{number + 1}")
        Held.gate.set()
        # The burst is behind us when a file that came after it was told.
        until(lambda: b"5000" in Held.names)
        hints_come(inbox, bell)
        assert len(Held.names) <= 20
        assert bell.rung <= 20


def test_an_overflow_of_the_kernels_queue_wakes_and_is_counted(inbox: Path) -> None:
    class Held(HeldEmitter):
        gate = threading.Event()

    room = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if room > 200_000:
        pytest.skip("this machine's queue is too long to be filled in a test")
    bell = Bell()
    (inbox / "a").touch()
    with watching(inbox, bell, lambda overflowed: BaseObserver(Held, overflowed=overflowed)) as watch:
        for _ in range(room // 2 + 10):
            os.rename(inbox / "a", inbox / "b")
            os.rename(inbox / "b", inbox / "a")
        Held.gate.set()
        until(lambda: watch.overflows == 1)
        assert bell.rings_beyond(0)
        hints_come(inbox, bell)
        assert watch.alive


def test_an_overflow_wakes_by_itself(inbox: Path) -> None:
    bell = Bell()
    with watching(inbox, bell) as watch:
        the_emitter(watch).on_queue_overflow()
        assert bell.rings_beyond(0)
        assert watch.overflows == 1


def test_a_healthy_watch_is_left_alone(inbox: Path) -> None:
    with watching(inbox, Bell()) as watch:
        assert watch.alive
        assert watch.trouble is None
        threads = set(threading.enumerate())
        assert not watch.check()
        assert set(threading.enumerate()) <= threads


def test_a_replaced_inbox_is_armed_again(inbox: Path) -> None:
    bell = Bell()
    with watching(inbox, bell) as watch:
        inbox.rename(inbox.parent / "old")
        inbox.mkdir()
        assert bell.rings_beyond(0)
        until(lambda: not watch.alive)
        assert watch.check()
        assert watch.alive
        hints_come(inbox, bell)


def test_an_inbox_removed_and_made_again_is_armed_again(inbox: Path) -> None:
    """The new folder often gets the inode number of the old one, so that only the event can tell."""
    bell = Bell()
    with watching(inbox, bell) as watch:
        inbox.rmdir()
        inbox.mkdir()
        until(lambda: not watch.alive)
        assert watch.check()
        hints_come(inbox, bell)


def test_a_replaced_inbox_is_seen_without_any_event(inbox: Path) -> None:
    with watching(inbox, Bell(), lambda _: BaseObserver(SilentEmitter)) as watch:
        inbox.rename(inbox.parent / "old")
        inbox.mkdir()
        assert watch.alive
        assert watch.check()
        assert not watch.check()


def test_an_inbox_that_is_a_symbolic_link_wakes(inbox: Path) -> None:
    link = inbox.parent / "link"
    link.symlink_to(inbox)
    bell = Bell()
    with watching(link, bell) as watch:
        hints_come(inbox, bell)
        assert not watch.check()


def test_a_link_that_points_elsewhere_is_followed(inbox: Path) -> None:
    elsewhere = inbox.parent / "elsewhere"
    elsewhere.mkdir()
    link = inbox.parent / "link"
    link.symlink_to(inbox)
    bell = Bell()
    with watching(link, bell) as watch:
        (inbox.parent / "new-link").symlink_to(elsewhere)
        (inbox.parent / "new-link").rename(link)
        assert watch.check()
        hints_come(elsewhere, bell)


def test_a_missing_inbox_is_trouble_until_it_is_made(tmp_path: Path) -> None:
    bell = Bell()
    folder = tmp_path / "inbox"
    with watching(folder, bell) as watch:
        assert watch.trouble is not None
        assert "missing" in watch.trouble
        assert str(folder) in watch.trouble
        assert not watch.alive
        assert not watch.check()
        folder.mkdir()
        assert watch.check()
        assert watch.trouble is None
        hints_come(folder, bell)


def test_an_inbox_that_goes_away_is_trouble(inbox: Path) -> None:
    with watching(inbox, Bell()) as watch:
        inbox.rename(inbox.parent / "old")
        assert not watch.check()
        assert watch.trouble is not None
        assert not watch.alive


def test_an_inbox_that_goes_away_without_any_event_is_trouble(inbox: Path) -> None:
    with watching(inbox, Bell(), lambda _: BaseObserver(SilentEmitter)) as watch:
        inbox.rename(inbox.parent / "old")
        assert not watch.check()
        assert watch.trouble is not None
        assert not watch.alive


def test_a_watch_that_the_kernel_takes_away_is_armed_again(inbox: Path) -> None:
    """As it does when the file system is unmounted."""
    bell = Bell()
    with watching(inbox, bell) as watch:
        inotify_rm_watch(the_descriptor(watch)._inotify_fd, WatchDescriptor(1))
        until(lambda: not watch.alive)
        assert watch.check()
        hints_come(inbox, bell)


def test_a_file_in_the_place_of_the_inbox_is_trouble(tmp_path: Path) -> None:
    (tmp_path / "inbox").touch()
    with watching(tmp_path / "inbox", Bell()) as watch:
        assert watch.trouble is not None
        assert "not a folder" in watch.trouble


def test_an_unreadable_inbox_is_trouble_until_it_may_be_read(unreadable: Path) -> None:
    """Upstream takes this refusal for a success: no error, and never an event."""
    bell = Bell()
    watch = Watch(str(unreadable), bell)
    with as_nobody():
        watch.start()
        assert watch.trouble is not None
        assert "may not read" in watch.trouble
        assert not watch.alive
        assert not watch.check()
    os.chmod(unreadable, 0o755)
    try:
        with as_nobody():
            assert watch.check()
        assert watch.trouble is None
        hints_come(unreadable, bell)
    finally:
        watch.stop()


def test_running_out_of_descriptors_is_trouble_until_there_are_some(inbox: Path) -> None:
    bell = Bell()
    with no_descriptor_left():
        watch = Watch(str(inbox), bell)
        watch.start()
        trouble = watch.trouble
    assert trouble is not None
    assert "descriptor" in trouble
    try:
        assert watch.check()
        hints_come(inbox, bell)
    finally:
        watch.stop()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (OSError(errno.ENOSPC, "inotify watch limit reached"), "fs.inotify.max_user_watches"),
        (OSError(errno.EMFILE, "inotify instance limit reached"), "fs.inotify.max_user_instances"),
        (OSError(errno.EIO, "the disk is broken"), "the disk is broken"),
        (RuntimeError("can't start new thread"), "can't start new thread"),
    ],
)
def test_whatever_refuses_the_watch_is_told_in_words(inbox: Path, fault: Exception, words: str) -> None:
    class Refused(RefusedObserver):
        pass

    Refused.fault = fault
    threads = set(threading.enumerate())
    with watching(inbox, Bell(), lambda _: Refused(SilentEmitter)) as watch:
        assert watch.trouble is not None
        assert words in watch.trouble
        assert not watch.check()
        assert set(threading.enumerate()) <= threads


def test_trying_in_vain_costs_no_descriptor(unreadable: Path) -> None:
    watch = Watch(str(unreadable), Bell())
    with as_nobody():
        watch.start()
        before = open_descriptors()
        for _ in range(20):
            assert not watch.check()
        assert open_descriptors() == before


@pytest.mark.parametrize("part", ["emitter", "observer", "descriptor"])
def test_a_dead_thread_is_replaced(inbox: Path, part: str) -> None:
    bell = Bell()
    with watching(inbox, bell) as watch:
        assert watch._observer is not None
        if part == "descriptor":
            # Somebody closes a descriptor too many, and the number means another file now.
            with open(os.devnull) as other:
                os.dup2(other.fileno(), the_descriptor(watch)._inotify_fd)
            drop(inbox)
        else:
            (watch._observer if part == "observer" else the_emitter(watch)).stop()
        until(lambda: not watch.alive)
        assert watch.check()
        assert watch.alive
        hints_come(inbox, bell)


def test_a_wake_that_raises_does_not_end_the_watch(inbox: Path) -> None:
    bell = Bell(faults=2)
    with watching(inbox, bell) as watch:
        for _ in range(4):
            hints_come(inbox, bell)
        assert watch.alive


def test_stop_ends_every_thread_and_frees_every_descriptor(inbox: Path) -> None:
    threads, descriptors = set(threading.enumerate()), open_descriptors()
    for _ in range(20):
        with watching(inbox, Bell()) as watch:
            assert watch.alive
    assert set(threading.enumerate()) <= threads
    assert open_descriptors() == descriptors


def test_a_stopped_watch_stays_stopped(inbox: Path) -> None:
    with watching(inbox, Bell()) as watch:
        watch.stop()
        assert not watch.check()
        assert not watch.alive


def test_silence_harms_nothing(inbox: Path) -> None:
    bell = Bell()
    with watching(inbox, bell, lambda _: BaseObserver(SilentEmitter)) as watch:
        drop(inbox)
        assert not watch.check()
        assert watch.alive
        assert watch.trouble is None
    assert bell.rung == 0


@pytest.mark.parametrize("make", [Observer, lambda: PollingObserver(timeout=0.05)], ids=["stock", "polling"])
def test_the_observers_of_other_platforms_serve_as_well(inbox: Path, make: Callable[[], BaseObserver]) -> None:
    bell = Bell()
    link = inbox.parent / "link"
    link.symlink_to(inbox)
    with watching(link, bell, lambda _: make()) as watch:
        hints_come(inbox, bell)
        assert not watch.check()
        inbox.rename(inbox.parent / "old")
        inbox.mkdir()
        assert watch.check()
        hints_come(inbox, bell)
