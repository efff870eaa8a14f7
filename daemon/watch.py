"""Tells at once that something has come into the inbox; what it was, only a scan can say.

Its one rule: an event is a hint and never a fact. All events of a moment become one constant hint, and the
hint does nothing but call `wake`. Hints may stop without a word (the folder replaced, a limit reached, a file
system that sends none, such as NFS): `check` mends what can be mended and puts the rest into words, and
whoever waits for hints must scan now and then all the same.
"""

import errno
import logging
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from watchdog.events import (
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, EventEmitter, EventQueue, ObservedWatch

logger = logging.getLogger(__name__)

# What the observers of other platforms may tell. Files that leave are not among it: we move them away ourselves.
_ARRIVALS: Final[list[type[FileSystemEvent]]] = [FileCreatedEvent, FileModifiedEvent, FileMovedEvent, FileClosedEvent]

_REASONS: Final = {
    errno.ENOENT: "it is missing",
    errno.ENOTDIR: "it is not a folder",
    errno.EACCES: "this user may not read it",
    errno.EMFILE: "no inotify instance or file descriptor is left (fs.inotify.max_user_instances, LimitNOFILE)",
    errno.ENFILE: "the whole system has no file descriptor left (fs.file-max)",
    errno.ENOSPC: "no inotify watch is left (fs.inotify.max_user_watches)",
    errno.ELOOP: "its symbolic links go in a circle",
}


# What is told of arrivals: the name of each, and whether it was renamed in, and so came complete.
Arrivals: TypeAlias = list[tuple[bytes, bool]]


def _nobody(_arrivals: Arrivals) -> None:
    """Ask for no names."""


if sys.platform == "linux":
    from watchdog.observers.inotify_c import (
        CallbackId,
        InotifyConstants,
        InotifyEvent,
        InotifyFD,
        Mask,
        WatchDescriptor,
    )

    # One object for every event, so that the observer's queue, which skips repeats, never holds a second one.
    _HINT: Final = FileCreatedEvent("")

    # MOVED_FROM is left out, so that the kernel does not even tell of our own claims, which are renames.
    # CREATE is there for hard links, which are never closed.
    _MASK: Final = Mask(
        InotifyConstants.IN_CLOSE_WRITE
        | InotifyConstants.IN_MOVED_TO
        | InotifyConstants.IN_CREATE
        | InotifyConstants.IN_DELETE_SELF
        | InotifyConstants.IN_MOVE_SELF
        | InotifyConstants.IN_ONLYDIR
    )

    # Seconds for which the kernel gathers events between two reads. A file that comes alone never waits for it.
    # In a burst it is the difference between 2,000 reads a second and one for each file: 3 to 5 µs of CPU each, not 20.
    _GRAIN: Final = 0.0005

    class _Descriptor(InotifyFD):
        """An inotify instance that its owner reads; it is never started as the thread it also is."""

        def __init__(self) -> None:
            super().__init__()
            # Upstream assumes a reader from the start and leaves closing to it; without one, each
            # folder that cannot be watched would cost three file descriptors.
            self._is_reading = False

    class _Emitter(EventEmitter):
        """Reads the kernel's events a buffer at a time and queues one hint for all of them.

        Ends by itself when the watched folder is gone, so that a living emitter means a watched folder.
        """

        def __init__(
            self,
            event_queue: EventQueue,
            watch: ObservedWatch,
            *,
            timeout: float,
            event_filter: list[type[FileSystemEvent]] | None,
            overflowed: Callable[[], None],
            named: Callable[[Arrivals], None] = _nobody,
        ) -> None:
            super().__init__(event_queue, watch, timeout=timeout, event_filter=event_filter)
            self._overflowed = overflowed
            self._named = named
            self._descriptor: _Descriptor | None = None

        def on_thread_start(self) -> None:
            """Begin to watch; raises OSError."""
            self._descriptor = _Descriptor()
            wd = self._descriptor.add_callback(os.fsencode(self.watch.path), _MASK, self, CallbackId(id(self)))
            # Upstream takes this one error for a success, and no event would ever come.
            if wd == -1:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), self.watch.path)

        def on_thread_stop(self) -> None:
            """End the wait of whoever reads."""
            if self._descriptor is not None:
                self._descriptor.close()

        def queue_events(self, timeout: float) -> None:  # noqa: ARG002  # closing the descriptor ends the wait
            """Read what has come, and leave one hint for all of it."""
            assert self._descriptor is not None
            events = self._descriptor.read_events()
            # A closed descriptor reads as empty, for ever and at once.
            if not events:
                self.stop()
            self._named([(event.name, event.is_moved_to) for event in events])
            # Otherwise they differ in nothing.
            for event in {event.mask: event for event in events}.values():
                self._descriptor.handle_event(event)
            self.stopped_event.wait(_GRAIN)

        def on_event(self, event: InotifyEvent) -> None:
            """Leave a hint; end when it was the folder itself that went."""
            self.queue_event(_HINT)
            if event.is_move_self or event.is_delete_self:
                self.stop()

        def on_watch_deleted(self, wd: WatchDescriptor) -> None:  # noqa: ARG002  # there is only one
            """End: the folder is gone."""
            self.stop()

        def on_queue_overflow(self) -> None:
            """Count what was lost, and have somebody look."""
            self._overflowed()
            self.queue_event(_HINT)


