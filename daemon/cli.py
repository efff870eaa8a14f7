"""The command line. Each command imports what it needs when it runs, so that `inboxd drop` starts at once."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, NoReturn

import click

import inboxd

SPOOL = click.option("--spool", metavar="DIR", help="The spool folder [env INBOXD_SPOOL; default ./spool].")
CONFIG = click.option(
    "--config", metavar="FILE", help="The config [env INBOXD_CONFIG; default ./inboxd.toml if present]."
)


def _fail(message: str, code: int = 1) -> NoReturn:
    click.echo(f"inboxd: {message}", err=True)
    sys.exit(code)


def _spool_folder(spool: str | None, config: str | None) -> str:
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
        return str(_load(file, None).spool)


def _load(config: str | None, spool: str | None) -> Any:
    from inboxd.daemon.config import ConfigError, load

    try:
        return load(config, os.environ, spool=spool)
    except ConfigError as error:
        _fail(str(error), 2)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(inboxd.__version__, prog_name="inboxd")
def main() -> None:
    """Drop a file, the call gets made."""


@main.command()
@CONFIG
@SPOOL
@click.option("--once", is_flag=True, help="Work off what is there, then exit.")
def run(config: str | None, spool: str | None, once: bool) -> None:
    """Serve a spool until told to stop (SIGTERM or Ctrl-C; twice for at once)."""
    from inboxd.daemon.config import load
    from inboxd.daemon.service import serve

    sys.exit(serve(_load(config, spool), lambda: load(config, os.environ, spool=spool), once=once))


@main.command()
@CONFIG
@SPOOL
def check(config: str | None, spool: str | None) -> None:
    """Read the config, say what it comes to, and stop."""
    from inboxd.cache.key import redact
    from inboxd.jobs.faults import Invalid
    from inboxd.jobs.handlers import LANE, Handlers
    from inboxd.jobs.vault import Vault

    loaded = _load(config, spool)
    try:
        handlers = Handlers(loaded.handlers, loaded.store, loaded.defaults, Vault(loaded.secrets))
    except Invalid as fault:
        _fail(fault.message, 2)
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
        _fail("--timeout says how long to --wait; give both", 2)
    try:
        dropped = drop_file(_spool_folder(spool, config), file, name)
    except DropError as error:
        _fail(str(error))
    if not wait:
        click.echo(dropped.name)
        return
    try:
        answer, code = wait_for(dropped, timeout)
    except OSError as error:
        _fail(f"{error.filename}: cannot be looked at: {error.strerror}; {dropped.name} was dropped all the same")
    if answer is None:
        _fail(f"no answer to {dropped.name} within {timeout:g} s; it stays in the spool and will be answered", code)
    sys.stdout.buffer.write(answer)
    sys.exit(code)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@CONFIG
@SPOOL
def status(as_json: bool, config: str | None, spool: str | None) -> None:
    """Say what lies in each folder, and how the daemon is doing."""
    from inboxd.daemon.drop import NO_SPOOL
    from inboxd.daemon.status import gather, in_words

    folder = _spool_folder(spool, config)
    try:
        found = gather(folder)
    except OSError as error:
        _fail(f"{error.filename}: cannot be looked at: {error.strerror}")
    if found is None:
        _fail(f"{folder}: {NO_SPOOL}")
    click.echo(json.dumps(found, indent=2) if as_json else in_words(found))


@main.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Every job in failed/.")
@CONFIG
@SPOOL
def retry(names: tuple[str, ...], everything: bool, config: str | None, spool: str | None) -> None:
    """Drop failed jobs again: a new round of attempts under the same id."""
    from inboxd.daemon.retry import retry_all

    if bool(names) == everything:
        _fail("name the jobs to retry, or say --all", 2)
    moved, problems = retry_all(_spool_folder(spool, config), None if everything else names)
    for name in moved:
        click.echo(name)
    for problem in problems:
        click.echo(f"inboxd: {problem}", err=True)
    sys.exit(1 if problems else 0)


@main.command()
@click.option("--folder", metavar="DIR", default="demo-spool", show_default=True, help="Where to put the demo's spool.")
def demo(folder: str) -> None:
    """Show the main road: a small API that fails now and then, a daemon, jobs, a bad file and a batch."""
    from inboxd.daemon.demo import show

    sys.exit(show(folder))
