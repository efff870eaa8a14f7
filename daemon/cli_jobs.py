"""The commands for jobs on their way: why, hold, release, cancel, retry, and pause and resume for their APIs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from inboxd.daemon.cli_options import CONFIG, JSON, SPOOL, fail, load_config, spool_folder

if TYPE_CHECKING:
    from inboxd.daemon.aside import Aside
    from inboxd.daemon.switch import Switch

_Hands = TypeVar("_Hands")


def _spool(spool: str | None, config: str | None) -> Any:
    import os

    from inboxd.daemon.drop import NO_SPOOL
    from inboxd.daemon.spool import Spool

    folder = spool_folder(spool, config)
    found = Spool(folder)
    if not os.path.isdir(found.inbox):
        fail(f"{folder}: {NO_SPOOL}")
    return found


def _aside(spool: str | None, config: str | None) -> Aside:
    """Give the hands that move jobs."""
    from inboxd.daemon.aside import Aside

    return Aside(_spool(spool, config))


def _switch(spool: str | None, config: str | None) -> Switch:
    """Give the hands that pause APIs."""
    from inboxd.daemon.switch import Switch

    return Switch(_spool(spool, config), load_config(config, spool))


def _to_each(
    metavar: str, hands_of: Callable[[str | None, str | None], _Hands]
) -> Callable[[Callable[[_Hands, str], dict[str, Any]]], click.Command]:
    """Make a command of what is done to one: it takes many, says what came of each, and exits 1 if any failed."""

    def command_of(do: Callable[[_Hands, str], dict[str, Any]]) -> click.Command:
        """Give the command that does it, with the name and the help that `do` has."""

        @click.command(do.__name__, help=do.__doc__)
        @click.argument("names", nargs=-1, required=True, metavar=metavar)
        @JSON
        @CONFIG
        @SPOOL
        def command(names: tuple[str, ...], as_json: bool, config: str | None, spool: str | None) -> None:
            hands = hands_of(spool, config)
            _tell([_done(do, hands, name) for name in names], as_json=as_json)

        return command

    return command_of


def _done(do: Callable[[_Hands, str], dict[str, Any]], hands: _Hands, name: str) -> dict[str, Any]:
    from inboxd.daemon.aside import AsideError

    try:
        return do(hands, name)
    except AsideError as error:
        return {"name": name, "error": str(error)}
    except OSError as error:
        return {"name": name, "error": f"{error.filename}: {error.strerror}"}


def _tell(told: list[dict[str, Any]], *, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        for one in told:
            if "error" in one:
                click.echo(f"inboxd: {one['error']}", err=True)
            else:
                click.echo(one["said"])
    sys.exit(1 if any("error" in one for one in told) else 0)


@click.command()
@click.argument("name")
@JSON
@CONFIG
@SPOOL
def why(name: str, as_json: bool, config: str | None, spool: str | None) -> None:
    """Say in one sentence what a job waits for, or what became of it."""
    from inboxd.daemon.why import look, reason, sentence

    found, now = _spool(spool, config), time.time()
    try:
        seen = look(found, name, load_config(config, spool))
        said = sentence(found, name, seen, now)
    except LookupError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: cannot be looked at: {error.strerror}")
    if as_json:
        shown = [{"folder": one.folder, "file": one.filename, "why": reason(one, now)} for one in seen]
        click.echo(json.dumps(shown, indent=2))
    else:
        click.echo(said)


@_to_each("NAME...", _aside)
def hold(aside: Aside, name: str) -> dict[str, Any]:
    """Put jobs aside into hold/, where nothing happens to them.

    One that lies in inbox/ or deferred/ may as well be moved there by mv. A batch that is under way begins no further
    line, and goes there when its last calls have ended; released, it goes on where it was.
    """
    file = aside.hold(name)
    later = "" if aside.is_held(file) else ", when the calls under way have ended; no further line is begun"
    return {"name": name, "file": f"hold/{file}", "said": f"hold/{file}{later}"}


@_to_each("NAME...", _aside)
def release(aside: Aside, name: str) -> dict[str, Any]:
    """Let jobs go on that were put aside.

    By hand: mv NAME.json into inbox/, NAME~ID.json into deferred/ (and touch it).
    """
    file = aside.release(name)
    return {"name": name, "file": file, "said": file}


@_to_each("NAME...", _aside)
def cancel(aside: Aside, name: str) -> dict[str, Any]:
    """Take jobs back: they are answered `cancelled`, and their files go to failed/.

    A call that is under way goes on, and if it answers the job, that holds. A batch loses the lines that are not called
    yet. Without a daemon it happens when the next one starts.
    """
    place = aside.cancel(name)
    return {"name": name, "was": place.folder, "said": f"{place.name}: will be answered as cancelled"}


def _apis(config: Any) -> Any:
    from inboxd.jobs.api import Apis

    return Apis(config.apis, config.defaults)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Every job in failed/.")
@click.option("--api", help="Those for this API.")
@click.option("--since", metavar="TIME", help="Those that failed since then: 2h, 7d, or 2026-11-22T08:00.")
@JSON
@CONFIG
@SPOOL
def retry(
    names: tuple[str, ...],
    everything: bool,
    api: str | None,
    since: str | None,
    as_json: bool,
    config: str | None,
    spool: str | None,
) -> None:
    """Drop failed jobs again: a new round of attempts under the same id.

    By hand: mv failed/NAME.json inbox/ (with its attachments).
    """
    from inboxd.daemon.retry import Wanted, moment, retry_all

    if bool(names) == bool(everything or api or since):
        fail("name the jobs to retry, or say --all, --api or --since", 2)
    try:
        after = None if since is None else moment(since, time.time())
    except ValueError as error:
        fail(f"--since: {error}", 2)
    apis = _apis(load_config(config, spool)) if api else None
    moved, problems = retry_all(spool_folder(spool, config), names or None, Wanted(api, apis, after))
    if as_json:
        click.echo(json.dumps({"moved": moved, "problems": problems}, indent=2))
    else:
        for name in moved:
            click.echo(name)
        for problem in problems:
            click.echo(f"inboxd: {problem}", err=True)
        if not moved and not problems:
            click.echo("inboxd: no job in failed/ is one of these", err=True)
    sys.exit(1 if problems else 0)


@_to_each("API...", _switch)
def pause(switch: Switch, want: str) -> dict[str, Any]:
    """Make no more calls to an API; its jobs wait, and lose no attempts.

    By hand: touch state/paused/API, percent-encoded.
    """
    api = switch.pause(want)
    return {"name": api, "paused": True, "said": f"{api}: paused; `inboxd resume {api}` ends that"}


@_to_each("API...", _switch)
def resume(switch: Switch, want: str) -> dict[str, Any]:
    """Make calls to an API again.

    By hand: rm state/paused/API.
    """
    api, was = switch.resume(want)
    return {"name": api, "paused": False, "said": f"{api}: {'goes on' if was else 'was not paused'}"}
