"""Whose files are accepted as jobs: the users that the config names, as the numbers that the disk knows them by."""

from __future__ import annotations

import pwd
from collections.abc import Iterable

from inboxd.daemon.lock import SpoolError


def uids(users: Iterable[str]) -> frozenset[int]:
    """Give the uids of users by name; raises SpoolError for one that is not there."""
    found: set[int] = set()
    for user in users:
        try:
            found.add(pwd.getpwnam(user).pw_uid)
        except KeyError:
            raise SpoolError(f'owners: there is no user "{user}" on this machine') from None
    return frozenset(found)
