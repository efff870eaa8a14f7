"""The commands for whoever runs the machine: fsck, doctor, install-units, completion, man."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict

import click

from inboxd.daemon.cli_options import CONFIG, JSON, SPOOL, fail, load_config, spool_folder


@click.command()
@JSON
@CONFIG
@SPOOL
def fsck(as_json: bool, config: str | None, spool: str | None) -> None:
    """Hold the spool against what it should be, while no daemon runs; nothing is deleted.

    What cannot stay where it is goes to hold/. Exit 0: all is well; 1: something was put right; 2: it could not look.
    """
    from inboxd.daemon.drop import NO_SPOOL
    from inboxd.daemon.fsck import check
    from inboxd.daemon.spool import Spool, SpoolError

    folder = spool_folder(spool, config)
    looked_at = Spool(folder)
    if not os.path.isdir(looked_at.folder("state")):
        fail(f"{folder}: {NO_SPOOL}", 2)
    try:
        looked_at.lock()
        found = check(looked_at)
    except SpoolError as error:
        fail(str(error), 2)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", 2)
    finally:
        looked_at.unlock()
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        for one in found:
            click.echo(f"{one.path}: {one.what}: {one.done}")
        click.echo(f"{len(found)} things were put right" if found else "all is well", err=True)
    sys.exit(1 if found else 0)


@click.command()
@JSON
@CONFIG
@SPOOL
def doctor(as_json: bool, config: str | None, spool: str | None) -> None:
    """Look at the machine: filesystem, permissions, disk, inotify, open files, clock, certificates.

    Exit 1 when there is a problem; warnings alone are none. Run it as the daemon's user.
    """
    from inboxd.daemon.doctor import examine

    checks = list(examine(load_config(config, spool), time.time()))
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        for check in checks:
            click.echo(f"{check.verdict:<8} {check.what}: {check.text}")
    sys.exit(1 if any(check.verdict == "problem" for check in checks) else 0)


@click.command("install-units")
@click.option("--user", is_flag=True, help="For a daemon of your own, in your home.")
@click.option("--root", metavar="DIR", help="Write below this folder instead of / or your home.")
def install_units(user: bool, root: str | None) -> None:
    """Write the files for systemd, and say what to do next."""
    from shutil import which

    from inboxd.daemon.units import AFTER_SYSTEM, AFTER_USER, UnitsError, install

    command = which(sys.argv[0]) or which("inboxd")
    if command is None:
        fail("no command `inboxd` is installed; `pip install inboxd` makes one")
    try:
        for path in install(root or (os.path.expanduser("~") if user else "/"), os.path.abspath(command), user=user):
            click.echo(path)
    except UnitsError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: cannot be written: {error.strerror}")
    click.echo(f"\nNow:\n{AFTER_USER if user else AFTER_SYSTEM}", err=True)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete our commands: eval "$(inboxd completion bash)"."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(context.find_root().command, {}, "inboxd", "_INBOXD_COMPLETE").source())


@click.command()
@click.pass_context
def man(context: click.Context) -> None:
    """Print the manual page: inboxd man | man -l -."""
    from inboxd.daemon.manpage import page

    root = context.find_root().command
    assert isinstance(root, click.Group)
    click.echo(page(root), nl=False)
