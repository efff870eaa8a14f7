"""The command that draws trees of jobs."""

from __future__ import annotations

import click

from inboxd.daemon.cli_options import CONFIG, SPOOL, fail, spool_folder


@click.command()
@click.argument("name")
@CONFIG
@SPOOL
def tree(name: str, config: str | None, spool: str | None) -> None:
    """Draw the jobs that follow the job NAME, each with its state."""
    from inboxd.daemon.drop import NO_SPOOL
    from inboxd.daemon.family import draw, gather
    from inboxd.daemon.spool import Spool

    folder = spool_folder(spool, config)
    try:
        nodes = gather(Spool(folder), name)
    except FileNotFoundError:
        fail(f"{folder}: {NO_SPOOL}")
    except OSError as error:
        fail(f"{error.filename}: cannot be looked at: {error.strerror}")
    if not nodes:
        fail(f"{name}: no such job in active/, deferred/ or outbox/")
    click.echo(draw(nodes))
