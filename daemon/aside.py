"""Jobs moved by people: put aside into hold/, released from there, taken back. All of it is plain files.

The one rule: each is a rename that never replaces anything, or an empty file in state/ of which the daemon takes note
within a second (`wishes`). A job in memory is first asked back into deferred/. Nothing here needs a daemon that runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from inboxd.daemon import names
from inboxd.daemon.names import Claim
from inboxd.daemon.spool import Spool
from inboxd.jobs.slips import meant

# Folders in which a job may be, in the order of its way; it may be on it while it is looked for.
WAY = ("inbox", "deferred", "active", "hold")
# Seconds in which a running daemon puts a job down, and between two looks whether it did.
PATIENCE, LOOK = 8.0, 0.05


class AsideError(Exception):
    """What was asked for cannot be done; the message says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job's file lies: its folder and its name there; `claim` when it has been claimed."""

    folder: str
    filename: str
    claim: Claim | None

    @property
    def name(self) -> str:
        """What people call the job."""
        return self.claim.name if self.claim else os.path.splitext(self.filename)[0]


def find(spool: Spool, want: str, folders: tuple[str, ...] = WAY) -> list[Place]:
    """Find the jobs called `want`: by name, file name or id. Raises FileNotFoundError where there is no spool."""
    # Twice, for it may have moved on from a folder not yet looked into to one that was.
    return list(_look(spool, want, folders)) or list(_look(spool, want, folders))


def _look(spool: Spool, want: str, folders: tuple[str, ...]) -> Iterator[Place]:
    for folder in folders:
        for filename in os.listdir(spool.folder(folder)):
            claim = names.parse(filename)
            if filename == want or (claim and want in {claim.name, claim.token}):
                yield Place(folder, filename, claim)
            elif claim is None and os.path.splitext(filename)[0] == want and names.is_job(filename):
                yield Place(folder, filename, None)


class Aside:
    """What people may do to the jobs of a spool; `pause` is how to wait a moment."""

    def __init__(self, spool: Spool, pause: Callable[[float], None] = time.sleep) -> None:
        self._spool = spool
        self._pause = pause

    def hold(self, want: str) -> str:
        """Put a job aside; gives the file's name in hold/. Raises AsideError, OSError.

        A batch that is under way may come there later, when its last calls have ended; `is_held` tells.
        """
        place = self._one(want, ("inbox", "deferred", "active"))
        served = place.folder == "active" and self._spool.is_served()
        if served and place.claim is not None and place.claim.many:
            self._hold_batch(place, place.claim)
        else:
            self._move(self._put_down(place) if served else place, "hold")
        return place.filename

    def is_held(self, filename: str) -> bool:
        """Tell whether a file lies in hold/."""
        return os.path.lexists(os.path.join(self._spool.folder("hold"), filename))

    def release(self, want: str) -> str:
        """Let a job that was put aside go on; gives the file's name. Raises AsideError, OSError."""
        held = find(self._spool, want, ("hold",))
        for place in () if held else find(self._spool, want, ("active",)):
            if self._spool.take_back("hold", place.filename):
                return place.filename
        place = self._one(want, ("hold",))
        self._spool.take_back("hold", place.filename)
        if place.claim is None:
            self._move(place, "inbox")
        else:
            self._spool.disk.set_mtime(os.path.join(self._spool.folder("hold"), place.filename), time.time())
            self._move(place, "deferred")
            self._spool.wish_for("put-down", place.filename)
        return place.filename

    def cancel(self, want: str) -> Place:
        """Take a job back: it will be answered `cancelled`, unless a call that is under way answers it first."""
        place = self._one(want, WAY)
        claim = place.claim or names.new_claim(place.filename)
        if place.folder in {"inbox", "hold"}:
            self._move(place, "deferred", claim.filename)
        self._spool.wish_for("cancel", claim.filename)
        return Place(place.folder, claim.filename, claim)

    def _one(self, want: str, folders: tuple[str, ...]) -> Place:
        found = find(self._spool, want, folders)
        if len(found) == 1:
            return found[0]
        if found:
            files = ", ".join(f"{place.folder}/{place.filename}" for place in found)
            raise AsideError(f"{want}: there are {len(found)} jobs of that name; name one by its file or id: {files}")
        if self._spool.is_answered(want):
            raise AsideError(f"{want}: it is answered already; `inboxd why {want}` says how it went")
        raise AsideError(f"{want}: no such job in {'/, '.join(folders)}/{nearest(self._spool, want, folders)}")

    def _put_down(self, place: Place) -> Place:
        """Ask a running daemon for a job that it has in memory."""
        assert place.claim is not None
        self._spool.wish_for("put-down", place.filename)
        for _ in range(int(PATIENCE / LOOK)):
            self._pause(LOOK)
            if self._spool.is_deferred(place.claim):
                return Place("deferred", place.filename, place.claim)
            if not os.path.lexists(self._spool.path(place.claim)):
                raise AsideError(f"{place.name}: it was answered just now")
        raise AsideError(f"{place.name}: it is being called just now; try again when that has ended")

    def _hold_batch(self, place: Place, claim: Claim) -> None:
        """Ask a running daemon to begin no further line of a batch, and to put it aside when none is under way."""
        self._spool.wish_for("hold", place.filename)
        for _ in range(int(PATIENCE / LOOK)):
            self._pause(LOOK)
            gone = not (self._spool.is_wanted("hold", claim) or os.path.lexists(self._spool.path(claim)))
            if self.is_held(place.filename):
                return
            if gone:
                raise AsideError(f"{place.name}: it was answered just now")

    def _move(self, place: Place, folder: str, filename: str = "") -> None:
        source = os.path.join(self._spool.folder(place.folder), place.filename)
        try:
            self._spool.disk.rename_new(source, os.path.join(self._spool.folder(folder), filename or place.filename))
        except FileExistsError:
            raise AsideError(f"{place.filename}: there is one of that name in {folder}/ already") from None
        except FileNotFoundError:
            raise AsideError(f"{place.name}: it has moved on just now; try again") from None


def nearest(spool: Spool, want: str, folders: tuple[str, ...]) -> str:
    """Give the end of a sentence that names the job which was probably meant, if there is one."""
    return meant(want, {place for folder in folders for place in map(_name, os.listdir(spool.folder(folder)))})


def _name(filename: str) -> str:
    claim = names.parse(filename)
    return claim.name if claim else os.path.splitext(filename)[0]
