"""The commands for message queues. They work on the folders themselves, beside a running daemon or without one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from inboxd.daemon.cli_options import CONFIG, SPOOL, fail, load_config

if TYPE_CHECKING:
    from inboxd.jobs.messages import MessageQueue
    from inboxd.jobs.queues import Queues

# The exit status of a receive that found nothing.
NOTHING = 3


def duration(value: str) -> float:
    """Read an amount of time, as everywhere."""
    from inboxd.jobs import units

    try:
        return units.duration(float(value) if value.replace(".", "", 1).isdigit() else value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


QUEUE = click.argument("name", metavar="QUEUE")
CONSUMER = click.option("--consumer", metavar="NAME", help="Only if this consumer holds the message.")


@contextmanager
def _queues(config: str | None, spool: str | None) -> Iterator[Queues]:
    """Open the queues of the spool; what cannot be done ends the command with a sentence."""
    from inboxd.daemon.folders import Folders
    from inboxd.jobs.files import Files
    from inboxd.jobs.queueerrors import QueueError
    from inboxd.jobs.queues import Queues

    loaded = load_config(config, spool)
    folder = Folders(loaded.spool).folder("queues")
    try:
        with Queues(folder, loaded.queues, files=Files(fsync=loaded.fsync == "group")) as queues:
            yield queues
    except QueueError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or folder}: {error.strerror}")


@contextmanager
def _queue(config: str | None, spool: str | None, name: str) -> Iterator[MessageQueue]:
    with _queues(config, spool) as queues:
        yield queues.get(name)


@click.group()
def queue() -> None:
    """Publish messages into queues, receive and confirm them."""


@queue.command()
@QUEUE
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--lines", is_flag=True, help="Each line is a message; those that came first are received first.")
@click.option("--text", is_flag=True, help="The message is text, not JSON.")
@click.option("--priority", type=click.IntRange(-1000, 1000), default=0, help="Higher goes first.")
@click.option("--delay", type=duration, help="Hide it for so long at first.")
@click.option("--lease", type=duration, help="How long whoever receives it has it, if he does not say.")
@click.option("--key", help="Publish nothing when there was a message of this key before.")
@CONFIG
@SPOOL
def publish(
    name: str, file: Any, lines: bool, text: bool, config: str | None, spool: str | None, key: str | None, **said: Any
) -> None:
    """Publish FILE (standard input if -), and print the id. The queue is made if it is not there."""
    from inboxd.jobs.faults import Invalid
    from inboxd.jobs.job import load
    from inboxd.jobs.message import Draft

    if lines and key is not None:
        fail("a key names one message; leave out --key or --lines", 2)

    def drafts(data: list[bytes]) -> Iterator[Draft]:
        """Read messages; the first that is wrong ends the command."""
        for number, line in enumerate(data, 1):
            try:
                yield Draft(line.decode() if text else load(line), key=key, **said)
            except (Invalid, UnicodeDecodeError) as error:
                why = error.message if isinstance(error, Invalid) else "not UTF-8"
                fail(f"message {number}: {why}; --text publishes what is no JSON", 2)

    data = file.read()
    given = list(drafts([line for line in data.splitlines() if line.strip()] if lines else [data]))
    with _queues(config, spool) as queues:
        for identifier in queues.create(name).publish_many(given):
            click.echo(identifier)


@queue.command()
@QUEUE
@click.option("-n", "--most", type=click.IntRange(1, 1000), default=1, show_default=True, help="As many at most.")
@click.option("--wait", type=duration, default="0", help="Wait so long for the first, up to 20 s.")
@click.option("--lease", type=duration, help="Have them for so long.")
@click.option("--consumer", metavar="NAME", help="For whom they are received.")
@CONFIG
@SPOOL
def receive(
    name: str,
    most: int,
    wait: float,
    lease: float | None,
    consumer: str | None,
    config: str | None,
    spool: str | None,
) -> None:
    """Receive messages and print each as a line of JSON, with its receipt; exit 3 when there is none."""
    with _queue(config, spool, name) as found:
        messages = found.receive(most, wait=wait, lease=lease, consumer=consumer)
    for message in messages:
        click.echo(json.dumps(message.to_dict(), ensure_ascii=False))
    sys.exit(0 if messages else NOTHING)


def _each(which: Sequence[str], act: Callable[[str | int], object]) -> None:
    """Do something with each message; says of each what could not be done, and then exits 1."""
    from inboxd.jobs.queueerrors import QueueError

    wrong = False
    for one in which:
        try:
            act(int(one) if one.isdigit() else one)
        except QueueError as error:
            wrong = True
            click.echo(f"inboxd: {error}", err=True)
    if wrong:
        sys.exit(1)


@queue.command()
@QUEUE
@click.argument("which", nargs=-1, required=True, metavar="RECEIPT...")
@CONSUMER
@CONFIG
@SPOOL
def confirm(name: str, which: tuple[str, ...], consumer: str | None, config: str | None, spool: str | None) -> None:
    """Be done with messages, named by receipt, id or number."""
    with _queue(config, spool, name) as found:
        _each(which, lambda one: found.confirm(one, consumer=consumer))


@queue.command()
@QUEUE
@click.argument("which", metavar="RECEIPT")
@click.argument("lease", type=duration)
@CONSUMER
@CONFIG
@SPOOL
def extend(name: str, which: str, lease: float, consumer: str | None, config: str | None, spool: str | None) -> None:
    """Let the lease of a message end LEASE from now."""
    with _queue(config, spool, name) as found:
        _each([which], lambda one: found.extend(one, lease, consumer=consumer))


@queue.command()
@QUEUE
@click.argument("which", nargs=-1, required=True, metavar="RECEIPT...")
@click.option("--delay", type=duration, default="0", help="Hide them for so long.")
@CONSUMER
@CONFIG
@SPOOL
def release(
    name: str, which: tuple[str, ...], delay: float, consumer: str | None, config: str | None, spool: str | None
) -> None:
    """Give messages back before their lease ends."""
    with _queue(config, spool, name) as found:
        _each(which, lambda one: found.release(one, delay=delay, consumer=consumer))


@queue.command("ls")
@click.argument("name", metavar="[QUEUE]", required=False)
@click.option("--leased", "place", flag_value="leased", help="Those that somebody has.")
@click.option("--dead", "place", flag_value="dead", help="Dead letters.")
@click.option("-n", "--most", type=click.IntRange(1), default=10, show_default=True, help="As many at most.")
@CONFIG
@SPOOL
def listing(name: str | None, place: str | None, most: int, config: str | None, spool: str | None) -> None:
    """Count the messages of each queue, or show the first of one, without taking them."""
    with _queues(config, spool) as queues:
        if name is not None:
            for message in queues.get(name).peek(most, place or "ready"):
                click.echo(json.dumps(message.to_dict(), ensure_ascii=False))
            return
        for one in queues.names():
            counts = queues.get(one).counts()
            click.echo(
                f"{one}: {counts.ready} ready, {counts.leased} leased, {counts.delayed} delayed, {counts.dead} dead"
            )


@queue.command()
@QUEUE
@click.option("--dead", is_flag=True, help="The dead letters, and nothing else.")
@CONFIG
@SPOOL
def purge(name: str, dead: bool, config: str | None, spool: str | None) -> None:
    """Remove all messages of a queue but its dead letters, and print how many these were."""
    with _queue(config, spool, name) as found:
        click.echo(found.purge(dead=dead))


@queue.command()
@QUEUE
@click.option("-n", "--most", type=click.IntRange(1), help="Files are moved whole until there are so many.")
@CONFIG
@SPOOL
def redrive(name: str, most: int | None, config: str | None, spool: str | None) -> None:
    """Bring dead letters back, with a new life, and print how many."""
    with _queue(config, spool, name) as found:
        click.echo(found.redrive(most))
