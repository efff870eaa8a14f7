"""Where the files for systemd go: the units, the user, the folders, and a sample config, for `inboxd install-units`.

The one rule: nothing that an administrator wrote is changed. The units are ours and are written anew each time, to be
changed by `systemctl edit`; a config that is there stays as it is.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from importlib.resources import files

from inboxd.daemon.config import sample

# What is written where, seen from the root of the file system, or from the user's own home.
SYSTEM = {
    "inboxd.service": "etc/systemd/system/inboxd.service",
    "inboxd@.service": "etc/systemd/system/inboxd@.service",
    "inboxd-gateway.socket": "etc/systemd/system/inboxd-gateway.socket",
    "inboxd.sysusers": "etc/sysusers.d/inboxd.conf",
    "inboxd.tmpfiles": "etc/tmpfiles.d/inboxd.conf",
}
USER = {"inboxd-user.service": ".config/systemd/user/inboxd.service"}
CONFIG = "etc/inboxd/inboxd.toml"
# The command as it stands in the units, which are installed as they are where a package puts it there.
COMMAND = "/usr/bin/inboxd"
# What ProtectHome=yes takes out of a service's sight.
HOMES = ("/home/", "/root/", "/run/user/")

AFTER_SYSTEM = """\
systemd-sysusers && systemd-tmpfiles --create
systemctl daemon-reload && systemctl enable --now inboxd"""
AFTER_USER = "systemctl --user daemon-reload && systemctl --user enable --now inboxd"


class UnitsError(Exception):
    """The units cannot be installed; the message says why and what to do."""


def install(root: str, command: str, *, user: bool) -> Iterator[str]:
    """Write the files under `root`, with `command` as what is started; gives the path of each one written.

    Raises UnitsError for a command that a service could not see, and OSError.
    """
    if not user and command.startswith(HOMES):
        raise UnitsError(
            f"{command}: a system service does not see what lies in a home (ProtectHome=yes);"
            " install inboxd elsewhere, under /opt for example, or take --user"
        )
    if any(letter.isspace() or letter in "%\"'\\$" for letter in command):
        raise UnitsError(f"{command}: a path with such letters cannot stand in a unit; install inboxd elsewhere")
    for name, place in (USER if user else SYSTEM).items():
        text = files("inboxd.systemd").joinpath(name).read_text(encoding="utf-8")
        yield _write(os.path.join(root, place), text.replace(COMMAND, command))
    config = os.path.join(root, CONFIG)
    if not user and not os.path.lexists(config):
        yield _write(config, sample(), mode=0o640)


def _write(path: str, text: str, mode: int = 0o644) -> str:
    """Write a file whole or not at all."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    fd, unfinished = tempfile.mkstemp(dir=folder, prefix=".inboxd.")
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
        os.rename(unfinished, path)
    except OSError:
        os.unlink(unfinished)
        raise
    return path
