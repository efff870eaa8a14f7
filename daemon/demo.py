"""`inboxd demo`: the main road in some seconds, with a real daemon, a real spool and a small API on loopback.

It shows and then checks: its exit status is 0 only when every answer is as it must be and the daemon stopped in good
order. It removes nothing but what an earlier demo has made.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text
from rich.tree import Tree

from inboxd.daemon import demojobs
from inboxd.daemon.demoapi import Shop
from inboxd.daemon.spool import SHOWN, Spool

# Seconds: all of it takes about six; a daemon that needs so long is broken.
LONGEST = 20.0
# What a daemon may need to stop, when the demo is ended before its end.
STOPPING = 5.0
# Between two looks at the log.
LOOK = 0.02
CONFIG, LOG, SPOOL = "inboxd.toml", "inboxd.log", "spool"
# Files of one folder that the tree names.
NAMED = 4

_COLOURS = {
    r"\bstatus=done\b": "green",
    r"\bstatus=(failed|rejected)\b": "red",
    r"\blevel=(warning|error)\b": "yellow",
    r"\bevent=\S+": "bold",
    r"\bts=\S+": "dim",
}
_ANSWERED_LINE = re.compile(rf"event=answered .*\bname={demojobs.BATCH} line=\d+")
# Of the batch only what did not go well at once is shown; its ids end with the number of their line.
_PLAIN = re.compile(r"event=attempt id=\S+:\d+ .*\bstatus=200\b|event=answered .*\bstatus=done\b.*\battempts=1\b")


class Refused(Exception):
    """The demo cannot be shown here; the message says why."""


def show(folder: str) -> int:
    """Show the demo in `folder`; gives the exit status."""
    # A daemon must not outlive its demo, however that is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console(highlight=False, soft_wrap=True, markup=False)
    try:
        clear(folder)
        with Shop() as shop:
            wrong = Demo(console, folder, shop).run()
    except (Refused, OSError) as error:
        sys.stderr.write(f"inboxd: {error}\n")
        return 1
    for problem in wrong:
        console.print(f"wrong: {problem}", style="red")
    if wrong:
        return 1
    _what_now(console, folder)
    return 0


def clear(folder: str) -> None:
    """Remove what an earlier demo has made; raises Refused when there is anything else."""
    if not os.path.lexists(folder):
        return
    if os.path.islink(folder) or not os.path.isdir(folder):
        raise Refused(f"{folder}: not a folder; name another with --folder")
    if not os.listdir(folder):
        return
    stranger = next(_strangers(folder), None)
    if stranger is not None:
        raise Refused(f"{folder} holds {stranger}, which no demo has made; name another folder with --folder")
    if Spool(os.path.join(folder, SPOOL)).is_served():
        raise Refused(f"{folder}: a daemon serves its spool; stop that first")
    shutil.rmtree(folder)


def _strangers(folder: str) -> Iterator[str]:
    """Give the paths within `folder` that are not of a demo."""
    try:
        with open(os.path.join(folder, CONFIG), encoding="utf-8", errors="replace") as file:
            if file.readline() != demojobs.MARK:
                yield CONFIG
    except FileNotFoundError:
        yield next(iter(os.listdir(folder)))
    ours = {"", SPOOL, *(f"{SPOOL}/{name}" for name in (*SHOWN, "queues"))}
    for parent, folders, files in os.walk(folder):
        place = "" if parent == folder else os.path.relpath(parent, folder)
        if place.startswith((f"{SPOOL}/state", f"{SPOOL}/cache")):
            continue
        for name in folders:
            path = os.path.join(place, name)
            known = path in ours or path in {f"{SPOOL}/state", f"{SPOOL}/cache"}
            if not known or os.path.islink(os.path.join(folder, path)):
                yield path
        for name in files:
            mine = name in {CONFIG, LOG} if not place else bool(demojobs.NAMES & set(re.split("[.~@]", name)))
            if not mine:
                yield os.path.join(place, name)


class Demo:
    """One showing: the daemon, its log so far, and what there is to do."""

    def __init__(self, console: Console, folder: str, shop: Shop) -> None:
        self._console = console
        self._shop = shop
        self._folder = folder
        self._spool = Spool(os.path.join(folder, SPOOL))
        self._examples = demojobs.examples(shop.url)
        self._deadline = time.monotonic() + LONGEST
        self._ready = False
        self._batch = False
        self._lines = 0

    def run(self) -> list[str]:
        """Show everything; gives what was not as it should be."""
        os.makedirs(self._folder, exist_ok=True)
        with open(os.path.join(self._folder, CONFIG), "w", encoding="utf-8") as file:
            file.write(demojobs.config(self._shop.url))
        self._say(f"A small shop at {self._shop.url} fails now and then, and a daemon serves {self._folder}/{SPOOL}.")
        with open(os.path.join(self._folder, LOG), "a+b") as log, self._daemon() as daemon:
            problems = self._work(daemon, log)
        if not problems:
            self._results()
            problems = demojobs.wrong(self._spool, self._examples)
        if self._shop.refused:
            problems.append(f"{self._shop.refused} calls were over the shop's rate")
        return problems

    @contextlib.contextmanager
    def _daemon(self) -> Iterator[subprocess.Popen[bytes]]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("INBOXD_")}
        command = [sys.executable, "-m", "inboxd", "run", "--config", os.path.join(self._folder, CONFIG)]
        # In a session of its own Ctrl-C ends the demo, which then ends the daemon.
        daemon = subprocess.Popen(command, env=plain, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603  # our own program
        try:
            yield daemon
        finally:
            if daemon.poll() is None:
                daemon.terminate()
            try:
                daemon.wait(STOPPING)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _work(self, daemon: subprocess.Popen[bytes], log: BinaryIO) -> list[str]:
        """Drop everything and wait for the answers; gives what went wrong on the way."""

        def until(done: Callable[[], bool]) -> bool:
            """Show the log until it is done; False when the daemon ends before, or the demo's time."""
            while not done():
                if daemon.poll() is not None or time.monotonic() > self._deadline:
                    return False
                self._follow(log)
                time.sleep(LOOK)
            self._follow(log)
            return True

        if not until(lambda: self._ready):
            return ["the daemon did not start"]
        self._say("Seven files are dropped; one of them is no job.")
        self._drop_singles()
        if not until(self._singles_answered):
            return ["not all jobs were answered in time"]
        self._say(f"A batch of {demojobs.LINES} calls; the shop takes them at its rate, and some only the second time.")
        self._batch = True
        self._spool.drop(f"{demojobs.BATCH}.jsonl", demojobs.batch(self._shop.url))
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=self._console, disable=not self._console.is_terminal) as progress:
            bar = progress.add_task(f"{demojobs.BATCH}.jsonl", total=demojobs.LINES)

            def batch_answered() -> bool:
                progress.update(bar, completed=self._lines)
                return demojobs.batch_answers(self._spool) is not None and self._lines >= demojobs.LINES

            if not until(batch_answered):
                return ["the batch was not answered in time"]
        daemon.send_signal(signal.SIGTERM)
        until(lambda: daemon.poll() is not None)
        self._follow(log)
        return [] if daemon.poll() == 0 else [f"the daemon ended with {daemon.poll()}, not 0"]

    def _drop_singles(self) -> None:
        # An attachment comes before the job that names it.
        self._spool.drop(demojobs.PHOTO, demojobs.PHOTO_BYTES)
        for example in self._examples:
            data = demojobs.written(example)
            self._console.print(Text(f"  inbox/{example.name}.json  ", "bold").append(data.rstrip(), "not bold"))
            self._spool.drop(f"{example.name}.json", data.encode())

    def _singles_answered(self) -> bool:
        return all(demojobs.read_answer(self._spool, example.name) for example in self._examples)

    def _follow(self, log: BinaryIO) -> None:
        """Show what is new in the log; of the batch only the calls that did not go well at once."""
        while True:
            place = log.tell()
            line = log.readline()
            if not line.endswith(b"\n"):
                log.seek(place)
                return
            text = Text(line.decode(errors="replace").rstrip())
            self._ready |= "event=ready" in text.plain
            if _ANSWERED_LINE.search(text.plain):
                self._lines += 1
            if self._batch and _PLAIN.search(text.plain):
                continue
            for pattern, colour in _COLOURS.items():
                text.highlight_regex(pattern, colour)
            self._console.print(text)

    def _say(self, sentence: str) -> None:
        self._console.print(f"\n{sentence}", style="bold")

    def _results(self) -> None:
        self._say("Where a file lies is its state:")
        self._console.print(_tree(self._spool))
        answer = demojobs.read_answer(self._spool, "close-order")
        self._say("outbox/close-order.json, which went through at the second attempt:")
        self._console.print_json(data=answer)
        oops = demojobs.read_answer(self._spool, "oops") or {}
        self._say("What is wrong with oops.json is in its answer:")
        self._console.print(f"  {oops['error']['message']}")
        calls, refused = self._shop.calls, self._shop.refused
        self._say(f"The shop had {calls} calls and refused {refused}; every answer is checked.")


def _tree(spool: Spool) -> Tree:
    root = Tree(Text(spool.root))
    for folder in SHOWN:
        names = sorted(name for name in os.listdir(spool.folder(folder)) if not name.startswith("."))
        branch = root.add(Text(f"{folder}/  {len(names)}"))
        for name in names[:NAMED]:
            branch.add(Text(name))
        if len(names) > NAMED:
            branch.add(Text(f"and {len(names) - NAMED} more"))
    return root


def _what_now(console: Console, folder: str) -> None:
    called = sys.argv[0]
    inboxd = f"{shlex.quote(sys.executable)} -m inboxd" if called.endswith("__main__.py") else shlex.quote(called)
    path = shlex.quote(folder)
    console.print("\nWhat now:", style="bold")
    for command, about in (
        (f"ls {path}/{SPOOL}/*", "everything that is left of it"),
        (f"{inboxd} schema job", "what a job may say"),
        (f"{inboxd} run &", "a daemon of your own, on ./spool"),
        ('echo \'{"url": "https://example.com"}\' | ' + f"{inboxd} drop - --wait", "a call of your own"),
        (f"{inboxd} status", "how it is doing"),
    ):
        console.print(f"  {command}")
        console.print(f"      {about}", style="dim")
