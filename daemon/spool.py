"""The spool: the only file that moves jobs from one folder to another; `folders` says what is called how.

Where a file lies is its state. A claim is a rename into `active/`, and only then is the file opened. An answer is
first complete in `state/staged/`, then the job leaves `active/`, then the answer appears: whoever crashes in between
leaves enough behind for `recovery` to go on from there. INTERNALS.md has the table of all states.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from inboxd.daemon import names
from inboxd.daemon.disk import Disk, NotRegular
from inboxd.daemon.entrance import Entrance
from inboxd.daemon.folders import SHOWN
from inboxd.daemon.lock import SpoolError
from inboxd.daemon.names import Claim

__all__ = ["SHOWN", "Spool", "SpoolError", "Unfit"]

if TYPE_CHECKING:
    # It takes long to load, and `inboxd drop` needs none of it.
    from inboxd.jobs.result import Answer

    # Told of the name, the line if it is one of a batch, and the answer, or the bytes that were made of it elsewhere.
    Listener = Callable[[str, int | None, Answer | bytes], None]

# What a rename says that will never succeed; the rest is about the disk, and may be better tomorrow.
_NEVER = frozenset({errno.ENAMETOOLONG, errno.EACCES, errno.EPERM})


class Unfit(Exception):
    """A dropped file that is no job; the message says why."""


# Names whose number of answers is remembered; one that is forgotten is only counted anew.
NAMES_REMEMBERED = 10_000


class Spool(Entrance):
    """The folders, and every move of a job between them."""

    def __init__(self, root: str, disk: Disk | None = None) -> None:
        super().__init__(root, disk)
        # Names of bodies in the outbox that an answer speaks of already and that are not there yet.
        self._promised: set[str] = set()
        # Told of each answer once it is durable, on the outbox's thread; they must not take long, and raise nothing.
        self.listeners: list[Listener] = []
        # Where to go on counting NAME~r2, ~r3, …, so that a name dropped every minute does not cost more each time.
        self._next_number: dict[str, int] = {}
        # For those who look for a job in the folders: names that have left active/ and are not in the outbox yet, and
        # how often one went back into deferred/.
        self.leaving: set[str] = set()
        self.put_off = 0

    def tell(self, name: str, line: int | None, answer: Answer | bytes) -> None:
        """Tell all who listen of an answer."""
        for listener in self.listeners:
            listener(name, line, answer)

    # -- the way in -------------------------------------------------------------------------------------------

    def claim(self, filename: str, call: str | None = None) -> Claim | None:
        """Take a file out of the inbox, or a sheet out of its folder for a `call`; None when it is no longer there."""
        claim = names.new_claim(filename, call)
        try:
            self.disk.rename(
                f"{self.inbox}/{call}/{filename}" if call else f"{self.inbox}/{filename}", self.path(claim)
            )
        except FileNotFoundError:
            return None
        return claim

    def secure_claims(self) -> None:
        """Make the claims of this moment durable."""
        self.disk.sync_folders([self.active])

    def reclaim(self, filename: str) -> Claim | None:
        """Take a file whose time has come out of deferred/; None when it is no longer there."""
        claim = names.parse(filename)
        if claim is None:
            return None
        try:
            self.disk.rename(f"{self.deferred}/{filename}", self.path(claim))
        except FileNotFoundError:
            return None
        return claim

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
        """Take an attachment out of the inbox for a job; False when it is not there. Taking it twice is fine.

        Raises Unfit when it is there for ever, because we may not move it or its name leaves no room for the token.
        """
        target = self.attached(claim, name)
        if os.path.lexists(target):
            return True
        try:
            self.disk.rename(f"{self.inbox}/{name}", target)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in _NEVER:
                raise
            raise Unfit(f'the attachment "{name}" cannot be taken: {error.strerror}') from None
        return True

    def open_attachment(self, claim: Claim, name: str) -> BinaryIO:
        """Open an attachment that was taken; raises OSError."""
        return self.disk.open_regular(self.attached(claim, name))

    # -- waiting ----------------------------------------------------------------------------------------------

    def park(self, claim: Claim, due: float) -> None:
        """Put a job, as it is, into deferred/ until `due` (wall time), unless somebody has taken the file away."""
        with suppress(FileNotFoundError):
            self.disk.set_mtime(self.path(claim), due)
            self._put_off(claim)

    def _put_off(self, claim: Claim) -> None:
        self.disk.rename(self.path(claim), f"{self.deferred}/{claim.filename}")
        self.put_off += 1

    def hold(self, folder: str, claim: Claim) -> None:
        """Put a job, as it lies in active/ or deferred/, aside into hold/, unless somebody has taken it away."""
        with suppress(FileNotFoundError):
            self.disk.rename_new(f"{folder}/{claim.filename}", f"{self.folder('hold')}/{claim.filename}")

    def give_back(self, claim: Claim, attachments: tuple[str, ...], due: float) -> None:
        """Undo a claim: back into the inbox, with its attachments.

        A job whose token may have been used for a call has to keep it, and what lies in the inbox under one of the
        names by now belongs to another job; then it waits in deferred/ instead.
        """
        if not claim.fresh or not self._return(claim, attachments):
            self.park(claim, due)

    def _return(self, claim: Claim, attachments: tuple[str, ...]) -> bool:
        """Move a job and its attachments into the inbox, all of them or none."""
        moves = [(self.attached(claim, name), f"{self.inbox}/{name}") for name in attachments]
        moves.append((self.path(claim), f"{self.inbox}/{claim.dropped}"))
        for done, (source, target) in enumerate(moves):
            try:
                self.disk.rename_new(source, target)
            except FileNotFoundError:
                continue
            except FileExistsError:
                for old, new in moves[:done]:
                    with suppress(FileNotFoundError):
                        self.disk.rename_new(new, old)
                return False
        return True

    # -- the way out: stage, sync, settle ---------------------------------------------------------------------

    def stage(self, claim: Claim, suffix: str, data: bytes) -> str:
        """Write what will become a file of outbox/, failed/ or deferred/; gives its path, to be synced."""
        path = self.staging(claim.token, suffix)
        self.disk.write(path, data)
        return path

    def remove(self, claim: Claim) -> None:
        """Take a job out of active/, for good."""
        with suppress(FileNotFoundError):
            self.disk.unlink(self.path(claim))

    def set_aside(self, claim: Claim, suffix: str) -> None:
        """Take a job out of active/ as it is, and stage it."""
        with suppress(FileNotFoundError):
            self.disk.rename(self.path(claim), self.staging(claim.token, suffix))

    def unstage(self, token: str, suffix: str) -> None:
        """Remove something staged that nobody needs any more, if it is there."""
        with suppress(FileNotFoundError):
            self.disk.unlink(self.staging(token, suffix))

    def postpone(self, claim: Claim, suffix: str) -> None:
        """Put the staged version of a job in the place of the one in active/, and that into deferred/."""
        staged = self.staging(claim.token, suffix)
        if os.path.lexists(staged):
            self.disk.rename(staged, self.path(claim))
        with suppress(FileNotFoundError):
            self._put_off(claim)

    def publish(self, staged: str, folder: str, name: str, suffix: str) -> str | None:
        """Move something staged to its place, as NAME, or NAME~r2 and so on when that is taken; gives its file name.

        None when it is not staged any more: then it was published before a crash.
        """
        place = f"{folder}/{name}{suffix}"
        start = self._next_number.get(place, 2)
        for tries, stem in enumerate(names.stems(name, start)):
            try:
                self.disk.rename_new(staged, f"{folder}/{stem}{suffix}")
            except FileExistsError:
                continue
            except FileNotFoundError:
                if os.path.lexists(staged):
                    # It is the folder that is missing, and may come back.
                    raise
                return None
            self._promised.discard(stem + suffix)
            if tries:
                self._remember_number(place, start + tries)
            return stem + suffix
        raise AssertionError("names never run out")

    def publish_failed(self, claim: Claim, suffix: str) -> None:
        """Move what is staged of a job for failed/ to its place there, a sheet into the folder of its call."""
        folder = os.path.dirname(os.path.join(self.failed, claim.dropped))
        if claim.call is not None:
            os.makedirs(folder, exist_ok=True)
        stem, ending = os.path.splitext(os.path.basename(claim.dropped))
        self.publish(self.staging(claim.token, claim.kind + suffix), folder, stem, ending)

    def _remember_number(self, place: str, number: int) -> None:
        if len(self._next_number) >= NAMES_REMEMBERED:
            self._next_number.clear()
        self._next_number[place] = number

    def free_stem(self, name: str, suffixes: tuple[str, ...]) -> str:
        """Give the first of NAME, NAME~r2, … under which the outbox has none of the `suffixes`, and will have none."""
        return next(
            stem
            for stem in names.stems(name)
            if not any(
                stem + suffix in self._promised or os.path.lexists(f"{self.outbox}/{stem}{suffix}")
                for suffix in suffixes
            )
        )

    def promise(self, name: str, suffix: str, beside: str) -> str:
        """Give the file name under which something staged will appear, where there is no other nor one of `beside`."""
        promised = self.free_stem(name, (suffix, beside)) + suffix
        self._promised.add(promised)
        return promised

    def discard(self, claim: Claim, attachments: tuple[str, ...]) -> None:
        """Remove the attachments of a job that is done."""
        for name in attachments:
            with suppress(FileNotFoundError):
                self.disk.unlink(self.attached(claim, name))

    def release(self, claim: Claim, name: str, failed_name: str) -> None:
        """Put an attachment of a job that did not end well beside it into failed/."""
        stem, suffix = os.path.splitext(failed_name)
        self.publish(self.attached(claim, name), self.failed, stem, suffix)

    # -- batches ----------------------------------------------------------------------------------------------

    def append_part(self, claim: Claim, suffix: str, data: bytes, size: int) -> int:
        """Append to a batch's answers, which are `size` bytes long; gives their new size.

        What a failed write left behind them is cut off; if somebody took the file away, a new one is begun.
        """
        path = self.part(claim, suffix)
        if size == 0 or not os.path.exists(path):
            size = 0
            self.disk.write(path, b"")
            self.disk.sync_folders([self.outbox])
        elif os.path.getsize(path) != size:
            self.disk.truncate(path, size)
        if data:
            self.disk.append(path, data)
        return size + len(data)

    def publish_body(self, claim: Claim, line: int, side: BinaryIO | None, body: bytes) -> str:
        """Put the body of one line into the outbox and give its file name, which no other batch can have."""
        staged = self.staging(f"{claim.token}:{line}", ".body")
        if side is None:
            self.disk.write(staged, body)
        elif not side.closed:
            # A close that fails cannot be repeated; a flush can.
            side.flush()
            side.close()
        return self.publish_staged_body(claim, line)

    def publish_staged_body(self, claim: Claim, line: int) -> str:
        """Put the staged body of one line into the outbox, if it is still there, and give its file name."""
        staged = self.staging(f"{claim.token}:{line}", ".body")
        name = names.body_of_line(claim.name, f"{claim.token}:{line}")
        with suppress(FileNotFoundError):
            self.disk.sync([staged], self.staged)
            self.disk.rename(staged, f"{self.outbox}/{name}")
        return name

    def stage_lines(self, claim: Claim, suffix: str, lines: Iterable[bytes]) -> str:
        """Write many lines that will become a file; gives its path, to be synced."""
        path = self.staging(claim.token, suffix)
        self.disk.write_lines(path, lines)
        return path

    def to_batch(self, claim: Claim, suffix: str) -> Claim:
        """Let the lines staged of a claimed array, which are durable, take its place as a batch of the same token."""
        batch = Claim(claim.name, claim.token, ".jsonl")
        self.disk.rename(self.staging(claim.token, suffix), self.path(batch))
        self.disk.sync_folders([self.active])
        self.remove(claim)
        return batch
