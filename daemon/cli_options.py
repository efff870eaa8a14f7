"""What the commands share: their common options, how spool and config are found, and how a command fails."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import click

SPOOL = click.option("--spool", metavar="DIR", help="The spool folder [env INBOXD_SPOOL; default ./spool].")
CONFIG = click.option(
    "--config", metavar="FILE", help="The config [env INBOXD_CONFIG; default ./inboxd.toml if present]."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")


def fail(message: str, code: int = 1) -> NoReturn:
    """Say what is wrong on standard error, and exit."""
    click.echo(f"inboxd: {message}", err=True)
    sys.exit(code)


def spool_folder(spool: str | None, config: str | None) -> str:
    """Find the spool as the daemon does; of a config only this one key is read, for all of it takes long to load."""
    near = spool or os.environ.get("INBOXD_SPOOL")
    file = config or os.environ.get("INBOXD_CONFIG") or ("inboxd.toml" if os.path.exists("inboxd.toml") else None)
    if near or file is None:
        return near or "./spool"
    import tomli

    try:
        with open(file, "rb") as opened:
            return os.path.join(os.path.dirname(file), tomli.load(opened)["spool"])
    except (OSError, ValueError, KeyError, TypeError):
        # The key is absent or the file is wrong; its reader has the default, or the words for that.
        return str(load_config(file, None).spool)


def status_of(folder: str) -> dict[str, Any]:
    """Tell what lies in a spool and how its daemon is doing; a command ends where there is no spool."""
    from inboxd.daemon.drop import NO_SPOOL
    from inboxd.daemon.status import gather

    try:
        found = gather(folder)
    except OSError as error:
        fail(f"{error.filename}: cannot be looked at: {error.strerror}")
    if found is None:
        fail(f"{folder}: {NO_SPOOL}")
    return found


def load_config(config: str | None, spool: str | None) -> Any:
    """Read the whole config; a mistake ends the command."""
    from inboxd.daemon.config import ConfigError, load

    try:
        return load(config, os.environ, spool=spool)
    except ConfigError as error:
        fail(str(error), 2)
