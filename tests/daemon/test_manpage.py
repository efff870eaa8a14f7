"""The manual page has every command and option, and is whole roff."""

import importlib
import pkgutil
import shutil
import subprocess

import click
import pytest

import inboxd.daemon
from inboxd.daemon.cli import main
from inboxd.daemon.manpage import page


def commands(group: click.Group) -> list[click.Command]:
    context = click.Context(group)
    children = [group.get_command(context, name) for name in group.list_commands(context)]
    return [
        found
        for command in children
        if command is not None
        for found in (commands(command) if isinstance(command, click.Group) else [command])
    ]


def test_every_command_and_every_option_stands_in_the_page() -> None:
    plain = page(main).replace(r"\-", "-")
    for command in commands(main):
        assert command.help
        assert str(command.name) in plain
        for option in command.params:
            if isinstance(option, click.Option):
                assert all(name in plain for name in option.opts)
                assert option.help


def test_no_line_of_text_is_taken_for_a_request() -> None:
    known = (".TH", ".SH", ".SS", ".TP", ".PP", ".B")
    for line in page(main).splitlines():
        assert not line.startswith(("'", ".")) or line.startswith(known)


@pytest.mark.skipif(shutil.which("man") is None, reason="no man here")
def test_man_has_nothing_to_complain_of() -> None:
    done = subprocess.run(
        ["man", "--warnings=all", "-l", "-"],
        input=page(main),
        capture_output=True,
        text=True,
        check=False,
        env={"MANWIDTH": "100", "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "install-units" in done.stdout


def test_every_command_of_every_module_can_be_called() -> None:
    reached = [main, *commands(main), *(main.get_command(click.Context(main), name) for name in ("queue", "cache"))]
    for module in pkgutil.iter_modules(inboxd.daemon.__path__):
        if module.name.startswith("cli_"):
            found = vars(importlib.import_module(f"inboxd.daemon.{module.name}")).values()
            assert [one.name for one in found if isinstance(one, click.Command) and one not in reached] == []
