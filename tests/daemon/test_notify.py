"""What is told to whoever started us: heard on a socket of the test's own, as systemd hears it."""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inboxd.daemon.notify import Notify


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as ear:
        ear.bind(str(tmp_path / "notify"))
        yield ear


@pytest.fixture
def notify(ear: socket.socket) -> Iterator[Notify]:
    notify = Notify({"NOTIFY_SOCKET": ear.getsockname()})
    yield notify
    notify.close()


@pytest.mark.parametrize(
    ("tell", "heard"),
    [
        (Notify.ready, b"READY=1"),
        (Notify.alive, b"WATCHDOG=1"),
        (Notify.stopping, b"STOPPING=1"),
        (lambda notify: notify.extend(2.5), b"EXTEND_TIMEOUT_USEC=2500000"),
        (lambda notify: notify.status("3 answered"), b"STATUS=3 answered"),
    ],
)
def test_each_word_is_systemds_own(
    notify: Notify, ear: socket.socket, tell: Callable[[Notify], None], heard: bytes
) -> None:
    tell(notify)
    assert ear.recv(1000) == heard


def test_a_reload_says_when_it_began(notify: Notify, ear: socket.socket) -> None:
    before = time.monotonic_ns() // 1000
    notify.reloading()
    first, second = ear.recv(1000).decode().splitlines()
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


def test_the_same_status_is_told_once(notify: Notify, ear: socket.socket) -> None:
    notify.status("busy")
    notify.status("busy")
    ear.recv(1000)
    with pytest.raises(BlockingIOError):
        ear.recv(1000)


def test_an_abstract_socket_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(f"\0inboxd-test-{os.getpid()}")
        notify = Notify({"NOTIFY_SOCKET": f"@inboxd-test-{os.getpid()}"})
        notify.ready()
        notify.close()
        assert ear.recv(1000) == b"READY=1"


def test_a_socket_that_is_gone_or_full_disturbs_nobody(notify: Notify, ear: socket.socket) -> None:
    for _ in range(10_000):
        notify.alive()
    Path(ear.getsockname()).unlink()
    notify.alive()
    heard = list(all_of(ear))
    assert 0 < len(heard) < 10_000
    assert set(heard) == {b"WATCHDOG=1"}


def all_of(ear: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(BlockingIOError):
        while True:
            yield ear.recv(1000)


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "4000000"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "4000000"}, 4.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}, 4.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_ours_only_if_it_was_meant_for_us(environ: dict[str, str], seconds: float | None) -> None:
    notify = Notify(environ)
    assert notify.watchdog == seconds
    notify.close()
