"""`inboxd fsck`: holds a spool that nobody serves against what INTERNALS.md promises of one, and mends what it can.

The one rule: nothing is deleted. What cannot stay where it is goes to hold/ under a name that is free, and whatever is
done or found is said. What a crash leaves behind is none of its business: the next start mends that.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from inboxd.daemon import children, names
from inboxd.daemon.folders import FOLDERS
from inboxd.daemon.names import Claim
from inboxd.daemon.recovery import SUFFIXES
from inboxd.daemon.settlement import ANSWER, BODY, FAILED, LINES, SINGLE, SUMMARY
from inboxd.daemon.spool import Spool

# Of our own small files these are JSON; the daemon makes them anew.
STATE_FILES = ("status.json", "lanes.json", "crashes.json")


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that was not as it should be: where, what, and what was done."""

    path: str
    what: str
    done: str


class Fsck:
    """One look at one spool, whose lock the caller holds."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._claims: dict[str, Claim] = {}

    def run(self) -> Iterator[Found]:
        """Look at everything once; gives what was found. Raises OSError, after which it may be run again."""
        yield from self._folders()
        yield from self._strangers()
        yield from self._jobs()
        yield from self._attachments()
        yield from self._staged()
        yield from self._outbox()
        yield from self._state()

    def _aside(self, folder: str, filename: str, what: str) -> Found:
        """Move something to hold/."""
        source, hold = os.path.join(self._spool.folder(folder), filename), self._spool.folder("hold")
        stem, suffix = os.path.splitext(filename.lstrip(".") or "file")
        for free in names.stems(stem):
            try:
                self._spool.disk.rename_new(source, os.path.join(hold, free + suffix))
            except FileExistsError:
                continue
            return Found(f"{folder}/{filename}", what, f"moved to hold/{free}{suffix}")
        raise AssertionError("names never run out")

    # -- what lies where ----------------------------------------------------------------------------------------

    def _folders(self) -> Iterator[Found]:
        for name in FOLDERS:
            path = self._spool.folder(name)
            if os.path.lexists(path) and not os.path.isdir(path):
                # Of the hold itself this cannot be cured by putting it there.
                free = next(stem for stem in names.stems(f"{path}.fsck") if not os.path.lexists(stem))
                self._spool.disk.rename_new(path, free)
                yield Found(name, "not a folder", f"renamed to {os.path.basename(free)}")
            if not os.path.isdir(path):
                os.makedirs(path)
                yield Found(name, "the folder is missing", "made")

    def _strangers(self) -> Iterator[Found]:
        """Whatever is no regular file, or has a name that none of ours has, is in nobody's way in hold/."""
        for folder in ("active", "deferred", "state/staged"):
            for filename in sorted(os.listdir(self._spool.folder(folder))):
                mode = os.lstat(os.path.join(self._spool.folder(folder), filename)).st_mode
                if not stat.S_ISREG(mode):
                    yield self._aside(folder, filename, "not a regular file")
                elif not self._is_ours(folder, filename):
                    yield self._aside(folder, filename, "a name that inboxd does not give here")

    @staticmethod
    def _is_ours(folder: str, filename: str) -> bool:
        if folder == "state/staged":
            return _staged(filename) is not None
        return names.parse(filename) is not None or (folder == "active" and names.parse_attached(filename) is not None)

    def _jobs(self) -> Iterator[Found]:
        """Each token is one job, in one place; the one in deferred/ is the newer, and lies there with its trace."""
        for folder in ("deferred", "active"):
            for filename in sorted(os.listdir(self._spool.folder(folder))):
                claim = names.parse(filename)
                if claim is None:
                    continue
                other = self._claims.setdefault(claim.token, claim)
                twins = {other.kind, claim.kind} == {SINGLE, LINES} and folder == "active" and other.name == claim.name
                if other is not claim and not twins:
                    yield self._aside(folder, filename, "a second file of the same job")
                elif folder == "active" and claim.kind == SINGLE and self._answered(claim):
                    yield self._aside(folder, filename, "its answer is in the outbox already")

    def _answered(self, claim: Claim) -> bool:
        return any(f'"claim":"{claim.token}"'.encode() in answer for answer in self._answers(claim.name))

    def _answers(self, name: str) -> Iterator[bytes]:
        for stem in names.stems(name):
            path = os.path.join(self._spool.outbox, stem + ANSWER)
            if not os.path.isfile(path):
                return
            with open(path, "rb") as file:
                yield file.read(4096)

    def _attachments(self) -> Iterator[Found]:
        held = {claim.token for one in os.listdir(self._spool.folder("hold")) if (claim := names.parse(one))}
        staged = {found[0] for one in os.listdir(self._spool.staged) if (found := _staged(one))}
        for filename in sorted(os.listdir(self._spool.active)):
            attached = names.parse_attached(filename)
            if attached and attached[0] not in held | staged | self._claims.keys():
                yield self._aside("active", filename, "an attachment of a job that is nowhere")

    # -- answers ------------------------------------------------------------------------------------------------

    def _staged(self) -> Iterator[Found]:
        """Save what the next start would throw away though nothing else has it."""
        found = [
            (filename, *parts) for filename in sorted(os.listdir(self._spool.staged)) if (parts := _staged(filename))
        ]
        whole = {token for filename, token, suffix in found if suffix == ANSWER and self._is_whole(filename)}
        begun = {claim.token for claim in self._spool.parts()}
        for filename, token, suffix in found:
            batch = token.partition(":")[0]
            if token in whole or batch in self._claims or (batch in begun and suffix in {SUMMARY, LINES + FAILED}):
                continue
            what = "torn, and its job is nowhere" if suffix == ANSWER else "a piece of a job that is nowhere"
            yield self._aside("state/staged", filename, what)

    def _is_whole(self, filename: str) -> bool:
        """Tell whether a staged answer is one that the next start can publish."""
        return _is_answer(os.path.join(self._spool.staged, filename))

    def _outbox(self) -> Iterator[Found]:
        held = {claim.token for one in os.listdir(self._spool.folder("hold")) if (claim := names.parse(one))}
        staged = {found[0] for one in os.listdir(self._spool.staged) if (found := _staged(one))}
        for filename in sorted(os.listdir(self._spool.outbox)):
            path = os.path.join(self._spool.outbox, filename)
            part = names.parse_part(filename)
            if not os.path.isfile(path) or os.path.islink(path):
                yield self._aside("outbox", filename, "not a regular file")
            elif part is not None and part.token not in held | staged | self._claims.keys():
                yield self._aside("outbox", filename, "the unfinished answers of a batch that is nowhere")
            elif filename.endswith(ANSWER) and not _is_json(path):
                yield self._aside("outbox", filename, "not whole, or not an answer")
            elif filename.endswith(LINES) and not _ends_whole(path):
                yield self._aside("outbox", filename, "its last line is not whole")

    def _state(self) -> Iterator[Found]:
        for name in STATE_FILES:
            path = self._spool.state(name)
            if os.path.lexists(path) and not (os.path.isfile(path) and _is_json(path)):
                yield self._aside("state", name, "cannot be read; the daemon makes it anew")


def _staged(filename: str) -> tuple[str, str] | None:
    """Read the name of something staged as token, with the number of a line perhaps, and suffix."""
    suffix = next((suffix for suffix in SUFFIXES if filename.endswith(suffix)), None)
    if suffix is None:
        return children.parent_of(filename)
    token, _, line = filename.removesuffix(suffix).partition(":")
    claim = names.parse(f"x~{token}{SINGLE}")
    if claim is None or (line and (not line.isdecimal() or suffix != BODY)):
        return None
    return filename.removesuffix(suffix), suffix


def _is_answer(path: str) -> bool:
    found = _read(path)
    return isinstance(found, dict) and {"id", "name", "status"} <= found.keys()


def _is_json(path: str) -> bool:
    return isinstance(_read(path), dict)


def _read(path: str) -> object:
    try:
        with open(path, "rb") as file:
            return json.load(file)
    except (ValueError, RecursionError):
        return None


def _ends_whole(path: str) -> bool:
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        if file.tell() == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def check(spool: Spool) -> list[Found]:
    """Look until there is nothing more to find: one thing put right may uncover another. Raises OSError."""
    found: list[Found] = []
    while more := list(Fsck(spool).run()):
        found += more
    return found
