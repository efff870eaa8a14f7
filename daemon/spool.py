"""The spool: the only file that knows the folders' names, and the only one that moves jobs from one to another.

Where a file lies is its state. A claim is a rename into `active/`, and only then is the file opened. An answer is
first complete in `state/staged/`, then the job leaves `active/`, then the answer appears: whoever crashes in between
leaves enough behind for `recovery` to go on from there. INTERNALS.md has the table of all states.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import BinaryIO

from inboxd.daemon import names
from inboxd.daemon.disk import Disk, NotRegular
from inboxd.daemon.names import Claim

# Those that people look into, and all.
SHOWN = ("inbox", "active", "deferred", "outbox", "failed", "hold")
FOLDERS = (*SHOWN, "queues", "cache", "state", "state/staged")


class SpoolError(Exception):
    """The spool cannot be used; the message says why and what to do."""


class Unfit(Exception):
    """A dropped file that is no job; the message says why."""


class Spool:
    """The folders under `root`, on one filesystem, served by one daemon at a time."""

    def __init__(self, root: str, disk: Disk | None = None) -> None:
        self.root = os.path.abspath(root)
        self.disk = disk or Disk()
        self.inbox, self.active, self.deferred = (self.folder(name) for name in ("inbox", "active", "deferred"))
        self.outbox, self.failed, self.staged = (self.folder(name) for name in ("outbox", "failed", "state/staged"))
        self._lock: int | None = None

    def folder(self, name: str) -> str:
        """Give the path of one of the folders."""
        return os.path.join(self.root, *name.split("/"))

    def state(self, name: str) -> str:
        """Give the path of one of our own files."""
        return os.path.join(self.folder("state"), name)

    # -- opening ----------------------------------------------------------------------------------------------

    def make(self) -> None:
        """Make the folders that are missing; raises SpoolError when they cannot be used as one spool."""
        try:
            for name in FOLDERS:
                os.makedirs(self.folder(name), exist_ok=True)
        except OSError as error:
            raise SpoolError(f"{error.filename}: cannot make the spool's folder: {error.strerror}") from None
        devices = {name: os.stat(self.folder(name)).st_dev for name in FOLDERS if name != "cache"}
        apart = [name for name, device in devices.items() if device != devices["active"]]
        if apart:
            raise SpoolError(
                f"{self.root}: {', '.join(apart)} and active lie on different filesystems; jobs are claimed and"
                " answered by rename, which works only within one"
            )

    def lock(self) -> None:
        """Take the spool for this process; raises SpoolError when another daemon has it. Dies with the process."""
        fd = os.open(self.state("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
            os.close(fd)
            if error.errno not in {errno.EAGAIN, errno.EACCES}:
                raise SpoolError(f"{self.root}: cannot lock: {error.strerror}") from None
            raise SpoolError(
                f"{self.root}: another inboxd (process {holder or 'unknown'}) serves this spool;"
                " stop it, or use another spool"
            ) from None
        os.truncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._lock = fd

    def is_ours(self) -> bool:
        """Tell whether the lock we hold is still the spool's: a spool that was moved or replaced is not ours to serve."""
        if self._lock is None:
            return False
        try:
            return os.path.samestat(os.stat(self.state("lock")), os.fstat(self._lock))
        except FileNotFoundError:
            return False

    def unlock(self) -> None:
        """Let others have the spool."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # -- the way in -------------------------------------------------------------------------------------------

    def claim(self, filename: str) -> Claim | None:
        """Take a file out of the inbox; None when it is no longer there."""
        claim = names.new_claim(filename)
        try:
            self.disk.rename(os.path.join(self.inbox, filename), self.path(claim))
        except FileNotFoundError:
            return None
        return claim

    def reclaim(self, filename: str) -> Claim | None:
        """Take a file whose time has come out of deferred/; None when it is no longer there."""
        claim = names.parse(filename)
        if claim is None:
            return None
        try:
            self.disk.rename(os.path.join(self.deferred, filename), self.path(claim))
        except FileNotFoundError:
            return None
        return claim

    def path(self, claim: Claim) -> str:
        """Give the path of a claimed file."""
        return os.path.join(self.active, claim.filename)

    def open(self, claim: Claim) -> BinaryIO:
        """Open a claimed file; raises Unfit for anything but a regular file that we may read."""
        try:
            return self.disk.open_regular(self.path(claim))
        except NotRegular as error:
            raise Unfit(str(error)) from None

    def read(self, claim: Claim, limit: int) -> tuple[os.stat_result, bytes]:
        """Read up to `limit` bytes of a claimed file; gives its status too. Raises Unfit."""
        try:
            return self.disk.read_regular(self.path(claim), limit)
        except NotRegular as error:
            raise Unfit(str(error)) from None

    def attach(self, claim: Claim, name: str) -> bool:
        """Take an attachment out of the inbox for a job; False when it is not there. Taking it twice is fine."""
        target = self._attached(claim, name)
        if os.path.lexists(target):
            return True
        try:
            self.disk.rename(os.path.join(self.inbox, name), target)
        except FileNotFoundError:
            return False
        return True

    def open_attachment(self, claim: Claim, name: str) -> BinaryIO:
        """Open an attachment that was taken; raises OSError."""
        return self.disk.open_regular(self._attached(claim, name))

    def _attached(self, claim: Claim, name: str) -> str:
        return os.path.join(self.active, names.attached(claim, name))

    # -- waiting ----------------------------------------------------------------------------------------------

    def park(self, claim: Claim, due: float) -> None:
        """Put a job, as it is, into deferred/ until `due` (wall time)."""
        self.disk.set_mtime(self.path(claim), due)
        self.disk.rename(self.path(claim), os.path.join(self.deferred, claim.filename))

    def give_back(self, claim: Claim, attachments: tuple[str, ...], due: float) -> None:
        """Undo a claim: back into the inbox, or, if its name is taken there by now, into deferred/."""
        for name in attachments:
            self._detach(claim, name, self.inbox)
        try:
            self.disk.rename_new(self.path(claim), os.path.join(self.inbox, claim.name + claim.kind))
        except FileExistsError:
            self.park(claim, due)

    # -- the way out: stage, sync, settle ---------------------------------------------------------------------

    def stage(self, claim: Claim, suffix: str, data: bytes) -> str:
        """Write what will become a file of outbox/, failed/ or deferred/; gives its path, to be synced."""
        path = self.staging(claim.token, suffix)
        self.disk.write(path, data)
        return path

    def staging(self, token: str, suffix: str) -> str:
        """Give the path under which something is staged."""
        return os.path.join(self.staged, token + suffix)

    def remove(self, claim: Claim) -> None:
        """Take a job out of active/, for good."""
        with suppress(FileNotFoundError):
            self.disk.unlink(self.path(claim))

    def set_aside(self, claim: Claim, suffix: str) -> None:
        """Take a job out of active/ as it is, and stage it."""
        with suppress(FileNotFoundError):
            self.disk.rename(self.path(claim), self.staging(claim.token, suffix))

    def postpone(self, claim: Claim, suffix: str) -> None:
        """Put the staged version of a job into deferred/, and take the other one out of active/."""
        with suppress(FileNotFoundError):
            self.disk.rename(self.staging(claim.token, suffix), os.path.join(self.deferred, claim.filename))
            self.disk.sync_folders([self.deferred])
        self.remove(claim)

    def publish(self, staged: str, folder: str, name: str, suffix: str) -> str | None:
        """Move something staged to its place, as NAME, or NAME~r2 and so on when that is taken; gives its file name.

        None when it is not staged any more: then it was published before a crash.
        """
        for stem in names.stems(name):
            try:
                self.disk.rename_new(staged, os.path.join(folder, stem + suffix))
            except FileExistsError:
                continue
            except FileNotFoundError:
                return None
            return stem + suffix
        raise AssertionError("names never run out")

    def free_stem(self, name: str, suffixes: tuple[str, ...]) -> str:
        """Give the first of NAME, NAME~r2, … under which the outbox has none of the `suffixes`."""
        return next(
            stem
            for stem in names.stems(name)
            if not any(os.path.lexists(os.path.join(self.outbox, stem + suffix)) for suffix in suffixes)
        )

    def discard(self, claim: Claim, attachments: tuple[str, ...]) -> None:
        """Remove the attachments of a job that is done."""
        for name in attachments:
            try:
                self.disk.unlink(self._attached(claim, name))
            except FileNotFoundError:
                continue

    def release(self, claim: Claim, attachments: tuple[str, ...]) -> None:
        """Put the attachments of a job that did not end well beside it into failed/."""
        for name in attachments:
            self._detach(claim, name, self.failed)

    def _detach(self, claim: Claim, name: str, folder: str) -> None:
        stem, suffix = os.path.splitext(name)
        self.publish(self._attached(claim, name), folder, stem, suffix)

    # -- batches ----------------------------------------------------------------------------------------------

    def part(self, claim: Claim, suffix: str) -> str:
        """Give the path of a batch's answers while they are not complete: hidden, in the outbox."""
        return os.path.join(self.outbox, names.part(claim, suffix))

    def read_part(self, claim: Claim, suffix: str) -> Iterator[bytes]:
        """Give the lines of a batch's answers so far."""
        try:
            with open(self.part(claim, suffix), "rb") as file:
                yield from file
        except FileNotFoundError:
            return

    def append_part(self, claim: Claim, suffix: str, data: bytes, size: int) -> None:
        """Append to a batch's answers, which are `size` bytes long; what a failed write left behind that is cut off."""
        path = self.part(claim, suffix)
        if size == 0:
            self.disk.write(path, b"")
            self.disk.sync_folders([self.outbox])
        elif os.path.getsize(path) != size:
            self.disk.truncate(path, size)
        if data:
            self.disk.append(path, data)

    def publish_body(self, claim: Claim, line: int, side: BinaryIO | None, body: bytes) -> str:
        """Put the body of one line into the outbox and give its file name, which no other batch can have."""
        staged = self.staging(f"{claim.token}:{line}", ".body")
        if side is None:
            self.disk.write(staged, body)
        else:
            side.close()
        name = f"{claim.name}~{claim.token}.{line}.body"
        with suppress(FileNotFoundError):
            self.disk.sync([staged], self.staged)
            self.disk.rename(staged, os.path.join(self.outbox, name))
        return name

    def stage_lines(self, claim: Claim, suffix: str, lines: Iterable[bytes]) -> str:
        """Write many lines that will become a file; gives its path, to be synced."""
        path = self.staging(claim.token, suffix)
        self.disk.write_lines(path, lines)
        return path

    def to_batch(self, claim: Claim, lines: Iterable[bytes]) -> Claim:
        """Bring a claimed array to a claimed batch of the same token."""
        batch = Claim(claim.name, claim.token, ".jsonl")
        staged = self.stage_lines(claim, ".lines", lines)
        self.disk.sync([staged], self.staged)
        self.disk.rename(staged, self.path(batch))
        self.disk.sync_folders([self.active])
        self.remove(claim)
        return batch

    # -- for those outside of the daemon ------------------------------------------------------------------------

    def drop(self, filename: str, data: bytes) -> None:
        """Put a job into the inbox, durably; raises FileExistsError while one of that name is there."""
        unfinished = os.path.join(self.inbox, f".{filename}.{os.getpid()}.tmp")
        try:
            self.disk.write(unfinished, data)
            self.disk.sync([unfinished], self.inbox)
            self.disk.rename_new(unfinished, os.path.join(self.inbox, filename))
        except OSError:
            with suppress(OSError):
                self.disk.unlink(unfinished)
            raise
        self.disk.sync_folders([self.inbox])

    def drop_again(self, filename: str) -> None:
        """Move a file from failed/ back into the inbox, never over another."""
        self.disk.rename_new(os.path.join(self.failed, filename), os.path.join(self.inbox, filename))

    def failures(self) -> list[str]:
        """Give the names of the files in failed/."""
        return os.listdir(self.failed)

    def failed_lines(self, filename: str) -> Iterator[bytes]:
        """Give the jobs of a file in failed/, each as it was dropped."""
        with self.disk.open_regular(os.path.join(self.failed, filename)) as file:
            if filename.lower().endswith(".jsonl"):
                yield from file
            else:
                yield file.read()

    def answers(self, name: str, *, batch: bool) -> Iterator[bytes]:
        """Give all answers of that name, the first first; of batches their summaries."""
        suffix = ".summary.json" if batch else ".json"
        for stem in names.stems(name):
            try:
                with open(os.path.join(self.outbox, stem + suffix), "rb") as file:
                    yield file.read()
            except FileNotFoundError:
                return

    def is_served(self) -> bool:
        """Tell whether a daemon has the spool."""
        try:
            fd = os.open(self.state("lock"), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False

    # -- looking ----------------------------------------------------------------------------------------------

    def attachments_of(self, token: str) -> tuple[str, ...]:
        """Give the names of the attachments that were taken for a job, by looking."""
        return tuple(
            attached[1]
            for entry in os.listdir(self.active)
            if (attached := names.parse_attached(entry)) and attached[0] == token
        )

    def claims(self) -> Iterator[Claim]:
        """Give what lies in active/."""
        with os.scandir(self.active) as entries:
            for entry in entries:
                claim = names.parse(entry.name)
                if claim is not None:
                    yield claim

    def tokens(self) -> set[str]:
        """Give the tokens of all jobs in active/ and deferred/."""
        filenames = [*os.listdir(self.active), *os.listdir(self.deferred)]
        return {claim.token for filename in filenames if (claim := names.parse(filename)) is not None}

    def parts(self) -> list[Claim]:
        """Give the batches of which there are unfinished answers."""
        return [claim for filename in os.listdir(self.outbox) if (claim := names.parse_part(filename)) is not None]

    def is_deferred(self, claim: Claim) -> bool:
        """Tell whether there is a version of the job in deferred/."""
        return os.path.lexists(os.path.join(self.deferred, claim.filename))

    def free_bytes(self) -> int:
        """Bytes that we could still write."""
        figures = os.statvfs(self.root)
        return figures.f_bavail * figures.f_frsize
