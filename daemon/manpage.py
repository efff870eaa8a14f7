"""The manual page, made from the commands, so that it can neither lack one nor say what is not so (man(7))."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import click

import inboxd

_FILES = (
    ("inbox/", "anyone drops here: NAME.json one job, NAME.jsonl a batch, other files are attachments"),
    ("active/", "claimed: in memory, or being called"),
    ("deferred/", "waits for its time, which is its mtime"),
    ("outbox/", "answers, complete when visible"),
    ("failed/", "the dropped file of every job that did not end well; mv it into inbox/ to try again"),
    ("hold/", "put aside by people"),
    ("state/paused/API", "no calls to that API while the file lies there (its name percent-encoded)"),
)
_SIGNALS = (
    ("SIGTERM, SIGINT", "stop in good order; the second one at once"),
    ("SIGHUP", "read the config anew; a wrong one is refused, and the old one stays"),
    ("SIGUSR1", "log everything"),
    ("SIGUSR2", "log as much as the config says"),
)


def page(main: click.Group) -> str:
    """Give the page of the whole command, in roff."""
    context = click.Context(main, info_name="inboxd")
    lines = [f'.TH INBOXD 1 "" "inboxd {inboxd.__version__}"', ".SH NAME", r"inboxd \- " + _text(_help(main)[0])]
    lines += [".SH SYNOPSIS", r".B inboxd", r"\fICOMMAND\fR [\fIARGUMENT\fR]..."]
    lines += [".SH COMMANDS"]
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        lines += _command(command, f"inboxd {name}")
    lines += [".SH ENVIRONMENT", *_terms((("INBOXD_SPOOL", "the spool folder"), ("INBOXD_CONFIG", "the config")))]
    lines += [".SH FILES", "In the spool folder:", *_terms(_FILES)]
    lines += [".SH SIGNALS", *_terms(_SIGNALS)]
    return "\n".join(lines) + "\n"


def _command(command: click.Command, path: str) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _command(inner, f"{path} {name}")
        return
    usage = " ".join(command.collect_usage_pieces(context))
    yield f".SS {_text(path)} {_text(usage)}"
    for number, paragraph in enumerate(_help(command)):
        if number:
            yield ".PP"
        yield _text(paragraph)
    yield from _terms(
        (", ".join((*option.opts, *option.secondary_opts)) + _metavar(option, context), option.help or "")
        for option in command.params
        if isinstance(option, click.Option)
    )


def _metavar(option: click.Option, context: click.Context) -> str:
    if option.is_flag:
        return ""
    return f" {option.make_metavar(context)}"


def _help(command: click.Command) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", (command.help or "").strip())]


def _terms(pairs: Any) -> Iterator[str]:
    for term, text in pairs:
        yield ".TP"
        yield rf"\fB{_text(term)}\fR"
        yield _text(text)


def _text(text: str) -> str:
    """Write plain text so that roff takes nothing in it for its own."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("`", r"\(ga")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped
