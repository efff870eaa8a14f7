"""The commands that look into the cache: `inboxd cache ls`, `show` and `purge`.

They work on the folder itself, whether a daemon serves the spool or not; `--folder` names that of a library.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from inboxd.daemon.cli_options import CONFIG, SPOOL, fail, spool_folder

if TYPE_CHECKING:
    from inboxd.cache.entry import Entry
    from inboxd.cache.store import Store

FOLDER = click.option("--folder", metavar="DIR", help="A cache that is no spool's: that of a library.")
# What is enough of a key to tell it from the others.
SHORT = 12


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose entries."""
    for option in (
        click.option("--older", metavar="TIME", help='Stored longer ago than this: "30s", "5m", "2h", "7d".'),
        click.option("--url", metavar="PATTERN", help="Of URLs like this; * stands for any text."),
        click.option("--api", metavar="NAME", help="Of this API: its name, or its origin."),
        FOLDER,
        CONFIG,
        SPOOL,
    ):
        command = option(command)
    return command


@click.group()
def cache() -> None:
    """Look into the cache."""


@cache.command()
@_filters
@click.option("--json", "as_json", is_flag=True, help="One line of JSON for each.")
def ls(spool: str | None, config: str | None, folder: str | None, as_json: bool, **filters: str | None) -> None:
    """List what is stored: key, age, time left, status, bytes, request; and what it saved."""
    store, now = _store(spool, config, folder), time.time()
    count = size = 0
    for key, entry in _chosen(store, now, **filters):
        count += 1
        size += entry.size
        if as_json:
            shown = {"key": key, "stored_at": entry.stored_at, "expires_at": entry.expires_at, "status": entry.status}
            click.echo(json.dumps({**shown, "bytes": entry.size, "request": entry.request}))
        else:
            left = _time(entry.expires_at - now) if entry.fresh(now) else "stale"
            request = f"{entry.request.get('method', '?')} {entry.request.get('url', '?')}"
            click.echo(
                f"{key[:SHORT]}  {_time(now - entry.stored_at):>5} {left:>5}  {entry.status} {entry.size:>9}  {request}"
            )
    if not as_json:
        click.echo(f"{_answers(count)}, {size} bytes of bodies")
        if folder is None:
            _say_uses(spool_folder(spool, config))


@cache.command()
@SPOOL
@CONFIG
@FOLDER
@click.argument("key")
def show(spool: str | None, config: str | None, folder: str | None, key: str) -> None:
    """Print one entry as it is stored; its KEY, or the beginning of that, is told by `ls`."""
    store = _store(spool, config, folder)
    found = [(name, entry) for name, entry in store.entries() if name.startswith(key)]
    if len(found) != 1:
        fail(f"{len(found)} entries begin with {key}" if found else f"no entry begins with {key}; `cache ls` has them")
    name, entry = found[0]
    click.echo(json.dumps({"key": name, **json.loads(entry.to_json(name))}, indent=2, ensure_ascii=False))


@cache.command()
@_filters
def purge(spool: str | None, config: str | None, folder: str | None, **filters: str | None) -> None:
    """Remove what is stored, all of it or what the options choose; it is called for again when it is wanted."""
    store = _store(spool, config, folder)
    if any(filters.values()):
        removed = sum(store.purge(key) for key, _ in _chosen(store, time.time(), **filters))
    else:
        removed = store.purge()
    click.echo(f"{_answers(removed)} removed")


def _store(spool: str | None, config: str | None, folder: str | None) -> Store:
    from inboxd.cache.store import Store

    path = folder or os.path.join(spool_folder(spool, config), "cache")
    if not os.path.isdir(path):
        fail(f"{path}: there is no cache; name a spool with --spool, or the folder of a library's with --folder")
    return Store(path)


def _chosen(
    store: Store, now: float, api: str | None, url: str | None, older: str | None
) -> Iterator[tuple[str, Entry]]:
    from fnmatch import fnmatchcase

    from inboxd.jobs.units import duration

    try:
        age = duration(older) if older is not None else None
    except ValueError as error:
        fail(f"--older: {error}", 2)
    for key, entry in store.entries():
        chosen = (
            (api is None or entry.request.get("api") == api)
            and (url is None or fnmatchcase(entry.request.get("url", ""), url))
            and (age is None or now - entry.stored_at > age)
        )
        if chosen:
            yield key, entry


def _say_uses(spool: str) -> None:
    """Say what the daemon counted, if one has ever served this spool."""
    from inboxd.daemon.status import cache_in_words, gather

    try:
        found: dict[str, Any] = gather(spool) or {}
        uses = (found.get("daemon") or {}).get("cache", {})
        if uses.get("uses"):
            click.echo(cache_in_words(uses).strip())
    except OSError as error:
        click.echo(f"inboxd: {error.filename}: cannot be looked at: {error.strerror}", err=True)
        sys.exit(1)


def _answers(count: int) -> str:
    return f"{count} answer{'s' * (count != 1)}"


def _time(seconds: float) -> str:
    """Write a time in its largest unit."""
    from inboxd.jobs.units import SECONDS

    unit = max(
        (unit for unit in SECONDS if unit != "ms" and SECONDS[unit] <= seconds), key=SECONDS.__getitem__, default="s"
    )
    return f"{seconds / SECONDS[unit]:.0f}{unit}"
