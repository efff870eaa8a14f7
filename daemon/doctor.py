"""`inboxd doctor`: looks at the machine that a spool is on, for whatever a daemon there could stumble over.

The one rule: it changes nothing. Beside each thing that is not as it should be stands what to do about it.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import certifi

from inboxd.daemon.config import Config
from inboxd.daemon.folders import SHOWN
from inboxd.daemon.spool import Spool
from inboxd.daemon.status import SILENT, STANDS, silence

Verdict = Literal["ok", "warning", "problem"]

# Filesystems on which the kernel tells nobody of files that others drop.
REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "ceph", "glusterfs", "afs", "virtiofs"})
# Nothing of this outlives a reboot.
FLEETING = frozenset({"tmpfs", "ramfs"})
# One inotify instance and one watch are ours; others need some too.
FEW_INSTANCES, FEW_WATCHES = 16, 1024
FILES_ENOUGH = 1024
# A clock before this instant was never set: 2025-01-01.
EARLIEST = 1735689600.0
FAR_AHEAD = 3600.0


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, how it is, and what to do if that is not well."""

    what: str
    verdict: Verdict
    text: str


def examine(config: Config, now: float) -> Iterator[Check]:
    """Look at everything that the daemon of this config depends on."""
    spool = Spool(config.spool)
    yield from _filesystem(spool)
    yield from _permissions(spool)
    yield from _disk(spool, config.min_free)
    yield from _inotify()
    yield from _files(config.threads)
    yield from _clock(spool, now)
    yield from _tls(config)
    yield _daemon(spool, now)


def _daemon(spool: Spool, now: float) -> Check:
    if not spool.is_served():
        return Check("daemon", "warning", "none runs; `inboxd run` starts one")
    said: dict[str, Any] = {}
    with suppress(OSError, ValueError), open(spool.state("status.json"), "rb") as file:
        said = json.load(file)
    if (silent := silence(said, now)) > SILENT:
        return Check("daemon", "problem", f"serves the spool, and has said nothing for {silent:.0f} s; {STANDS}")
    return Check("daemon", "ok", "serves the spool")


def filesystem_of(path: str, mounts: str) -> str:
    """Give the kind of the filesystem that `path` lies on, by the text of /proc/self/mounts."""
    best, kind = "", "unknown"
    real = os.path.realpath(path)
    for line in mounts.splitlines():
        _, place, found, *_ = line.split(" ")
        place = place.encode().decode("unicode_escape")
        inside = real == place or real.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= len(best):
            best, kind = place, found
    return kind


def _filesystem(spool: Spool) -> Iterator[Check]:
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as file:
        kind = filesystem_of(_existing(spool.root), file.read())
    if kind in REMOTE:
        text = f"{kind}: the kernel tells nothing of files that other machines drop; they are found within `rescan`"
        yield Check("filesystem", "warning", text)
    elif kind in FLEETING:
        yield Check("filesystem", "warning", f"{kind}: nothing of it outlives a reboot; put the spool on a disk")
    else:
        yield Check("filesystem", "ok", kind)
    devices = {os.stat(path).st_dev for name in SHOWN if os.path.isdir(path := spool.folder(name))}
    if len(devices) > 1:
        text = "the folders lie on different filesystems; jobs are moved by rename, which works only within one"
        yield Check("one filesystem", "problem", text)


def _existing(path: str) -> str:
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def _permissions(spool: Spool) -> Iterator[Check]:
    if not os.path.isdir(spool.inbox):
        yield Check("folders", "warning", f"{spool.root}: no spool yet; the first `inboxd run` makes it")
        return
    for name in SHOWN:
        folder = spool.folder(name)
        try:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor.") as file:
                os.fsync(file.fileno())
        except OSError as error:
            text = f"{folder}: {error.strerror}; the daemon's user has to be able to write there"
            yield Check("permissions", "problem", text)
            return
    mode = os.stat(spool.inbox).st_mode & 0o7777
    if mode & 0o002 and not mode & 0o1000:
        text = f"{spool.inbox} may be written by everybody (mode {mode:o}); whoever can drop a file can make calls"
        yield Check("permissions", "warning", text)
    else:
        yield Check("permissions", "ok", f"all folders can be written, the inbox has mode {mode:o}")


def _disk(spool: Spool, min_free: int) -> Iterator[Check]:
    figures = os.statvfs(_existing(spool.root))
    free = figures.f_bavail * figures.f_frsize
    if free < min_free:
        text = f"{free / 2**20:.0f} MiB free, and min_free is {min_free / 2**20:.0f} MiB: nothing is claimed; make room"
        yield Check("disk", "problem", text)
    else:
        yield Check("disk", "warning" if free < 2 * min_free else "ok", f"{free / 2**20:.0f} MiB free")
    if figures.f_files and figures.f_favail < figures.f_files // 50:
        yield Check(
            "inodes", "warning", f"{figures.f_favail} of {figures.f_files} are left; each job and answer takes one"
        )


def _inotify() -> Iterator[Check]:
    few = []
    for name, enough in (("max_user_instances", FEW_INSTANCES), ("max_user_watches", FEW_WATCHES)):
        with suppress(OSError, ValueError), open(f"/proc/sys/fs/inotify/{name}", encoding="ascii") as file:
            value = int(file.read())
            if value < enough:
                few.append(f"fs.inotify.{name} is {value}; `sysctl fs.inotify.{name}={enough}` or more")
    if few:
        yield Check("inotify", "warning", "; ".join(few))
    else:
        yield Check("inotify", "ok", "enough instances and watches")


def _files(threads: int) -> Iterator[Check]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = max(FILES_ENOUGH, 8 * threads)
    if hard != resource.RLIM_INFINITY and hard < needed:
        text = f"{hard} may be open; {needed} are needed for {threads} threads: raise LimitNOFILE or `ulimit -n`"
        yield Check("open files", "warning", text)
    else:
        yield Check("open files", "ok", "unlimited" if hard == resource.RLIM_INFINITY else f"{hard} may be open")


def _clock(spool: Spool, now: float) -> Iterator[Check]:
    if now < EARLIEST:
        text = f"it says {time.strftime('%Y-%m-%d', time.gmtime(now))}; set it, or times and certificates are wrong"
        yield Check("clock", "problem", text)
        return
    newest = 0.0
    for name in ("outbox", "failed", "active"):
        with suppress(OSError):
            newest = max(newest, os.stat(spool.folder(name)).st_mtime)
    if newest > now + FAR_AHEAD:
        yield Check("clock", "problem", f"the spool was changed {newest - now:.0f} s from now; the clock went back")
    else:
        yield Check("clock", "ok", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now)))


def _tls(config: Config) -> Iterator[Check]:
    """Read each store of trusted certificates that calls would use."""
    verified = {api.verify for api in config.apis} | {config.defaults.verify}
    for store in sorted({certifi.where() if verify is True else verify for verify in verified if verify}):
        try:
            context = ssl.create_default_context(cafile=store)
        except OSError as error:
            why = "no certificates in it" if error.errno is None else os.strerror(error.errno or errno.EIO)
            yield Check("TLS store", "problem", f"{store}: {why}; calls over https would fail")
        else:
            yield Check("TLS store", "ok", f"{store}: {len(context.get_ca_certs())} authorities")
    if not all(verified):
        yield Check("TLS store", "warning", "verify = false: somebody in between could read and change calls")