def platform_observer(overflowed: Callable[[], None], named: Callable[[Arrivals], None] = _nobody) -> BaseObserver:
    """Return the best observer of this platform.

    `overflowed` is called when the kernel had to drop events, `named` with what came, where it tells names.
    """
    if sys.platform == "linux":
        return BaseObserver(_Emitter, overflowed=overflowed, named=named)
    return Observer()


class _Hint(FileSystemEventHandler):
    """Calls `wake` for any event, and outlives whatever `wake` raises."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:  # noqa: ARG002  # its arrival is all it says
        """Wake whoever waits."""
        try:
            self._wake()
        except Exception:
            # An exception here would end the observer's thread.
            logger.exception("the inbox watcher could not wake the intake")


class Watch:
    """Calls `wake` soon after a file was renamed, linked or written into `folder`.

    `wake` is called on a thread of the watcher, must return at once, and may be called without need, also once
    for many files. `folder` may be a symbolic link. No method raises OSError: with `trouble` set there are
    no hints, and the next `check` tries again. `overflows` counts how often the kernel dropped events
    (each one also wakes). `named` is told what came, as far as names are known: empty ones and those of what is gone
    again may be among them, and it must return at once and not raise. `observer` makes the thread
    that dispatches events.
    """

    def __init__(
        self,
        folder: str,
        wake: Callable[[], None],
        *,
        named: Callable[[Arrivals], None] = _nobody,
        observer: Callable[[Callable[[], None]], BaseObserver] | None = None,
    ) -> None:
        self.folder = folder
        self.trouble: str | None = None
        self.overflows = 0
        self._hint = _Hint(wake)
        self._make_observer = observer or partial(platform_observer, named=named)
        self._observer: BaseObserver | None = None
        self._watched: tuple[int, int] | None = None
        self._stopped = False
        self._lock = threading.Lock()

    @property
    def alive(self) -> bool:
        """Whether hints can come: every thread runs, and the folder was not seen to go away."""
        observer = self._observer
        if observer is None or not observer.is_alive():
            return False
        emitters = tuple(observer.emitters)
        return bool(emitters) and all(each.is_alive() and each.should_keep_running() for each in emitters)

    def start(self) -> None:
        """Begin to watch; a folder that cannot be watched now is tried again by `check`."""
        self.check()

    def stop(self) -> None:
        """End all threads, for good."""
        with self._lock:
            self._stopped = True
            self._disarm()

    def check(self) -> bool:
        """Make sure that hints still come; True means that it had to begin anew, and a scan is due.

        Call it every few seconds, and whenever `alive` is false.
        """
        with self._lock:
            if self._stopped:
                return False
            try:
                found = self._identity()
                if self.alive and found == self._watched:
                    return False
                self._disarm()
                self._arm(found)
            # RuntimeError is what Python says when no further thread can be had.
            except (OSError, RuntimeError) as error:
                self._disarm()
                self.trouble = self._in_words(error)
                return False
            self.trouble = None
            return True

    def _identity(self) -> tuple[int, int]:
        # The slash refuses a file, whose whole folder watchdog would watch instead.
        status = os.stat(os.path.join(self.folder, ""))
        return status.st_dev, status.st_ino

    def _arm(self, found: tuple[int, int]) -> None:
        observer = self._make_observer(self._count_overflow)
        observer.schedule(self._hint, os.path.realpath(self.folder), event_filter=_ARRIVALS)
        try:
            observer.start()
        except (OSError, RuntimeError):
            observer.stop()
            raise
        # It was looked up before the watch began: if the folder was replaced in between, the next check sees it.
        self._watched = found
        self._observer = observer

    def _disarm(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join()

    def _count_overflow(self) -> None:
        self.overflows += 1

    def _in_words(self, error: OSError | RuntimeError) -> str:
        code = error.errno if isinstance(error, OSError) else None
        reason = _REASONS.get(code or 0) or str(error)
        return f"the inbox {self.folder} cannot be watched: {reason}; it is only scanned now and then"
