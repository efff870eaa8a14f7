"""The sockets that the gateway listens on: handed over by systemd, or opened here; all before any thread starts.

Whoever connects once a socket listens is served, if only in a moment, so nobody is refused while the daemon starts.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

WAITING = 2048
# sd_listen_fds(3): the first descriptor that is handed over.
_FIRST_FD = 3


def tcp(host: str, port: int) -> socket.socket:
    """Listen on a TCP port (0: any that is free); raises OSError."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(WAITING)
    except OSError as error:
        listening.close()
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from None
    return listening


def unix(path: str) -> socket.socket:
    """Listen on a unix socket, which takes the place of one that nobody serves any more; raises OSError."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_dead(path)
        listening.bind(path)
        # Who may write to it may drop jobs: the daemon's user and group.
        os.chmod(path, 0o660)
        listening.listen(WAITING)
    except OSError as error:
        listening.close()
        raise OSError(error.errno, error.strerror, path) from None
    return listening


def _remove_dead(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with suppress(FileNotFoundError):
                os.unlink(path)
        except OSError:
            # There is none, or binding will say what is wrong with it.
            return


def inherited() -> list[socket.socket]:
    """Give the sockets that systemd has handed over to this process."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    return [socket.socket(fileno=number) for number in range(_FIRST_FD, _FIRST_FD + count)]


def shown(listening: socket.socket) -> str:
    """Say where a socket listens."""
    name = listening.getsockname()
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return str(name)
