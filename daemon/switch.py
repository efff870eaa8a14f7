"""APIs that people pause and resume: an empty file in state/paused/ for each, of which a daemon takes note in a second.

The one rule: a name that nobody knows is refused, with what was probably meant, since a pause of it would hold up
nobody and not say so. Known are the APIs, functions and queues that the config or a daemon that runs has, and every
origin, which is an API of its own. What goes wrong: without a daemon, only the config that we were given can tell.
"""

from __future__ import annotations

import json
from contextlib import suppress
from importlib.metadata import entry_points
from urllib.parse import quote, unquote

from inboxd.daemon.aside import AsideError
from inboxd.daemon.config import Config
from inboxd.daemon.spool import Spool
from inboxd.jobs.api import Apis
from inboxd.jobs.handlers import ENTRY_POINTS, LANE, PUT
from inboxd.jobs.queuejobs import LANE as QUEUE_LANE
from inboxd.jobs.slips import meant

ORIGINS = "any other is called by its origin, as https://shop.example"


class Switch:
    """What people may do to the APIs of a spool that is served under `config`, as far as we know that."""

    def __init__(self, spool: Spool, config: Config) -> None:
        self._spool = spool
        self._config = config

    def pause(self, want: str) -> str:
        """Have no more calls made to an API; gives its name. Raises AsideError, OSError."""
        api = self._named(want, self._known())
        self._spool.wish_for("paused", quote(api, safe=""))
        return api

    def resume(self, want: str) -> tuple[str, bool]:
        """Have calls made again; gives the API's name, and whether it was paused. Raises AsideError, OSError."""
        # Whatever was paused by hand can be resumed.
        api = self._named(want, self._known() | set(map(unquote, self._spool.wishes("paused"))))
        return api, self._spool.take_back("paused", quote(api, safe=""))

    def _named(self, want: str, known: set[str]) -> str:
        if want in known:
            return want
        # Its jobs may belong to an API that has a name.
        with suppress(ValueError):
            if "://" in want:
                return Apis(self._config.apis, self._config.defaults).of(want).name
        raise AsideError(f"{want}: no such API{_instead(want, known)}")

    def _known(self) -> set[str]:
        functions = {PUT, *self._config.handlers, *entry_points(group=ENTRY_POINTS).names}
        queues = {*self._config.queues, *self._spool.queues()}
        lanes = {*(LANE + name for name in functions), *(QUEUE_LANE + name for name in queues)}
        return {*self._config.api, *lanes, *self._of_daemon()}

    def _of_daemon(self) -> set[str]:
        """Give the names that a daemon that runs has; it may have been told another config."""
        with suppress(OSError, ValueError), open(self._spool.state("status.json"), "rb") as file:
            if self._spool.is_served():
                said = json.load(file)
                return {*said.get("apis", ()), *said.get("lanes", ())}
        return set()


def _instead(want: str, known: set[str]) -> str:
    """Give the end of a sentence that says what was probably meant, and what there is of that kind."""
    kind = _kind(want)
    there = sorted(name for name in known if "://" not in name and _kind(name) == kind)
    near = meant(want, known)
    instead = f"{near} Known" if near else "; known"
    instead += f": {', '.join(there) or 'none that has a name'}"
    return instead if kind else f"{instead}; {ORIGINS}"


def _kind(name: str) -> str:
    """Tell functions and queues from APIs."""
    return next((kind for kind in (LANE, QUEUE_LANE) if name.startswith(kind)), "")
