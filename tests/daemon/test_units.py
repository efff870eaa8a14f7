"""Where `install-units` puts what, and what it leaves alone."""

from pathlib import Path

import pytest

from inboxd.daemon.config import load, parse
from inboxd.daemon.units import CONFIG, SYSTEM, UnitsError, install


def test_the_system_gets_everything_with_the_command_that_is_there(tmp_path: Path) -> None:
    written = set(install(str(tmp_path), "/opt/inboxd/bin/inboxd", user=False))
    assert written == {str(tmp_path / place) for place in (*SYSTEM.values(), CONFIG)}
    unit = (tmp_path / "etc/systemd/system/inboxd.service").read_text()
    assert "ExecStart=/opt/inboxd/bin/inboxd run " in unit
    assert "/usr/bin/inboxd" not in unit


def test_a_user_gets_one_unit(tmp_path: Path) -> None:
    assert len(list(install(str(tmp_path), "/home/me/.local/bin/inboxd", user=True))) == 1


def test_a_config_that_is_there_stays_and_units_are_written_anew(tmp_path: Path) -> None:
    list(install(str(tmp_path), "/usr/bin/inboxd", user=False))
    (tmp_path / CONFIG).write_text("threads = 3")
    (tmp_path / SYSTEM["inboxd.service"]).write_text("old")
    list(install(str(tmp_path), "/usr/bin/inboxd", user=False))
    assert (tmp_path / CONFIG).read_text() == "threads = 3"
    assert "ExecStart" in (tmp_path / SYSTEM["inboxd.service"]).read_text()


def test_the_config_that_is_written_is_one(tmp_path: Path) -> None:
    list(install(str(tmp_path), "/usr/bin/inboxd", user=False))
    assert load(str(tmp_path / CONFIG), {}) == parse((tmp_path / CONFIG).read_text(), str(tmp_path / CONFIG))


@pytest.mark.parametrize("command", ["/home/me/bin/inboxd", "/root/venv/bin/inboxd", "/opt/my tools/inboxd", "/o%t/i"])
def test_a_command_that_a_unit_could_not_start_is_refused(tmp_path: Path, command: str) -> None:
    with pytest.raises(UnitsError, match="install inboxd elsewhere"):
        list(install(str(tmp_path), command, user=False))
    assert list(tmp_path.iterdir()) == []
