"""File systems of a test's own: mounted where nobody else sees them, gone with the thread that made them.

    in_private_mounts(lambda: ...)    # inside: mount(folder, "tmpfs", "size=4m"), processes started there see it too

Where that is not allowed the test is skipped, with the reason. An ext4 on a loop file can have its power cut.
"""

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemonkit import wait_until

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS = 0x00020000
# FS_IOC_SHUTDOWN (EXT4_IOC_SHUTDOWN), and how: the log is flushed with all data, with the metadata, or not at all.
_SHUTDOWN = 0x8004587D
DEFAULT, LOGFLUSH, NOLOGFLUSH = 0, 1, 2


def in_private_mounts(body: Callable[[], None]) -> None:
    """Run `body` on a thread that has the mounts to itself; what it raises is raised here."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    raised: list[BaseException] = []

    def run() -> None:
        try:
            if _LIBC.unshare(_CLONE_NEWNS) != 0:
                pytest.skip(f"no private mounts here: {os.strerror(ctypes.get_errno())}")
            _run("mount", "--make-rprivate", "/")
            body()
        except BaseException as error:  # skips and failures alike belong to the test's own thread
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def mount_memory(folder: Path, size: str) -> None:
    """Mount a small empty file system of memory."""
    folder.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))


class PowerCuts:
    """An ext4 in a file, mounted on `folder`, whose power can be cut."""

    def __init__(self, image: Path, folder: Path) -> None:
        if shutil.which("mkfs.ext4") is None or not Path("/dev/loop-control").exists():
            pytest.skip("no mkfs.ext4 or no loop devices here")
        self._image = image
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with image.open("wb") as file:
            file.truncate(64 << 20)
        _run("mkfs.ext4", "-q", "-F", str(image))
        self.mount()

    def mount(self) -> None:
        _run("mount", "-o", "loop", str(self._image), str(self._folder))

    def sync(self) -> None:
        """Make everything durable that is there by now."""
        _run("sync", "-f", str(self._folder))

    def cut(self, how: int) -> None:
        """Let nothing more reach the disk."""
        fd = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", how))
        finally:
            os.close(fd)

    def umount(self) -> None:
        # Processes of a daemon that was killed take a moment to notice.
        umount = ["umount", str(self._folder)]
        wait_until(lambda: not subprocess.run(umount, capture_output=True, check=False).returncode, "a disk let go")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, check=False, timeout=30)
    if done.returncode != 0:
        pytest.skip(f"{' '.join(command)}: {done.stderr.decode().strip()}")
