"""The commands for whoever wants to see how it goes: top, and follow for one job."""

from __future__ import annotations

import time

import click

from inboxd.daemon.cli_options import CONFIG, SPOOL, fail, load_config, spool_folder, status_of

# Seconds between two looks at a log that says nothing.
LOOK = 0.1


@click.command()
@click.option("--every", type=click.FloatRange(min=0.1), default=1.0, show_default=True, help="Seconds between looks.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many looks.")
@CONFIG
@SPOOL
def top(every: float, count: int | None, config: str | None, spool: str | None) -> None:
    """Show the spool and its daemon, live, until Ctrl-C."""
    from contextlib import suppress
    from itertools import count as endless

    from rich.live import Live

    from inboxd.daemon.top import picture

    folder = spool_folder(spool, config)
    before = None
    with suppress(KeyboardInterrupt), Live(auto_refresh=False) as live:
        for number in endless(1):
            found = status_of(folder)
            live.update(picture(found, before, every), refresh=True)
            before = found
            if number == count:
                return
            time.sleep(every)


@click.command()
@click.argument("job", metavar="NAME|ID")
@CONFIG
@SPOOL
def follow(job: str, config: str | None, spool: str | None) -> None:
    """Print what the log says of one job, from its first line to its answer, as it comes.

    From the config's [log] file, or from the journal when there is none.
    """
    from inboxd.daemon.follow import Thread, journal, lines

    file = load_config(config, spool).log.file
    thread = Thread(job)
    try:
        for line in lines(file, lambda: time.sleep(LOOK)) if file else journal():
            if thread.takes(line):
                click.echo(line)
            if thread.over:
                return
    except OSError as error:
        if file is None:
            fail("the log goes to standard error; say [log] file in the config, or run the daemon under systemd")
        fail(f"{error.filename}: cannot be read: {error.strerror}")
    except KeyboardInterrupt:
        return
