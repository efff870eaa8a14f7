"""The commands for whoever runs the machine: `install-units`."""

from __future__ import annotations

import os
import shutil
import sys

import click


@click.command("install-units")
@click.option("--user", is_flag=True, help="For a daemon of your own, in your home.")
@click.option("--root", metavar="DIR", help="Write below this folder instead of / or your home.")
def install_units(user: bool, root: str | None) -> None:
    """Write the files for systemd, and say what to do next."""
    from inboxd.daemon.units import AFTER_SYSTEM, AFTER_USER, UnitsError, install

    command = shutil.which(sys.argv[0]) or shutil.which("inboxd")
    if command is None:
        raise click.ClickException("no command `inboxd` is installed; `pip install inboxd` makes one")
    try:
        for path in install(root or (os.path.expanduser("~") if user else "/"), os.path.abspath(command), user=user):
            click.echo(path)
    except UnitsError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: cannot be written: {error.strerror}") from None
    click.echo(f"\nNow:\n{AFTER_USER if user else AFTER_SYSTEM}", err=True)
