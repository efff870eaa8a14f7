"""What the doctor finds on a machine, and what it says to do."""

import json
from pathlib import Path

import pytest

from inboxd.daemon.config import Config
from inboxd.daemon.doctor import examine, filesystem_of
from inboxd.daemon.spool import Spool

NOW = 1_800_000_000.0


def found(root: Path, now: float = NOW, **settings: object) -> dict[str, tuple[str, str]]:
    config = Config.model_validate({"spool": str(root), "min_free": 0} | settings)
    return {check.what: (check.verdict, check.text) for check in examine(config, now)}


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(str(tmp_path))
    spool.make()
    return spool


def test_a_machine_that_is_well_has_no_problem(spool: Spool) -> None:
    assert {verdict for verdict, _ in found(Path(spool.root)).values()} <= {"ok", "warning"}


def test_without_a_spool_there_is_little_to_say(tmp_path: Path) -> None:
    assert found(tmp_path / "none")["folders"][0] == "warning"


def test_a_full_disk_is_a_problem(spool: Spool) -> None:
    assert found(Path(spool.root), min_free=2**60)["disk"][0] == "problem"


def test_a_clock_that_was_never_set_is_a_problem(spool: Spool) -> None:
    assert found(Path(spool.root), now=3600.0)["clock"][0] == "problem"


def test_a_clock_that_went_back_is_a_problem(spool: Spool) -> None:
    changed = Path(spool.outbox).stat().st_mtime
    verdict, text = found(Path(spool.root), now=changed - 86400)["clock"]
    assert verdict == "problem"
    assert "the clock went back" in text


def test_an_inbox_for_everybody_is_told(spool: Spool) -> None:
    Path(spool.inbox).chmod(0o777)
    assert "whoever can drop a file can make calls" in found(Path(spool.root))["permissions"][1]
    Path(spool.inbox).chmod(0o1777)
    assert found(Path(spool.root))["permissions"][0] == "ok"


@pytest.mark.parametrize("content", ["", "no certificate"])
def test_a_store_without_certificates_is_a_problem(spool: Spool, tmp_path: Path, content: str) -> None:
    (tmp_path / "ca.pem").write_text(content)
    assert found(Path(spool.root), defaults={"verify": str(tmp_path / "ca.pem")})["TLS store"][0] == "problem"


def test_a_daemon_that_says_nothing_any_more_is_a_problem(spool: Spool) -> None:
    spool.lock()
    for at, verdict in (("2026-01-01T00:00:00.000Z", "problem"), ("2999-01-01T00:00:00.000Z", "ok")):
        Path(spool.state("status.json")).write_text(json.dumps({"at": at}))
        assert found(Path(spool.root))["daemon"][0] == verdict
    spool.unlock()


def test_certificates_that_are_not_checked_are_told(spool: Spool) -> None:
    verdict, text = found(Path(spool.root), defaults={"verify": False})["TLS store"]
    assert (verdict, text.partition(":")[0]) == ("warning", "verify = false")


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/x /var/lib nfs4 rw 0 0
tmpfs /var/lib/quick\\040one tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/etc", "ext4"), ("/var/lib/inboxd", "nfs4"), ("/var/library", "ext4"), ("/var/lib/quick one/x", "tmpfs")],
)
def test_the_innermost_mount_counts(path: str, kind: str) -> None:
    assert filesystem_of(path, MOUNTS) == kind
