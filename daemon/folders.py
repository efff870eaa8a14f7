"""The folders of a spool: their names, what is called how in them, and what can be seen by looking.

Where a file lies is its state. Nothing here moves a file; that is for `spool` alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Protocol, Self

from inboxd.daemon import names
from inboxd.daemon.disk import Disk
from inboxd.daemon.lock import Locked, SpoolError
from inboxd.daemon.names import Claim

# Those that people look into, and all.
SHOWN = ("inbox", "active", "deferred", "outbox", "failed", "hold")
FOLDERS = (
    *SHOWN,
    "queues",
    "cache",
    "state",
    *(f"state/{name}" for name in ("staged", "cancel", "put-down", "paused", "after", "seen", "keys")),
)


class Entries(Iterator[os.DirEntry[str]], Protocol):
    """What os.scandir gives: the entries of a folder, read as they are asked for."""

    def close(self) -> None:
        """Read no further."""

    def __enter__(self) -> Self:
        """Begin to read; `close` at the end of the block."""

    def __exit__(self, *exc: object) -> None:
        """Read no further."""


class Folders(Locked):
    """The folders under `root`, on one filesystem, served by one daemon at a time."""

    def __init__(self, root: str, disk: Disk | None = None) -> None:
        super().__init__(root, "state/lock")
        self.disk = disk or Disk()
        self.inbox, self.active, self.deferred = (self.folder(name) for name in ("inbox", "active", "deferred"))
        self.outbox, self.failed, self.staged = (self.folder(name) for name in ("outbox", "failed", "state/staged"))

    # -- what is called how -----------------------------------------------------------------------------------

    def folder(self, name: str) -> str:
        """Give the path of one of the folders."""
        return f"{self.root}/{name}"

    def state(self, name: str) -> str:
        """Give the path of one of our own files."""
        return f"{self.root}/state/{name}"

    def path(self, claim: Claim) -> str:
        """Give the path of a claimed file."""
        return f"{self.active}/{claim.filename}"

    def attached(self, claim: Claim, name: str) -> str:
        """Give the path of an attachment that was taken."""
        return f"{self.active}/{names.attached(claim, name)}"

    def staging(self, token: str, suffix: str) -> str:
        """Give the path under which something is staged."""
        return f"{self.staged}/{token}{suffix}"

    def part(self, claim: Claim, suffix: str) -> str:
        """Give the path of a batch's answers while they are not complete: hidden, in the outbox."""
        return f"{self.outbox}/{names.part(claim, suffix)}"

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
        return os.path.lexists(f"{self.deferred}/{claim.filename}")

    def is_pending(self, name: str) -> bool:
        """Tell whether a job of that name waits or is being carried out."""
        return self.is_dropped(name) or any(self.claim_of(folder, name) for folder in (self.active, self.deferred))

    def free_bytes(self) -> int:
        """Bytes that we could still write."""
        figures = os.statvfs(self.root)
        return figures.f_bavail * figures.f_frsize

    def entries(self, name: str) -> Entries:
        """Read a folder as it is asked for; raises FileNotFoundError."""
        return os.scandir(self.folder(name))

    def queues(self) -> list[str]:
        """Give the names of the message queues."""
        try:
            return sorted(os.listdir(self.folder("queues")))
        except FileNotFoundError:
            return []

    def wish(self, kind: str, name: str) -> str:
        """Give the path of the file by which something is asked of a running daemon; `wishes` says what there is."""
        return os.path.join(self.state(kind), name)

    def wishes(self, kind: str) -> list[str]:
        """Give what is asked for of one kind, by name."""
        try:
            return os.listdir(self.state(kind))
        except FileNotFoundError:
            return []

    def is_wanted(self, kind: str, claim: Claim) -> bool:
        """Tell whether something is asked for of a job just now."""
        return os.path.lexists(self.wish(kind, claim.filename))

    def wish_for(self, kind: str, name: str) -> None:
        """Ask a running daemon, or the next one, for something."""
        os.makedirs(self.state(kind), exist_ok=True)
        self.disk.write(self.wish(kind, name), b"")

    def take_back(self, kind: str, name: str) -> bool:
        """Ask for it no longer; False when nobody did."""
        try:
            self.disk.unlink(self.wish(kind, name))
        except FileNotFoundError:
            return False
        return True

    def failures(self) -> list[str]:
        """Give the names of the files in failed/; of a sheet with the folder of its call before it."""
        found = os.listdir(self.failed)
        for folder in filter(names.is_for_sheets, list(found)):
            with suppress(NotADirectoryError, FileNotFoundError):
                found += [f"{folder}/{filename}" for filename in os.listdir(os.path.join(self.failed, folder))]
        return found

    def failed_at(self, filename: str) -> float:
        """Say since when a file lies in failed/ (wall time)."""
        return os.stat(os.path.join(self.failed, filename)).st_ctime

    def failed_lines(self, filename: str) -> Iterator[bytes]:
        """Give the jobs of a file in failed/, each as it was dropped."""
        with self.disk.open_regular(f"{self.failed}/{filename}") as file:
            if filename.lower().endswith(".jsonl"):
                yield from file
            else:
                yield file.read()

    def answers(self, name: str, *, batch: bool) -> Iterator[bytes]:
        """Give all answers of that name, the first first; of batches their summaries."""
        suffix = ".summary.json" if batch else ".json"
        for stem in names.stems(name):
            try:
                with open(f"{self.outbox}/{stem}{suffix}", "rb") as file:
                    yield file.read()
            except FileNotFoundError:
                return

    def is_dropped(self, name: str) -> bool:
        """Tell whether a job of that name waits in the inbox."""
        return any(os.path.lexists(os.path.join(self.inbox, name + kind)) for kind in (".json", ".jsonl"))

    def is_answered(self, name: str) -> bool:
        """Tell whether there is an answer of that name."""
        return any(os.path.lexists(os.path.join(self.outbox, name + kind)) for kind in (".json", ".jsonl"))

    def names_in(self, folder: str, wanted: AbstractSet[str]) -> set[str]:
        """Give those of the wanted names that jobs in active/ or deferred/ have."""
        with os.scandir(folder) as entries:
            claims = (names.parse(entry.name) for entry in entries)
            return {claim.name for claim in claims if claim is not None and claim.name in wanted}

    def claim_of(self, folder: str, name: str) -> Claim | None:
        """Give the claim of that name in active/ or deferred/, by looking."""
        begins = f"{name}~"
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(begins):
                    claim = names.parse(entry.name)
                    if claim is not None and claim.name == name:
                        return claim
        return None

    def batch_answers(self, name: str) -> Iterator[bytes]:
        """Give the lines of all whole batches of answers of that name, the first first."""
        for stem in names.stems(name):
            try:
                with open(os.path.join(self.outbox, stem + ".jsonl"), "rb") as file:
                    yield from file
            except FileNotFoundError:
                return

    def body(self, filename: str) -> str:
        """Give the path of a body in the outbox, as an answer names it."""
        return os.path.join(self.outbox, os.path.basename(filename))

    def read_part(self, claim: Claim, suffix: str) -> Iterator[bytes]:
        """Give the lines of a batch's answers so far."""
        try:
            with open(self.part(claim, suffix), "rb") as file:
                yield from file
        except FileNotFoundError:
            return
