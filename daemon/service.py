"""`inboxd run`: the process around the house. Signal handlers only set flags; the main thread does the rest."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import resource
import select
import signal
import sys
from collections.abc import Callable

from inboxd.daemon import interpreter
from inboxd.daemon.config import Config
from inboxd.daemon.house import House
from inboxd.daemon.log import Logs, start
from inboxd.daemon.notify import Notify
from inboxd.daemon.spool import SpoolError
from inboxd.jobs.faults import Invalid


def serve(config: Config, read: Callable[[], Config], *, once: bool) -> int:
    """Run a daemon until it is told to stop; gives the exit status: 0 in good order, 1 when it cannot start.

    `read` reads the config anew, on SIGHUP; it raises ConfigError.
    """
    _allow_many_files()
    interpreter.settle(interpreter.PUNCTUAL)
    # A watchdog ends us by SIGABRT; then standard error says where each thread stood.
    faulthandler.enable()
    try:
        logs = start(config.log.level, config.log.format, config.log.file, config.spool)
    except OSError as error:
        return _refuse(f"{config.log.file}: cannot write the log: {error.strerror}")
    try:
        try:
            house = House(
                config,
                read=read,
                on_level=logs.set_level,
                on_log=logs.take,
                notify=Notify(os.environ),
                pause=_pause(),
            )
            _obey_signals(house, logs)
            house.start()
        except (SpoolError, Invalid) as error:
            return _refuse(str(error))
        except OSError as error:
            return _refuse(f"{error.filename or config.spool}: {error.strerror}; the spool cannot be used")
        house.run(once=once)
    finally:
        logs.stop()
    if house.cut:
        # Threads of calls that did not end in time would hold the process until their deadline. All
        # that they were doing is on the disk already.
        sys.stderr.flush()
        os._exit(0)
    return 0


def _obey_signals(house: House, logs: Logs) -> None:
    signal.signal(signal.SIGHUP, lambda *_: house.reload_soon())
    # To look closer for a while, and back to what the config says.
    signal.signal(signal.SIGUSR1, lambda *_: logs.set_level("debug"))
    signal.signal(signal.SIGUSR2, lambda *_: logs.set_level(house.config.log.level))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: house.stop())


def _allow_many_files() -> None:
    """Raise the soft limit of open files to the hard one: connections, batches and answers all need some."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _pause() -> Callable[[float], None]:
    """Give a sleep that ends at once when a signal comes.

    A handler may only set flags: whatever takes a lock could be what it interrupted. So it is the number that Python
    writes into a pipe at each signal that wakes the main thread.
    """
    woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)

    def pause(seconds: float) -> None:
        """Wait so many seconds, or until the next signal."""
        if select.select([woken], [], [], seconds)[0]:
            os.read(woken, 4096)

    return pause


def _refuse(why: str) -> int:
    """Say the one word to whoever started us; gives the exit status."""
    sys.stderr.write(f"inboxd: {why}\n")
    return 1
