"""The command line. Each command imports what it needs when it runs, so that `inboxd drop` starts at once."""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any

import click

import inboxd
from inboxd.daemon.cli_options import CONFIG, JSON, SPOOL, fail, load_config, spool_folder, status_of

# Commands that have a module of their own, which is loaded when one of them is asked for.
_MODULES = {
    "cache": ("cache",),
    "jobs": ("cancel", "hold", "pause", "release", "resume", "retry", "why"),
    "queue": ("queue",),
    "system": ("completion", "doctor", "fsck", "install-units", "man"),
    "tree": ("tree",),
    "watch": ("follow", "top"),
}
_MODULE_OF = {command: module for module, commands in _MODULES.items() for command in commands}


class Commands(click.Group):
    """All commands: those of this module, and those of the others by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give their names, in order."""
        return sorted([*super().list_commands(ctx), *_MODULE_OF])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Give one by its name."""
        if cmd_name not in _MODULE_OF:
            return super().get_command(ctx, cmd_name)
        found = getattr(import_module(f"inboxd.daemon.cli_{_MODULE_OF[cmd_name]}"), cmd_name.replace("-", "_"))
        assert isinstance(found, click.Command)
        return found


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(inboxd.__version__, prog_name="inboxd")
def main() -> None:
    """Drop a file, the call gets made."""


@main.command()
@CONFIG
@SPOOL
@click.option("--once", is_flag=True, help="Work off what is there, then exit.")
@click.option(
    "--log-level",
    "level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="Instead of the config's [log] level.",
)
def run(config: str | None, spool: str | None, once: bool, level: str | None) -> None:
    """Serve a spool until told to stop (SIGTERM or Ctrl-C; twice for at once).

    SIGHUP reads the config anew; SIGUSR1 logs everything, SIGUSR2 as much as before.
    """
    from inboxd.daemon.config import load
    from inboxd.daemon.service import serve

    def read() -> Any:
        return with_level(load(config, os.environ, spool=spool), level)

    sys.exit(serve(with_level(load_config(config, spool), level), read, once=once))


def with_level(config: Any, level: str | None) -> Any:
    """Give the config with another log level, if there is one."""
    return config.model_copy(update={"log": config.log.model_copy(update={"level": level})}) if level else config


@main.command()
@CONFIG
@SPOOL
def check(config: str | None, spool: str | None) -> None:
    """Read the config, say what it comes to, and stop."""
    from inboxd.cache.key import redact
    from inboxd.jobs.faults import Invalid
    from inboxd.jobs.handlers import LANE, Handlers
    from inboxd.jobs.vault import Vault

    loaded = load_config(config, spool)
    try:
        handlers = Handlers(loaded.handlers, loaded.store, loaded.defaults, Vault(loaded.secrets))
    except Invalid as fault:
        fail(fault.message, 2)
    click.echo(f"ok: spool {loaded.spool}, {loaded.threads} threads, named APIs: {len(loaded.apis)}")
    for api in loaded.apis:
        pace = f"{api.rate.calls:g} calls per {api.rate.period:g} s" if api.rate else "no limit"
        click.echo(f"  {api.name}: {redact(api.base_url)}, {pace}, {api.attempts} attempts, {api.timeout:g} s each")
        for name in api.calls:
            click.echo(f"    {api.name}.{name}")
    for sentence in loaded.missing_secrets():
        click.echo(f"inboxd: {sentence}", err=True)
    for name, handler in loaded.handlers.items():
        lane = handlers.lane(LANE + name)
        assert lane is not None
        where = "in processes" if handler.process else "on threads"
        click.echo(f"  do {name}: {where}, {lane.attempts} attempts, {lane.timeout:g} s each")


@main.command()
@click.argument("what", type=click.Choice(["job", "answer", "config"]))
def schema(what: str) -> None:
    """Print the JSON Schema of a job, an answer or the config."""
    from inboxd.daemon.schemas import schema_of

    click.echo(json.dumps(schema_of(what), indent=2))


@main.command()
@click.argument("file", type=click.Path(allow_dash=True, dir_okay=False, exists=True))
@click.option("--name", help="The job's name; else the file's, or one made up for standard input.")
@click.option(
    "--wait", is_flag=True, help="Wait for the answer and print it: exit 0 done, 1 failed, 2 rejected, 3 late."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long --wait waits; for ever when absent.",
)
@CONFIG
@SPOOL
def drop(file: str, name: str | None, wait: bool, timeout: float | None, config: str | None, spool: str | None) -> None:
    """Drop a job into the inbox, whole or not at all (- reads it from standard input)."""
    from inboxd.daemon.drop import DropError, drop_file, wait_for

    if timeout is not None and not wait:
        fail("--timeout says how long to --wait; give both", 2)
    try:
        dropped = drop_file(spool_folder(spool, config), file, name)
    except DropError as error:
        fail(str(error))
    if not wait:
        click.echo(dropped.name)
        return
    try:
        answer, code = wait_for(dropped, timeout)
    except OSError as error:
        fail(f"{error.filename}: cannot be looked at: {error.strerror}; {dropped.name} was dropped all the same")
    if answer is None:
        fail(f"no answer to {dropped.name} within {timeout:g} s; it stays in the spool and will be answered", code)
    sys.stdout.buffer.write(answer)
    sys.exit(code)


@main.command()
@JSON
@CONFIG
@SPOOL
def status(as_json: bool, config: str | None, spool: str | None) -> None:
    """Say what lies in each folder, and how the daemon is doing."""
    from inboxd.daemon.status import in_words

    found = status_of(spool_folder(spool, config))
    click.echo(json.dumps(found, indent=2) if as_json else in_words(found))


@main.command()
@click.option("--folder", metavar="DIR", default="demo-spool", show_default=True, help="Where to put the demo's spool.")
def demo(folder: str) -> None:
    """Show the main road: a small API that fails now and then, a daemon, jobs, a bad file and a batch."""
    from inboxd.daemon.demo import show

    sys.exit(show(folder))
