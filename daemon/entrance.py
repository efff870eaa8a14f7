"""The spool's entrance: how whoever is not the daemon's own machinery puts jobs into the inbox.

Complete or not at all, durable before anybody is told, and never over another file of the same name. Many files
share one sync.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

from inboxd.daemon.folders import Folders


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

    def drop_written(self, written: Mapping[str, str], folder: str) -> list[str]:
        """Move files that were written into `folder` into the inbox, durably, with one sync for all and in their order.

        `written` gives the path of each by the name that it is to have. Gives the names that were taken already; their
        files are removed.
        """
        taken = []
        self.disk.sync(list(written.values()), folder)
        for filename, path in written.items():
            try:
                self.disk.rename_new(path, os.path.join(self.inbox, filename))
            except FileExistsError:
                taken.append(filename)
                self.disk.unlink(path)
        self.disk.sync_folders([self.inbox])
        return taken

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
