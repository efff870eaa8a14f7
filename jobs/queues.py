"""All the queues of one folder, each opened when it is first asked for.

What a queue was made with is kept beside its messages, in `queue.json`; what the config says of it goes before that.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Mapping
from typing import Any, Self

import orjson
from pydantic import ValidationError

from inboxd.jobs.clock import Clock
from inboxd.jobs.files import Files
from inboxd.jobs.messages import MessageQueue
from inboxd.jobs.queueerrors import QueueError
from inboxd.jobs.queuesettings import NAME, QueueSettings
from inboxd.jobs.shelf import READY

_KEPT = "queue.json"


class NoQueue(QueueError):
    """There is no queue of that name, or none can have it."""


class Queues:
    """The queues in the folders below `folder`; `settings` are those that the config names."""

    def __init__(
        self,
        folder: str,
        settings: Mapping[str, QueueSettings] | None = None,
        *,
        clock: Clock | None = None,
        files: Files | None = None,
    ) -> None:
        self.folder = os.path.abspath(folder)
        self.settings = dict(settings or {})
        self.clock = clock or Clock()
        self._files = files or Files()
        self._open: dict[str, MessageQueue] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Give the names of the queues that are there, and of those in the config."""
        try:
            with os.scandir(self.folder) as entries:
                found = [one.name for one in entries if one.is_dir() and os.path.isdir(os.path.join(one.path, READY))]
        except FileNotFoundError:
            found = []
        return sorted({*found, *self.settings})

    def get(self, name: str) -> MessageQueue:
        """Give a queue that is there or in the config; raises NoQueue."""
        with self._lock:
            queue = self._open.get(name)
            if queue is None or not os.path.isdir(queue.folder):
                if name not in self.settings and not os.path.isdir(os.path.join(self._path(name), READY)):
                    raise NoQueue(f'there is no queue "{name}"')
                queue = self._opened(name, self._settings_of(name))
            return queue

    def create(self, name: str, **said: Any) -> MessageQueue:
        """Give a queue, made with the settings `said` if it is not there yet; raises NoQueue for a name that cannot be.

        Raises pydantic's ValidationError for settings that cannot be.
        """
        settings = QueueSettings.model_validate(said)
        with self._lock:
            path = self._path(name)
            if not os.path.isdir(os.path.join(path, READY)):
                self._keep(name, settings)
            return self._open.get(name) or self._opened(name, self._settings_of(name))

    def change(self, name: str, **said: Any) -> MessageQueue:
        """Change what a queue was made with; raises NoQueue, or ValidationError."""
        queue = self.get(name)
        settings = QueueSettings.model_validate(self._kept(name) | said)
        with self._lock:
            self._keep(name, settings)
            queue.settings = self._settings_of(name)
        return queue

    def remove(self, name: str) -> None:
        """Remove a queue with all its messages; raises NoQueue."""
        queue = self.get(name)
        with self._lock:
            self._open.pop(name, None)
            queue.close()
            shutil.rmtree(queue.folder)

    def turn(self, now: float) -> None:
        """Do what is due in the queues that are open, at `now` (wall time)."""
        for queue in tuple(self._open.values()):
            queue.turn(now)

    def close(self) -> None:
        """Let go of all files."""
        with self._lock:
            for queue in self._open.values():
                queue.close()
            self._open.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _path(self, name: str) -> str:
        if not re.fullmatch(NAME, name):
            raise NoQueue(f'no queue can be called "{name[:80]}"; expected up to 80 of A-Z a-z 0-9 _ - .')
        return os.path.join(self.folder, name)

    def _opened(self, name: str, settings: QueueSettings) -> MessageQueue:
        queue = MessageQueue(self._path(name), settings, clock=self.clock, files=self._files)
        self._open[name] = queue
        return queue

    def _settings_of(self, name: str) -> QueueSettings:
        config = self.settings.get(name)
        said = {} if config is None else config.model_dump(exclude_unset=True)
        return QueueSettings.model_validate(self._kept(name) | said)

    def _kept(self, name: str) -> dict[str, Any]:
        try:
            with open(os.path.join(self._path(name), _KEPT), "rb") as file:
                return QueueSettings.model_validate(orjson.loads(file.read())).model_dump(exclude_unset=True)
        except (OSError, ValueError, ValidationError):
            return {}

    def _keep(self, name: str, settings: QueueSettings) -> None:
        path = self._path(name)
        os.makedirs(path, exist_ok=True)
        kept = os.path.join(path, _KEPT)
        self._files.write(kept + ".new", orjson.dumps(settings.model_dump(exclude_unset=True)))
        self._files.rename(kept + ".new", kept)
        self._files.sync_folder(path)
