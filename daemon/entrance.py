"""The spool's entrance: how whoever is not the daemon's own machinery puts jobs into the inbox.

Complete or not at all, durable before anybody is told, and never over another file of the same name. Many files
share one sync.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from inboxd.daemon.folders import Folders
from inboxd.jobs.ids import uuid7


class First(NamedTuple):
    """What came first under a key: the digest of what was sent, and the names of the jobs that were made of it."""

    digest: str
    names: tuple[str, ...]


# Where that is remembered, a file for each key.
_KEYS = "state/keys"


class Entrance(Folders):
    """The folders, with the moves into the inbox."""

    def drop(self, filename: str, data: bytes) -> None:
        """Put a job into the inbox, durably; raises FileExistsError while one of that name is there."""
        dropped = f"{self.inbox}/{filename}"
        unfinished = f"{self.inbox}/.{filename}.{os.getpid()}.tmp"
        try:
            self.disk.write(unfinished, data)
            self.disk.sync([unfinished], None)
            self.disk.rename_new(unfinished, dropped)
        except OSError:
            self.discard_written([unfinished])
            raise
        try:
            self.disk.sync_folders([self.inbox])
        except PermissionError:
            # Who may drop need not be able to list. What is claimed by now the daemon makes durable.
            with suppress(OSError):
                self.disk.sync_around(dropped)

    def drop_written(
        self, written: Mapping[str, str], folder: str, firsts: Mapping[str, First] | None = None
    ) -> list[str]:
        """Move files that were written into `folder` into the inbox, durably, with one sync for all and in their order.

        `written` gives the path of each by the name that it is to have; what came first under which keys is remembered
        with them. Gives the names that were taken already; their files are removed.
        """
        taken = []
        notes = self._noted(firsts or {}, folder)
        try:
            self.disk.sync([*written.values(), *notes.values()], folder)
            for filename, path in written.items():
                try:
                    self.disk.rename_new(path, os.path.join(self.inbox, filename))
                except FileExistsError:
                    taken.append(filename)
                    self.disk.unlink(path)
            before = {os.path.splitext(filename)[0] for filename in taken}
            for name, path in notes.items():
                # What was there already came first.
                if firsts and before.isdisjoint(firsts[name].names):
                    self.disk.rename(path, self._key(name))
            self.disk.sync_folders([self.inbox, self.folder(_KEYS)] if notes else [self.inbox])
        finally:
            self.discard_written(list(notes.values()))
        return taken

    def _noted(self, firsts: Mapping[str, First], folder: str) -> dict[str, str]:
        """Write what came first under each key into `folder`; gives the paths, to be synced."""
        notes = {name: f"{folder}/{uuid7()}.key" for name in firsts}
        for name, path in notes.items():
            self.disk.write(path, json.dumps(firsts[name]).encode())
        return notes

    def first(self, name: str) -> First | None:
        """Give what came first under the key of that name, if that is remembered."""
        try:
            with open(self._key(name), "rb") as file:
                digest, names = json.load(file)
        except (FileNotFoundError, ValueError):
            return None
        return First(digest, tuple(names))

    def _key(self, name: str) -> str:
        return f"{self.folder(_KEYS)}/{name}"

    def discard_written(self, paths: list[str]) -> None:
        """Remove files that were written and will not be dropped, as far as they are there."""
        for path in paths:
            with suppress(OSError):
                self.disk.unlink(path)

    def drop_again(self, filename: str) -> None:
        """Move a file from failed/ back into the inbox, a sheet into the folder of its call, never over another."""
        target = f"{self.inbox}/{filename}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        self.disk.rename_new(f"{self.failed}/{filename}", target)
