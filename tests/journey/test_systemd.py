"""The units under a real systemd, booted for these tests: what it is told, what it does, and what it keeps us from."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from http.client import RemoteDisconnected
from pathlib import Path

import pytest

from tests.boxkit import STATE, Box, frozen, obstacle
from tests.daemonkit import ROOT, wait_until
from tests.sandboxkit import OF_ANYBODY, OF_ROOT, attempts, instead

WHY_NOT = obstacle()
pytestmark = [
    pytest.mark.journey,
    pytest.mark.skipif(WHY_NOT is not None, reason=f"no systemd can be booted: {WHY_NOT}"),
]
# Seconds. A part that stands still is noticed after half of it.
WATCHDOG = 4
# The spool of the daemon inboxd@other.
OTHER = "var/lib/inboxd-other"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    with Box(tmp_path_factory.mktemp("box")) as box:
        box.write(
            "etc/systemd/system/inboxd.service.d/test.conf",
            f"[Unit]\nStartLimitBurst=1000\n[Service]\nWatchdogSec={WATCHDOG}s\nRestartSec=100ms\n",
        )
        box.write("etc/inboxd/inboxd.toml", "min_free = 0\ndrain = 20\n")
        box.write("etc/inboxd/secrets/shop_token", "s3cret-of-the-shop").chmod(0o600)
        box.run("systemd-tmpfiles", "--create")
        box.systemctl("daemon-reload")
        yield box


@pytest.fixture
def served(box: Box) -> Box:
    """Return the box with a daemon that serves: `start` comes back when it said READY=1."""
    started = box.run("systemctl", "start", "inboxd", check=False)
    assert started.returncode == 0, box.run("journalctl", "-u", "inboxd", "--no-pager", "-n", "50").stdout
    return box


def test_a_job_of_a_user_is_answered_and_the_journal_tells_its_life(served: Box) -> None:
    served.drop("life", {"id": "life-17", "url": served.server.url("/flaky/life?times=1&status=503")})
    answer = served.answer("life")
    assert answer["status"] == "done"
    events = wait_until(
        lambda: len(found := [line["INBOXD_EVENT"] for line in served.journal("INBOXD_ID=life-17")]) >= 4 and found
    )
    assert events == ["claimed", "attempt", "attempt", "answered"]
    (last,) = served.journal("INBOXD_ID=life-17", "INBOXD_STATUS=done")
    assert (last["PRIORITY"], last["INBOXD_JOB"], last["SYSLOG_IDENTIFIER"]) == ("6", "life", "inboxd")


def test_it_says_what_it_does(served: Box) -> None:
    assert wait_until(lambda: "answered" in (text := served.show("StatusText")) and text)
    assert (served.show("Type"), served.show("ActiveState"), served.show("SubState")) == ("notify", "active", "running")


def test_who_is_not_of_the_group_can_neither_drop_nor_look(served: Box) -> None:
    for command in (["ls", f"/{STATE}/inbox"], ["touch", f"/{STATE}/inbox/x.json"], ["ls", f"/{STATE}/outbox"]):
        assert served.run(*command, user="mallory", check=False).returncode != 0


def test_the_group_may_drop_and_read_answers_but_not_list_the_inbox(served: Box) -> None:
    served.drop("mine", {"url": served.server.url("/ok")})
    served.answer("mine")
    assert json.loads(served.run("cat", f"/{STATE}/outbox/mine.json", user="alice").stdout)["status"] == "done"
    assert served.run("ls", f"/{STATE}/inbox", user="alice", check=False).returncode != 0


def test_a_reload_takes_up_what_the_config_says_now_and_a_bad_one_is_refused(served: Box) -> None:
    config = served.root / "etc/inboxd/inboxd.toml"
    before = config.read_text()
    pid = served.pid
    try:
        auth = 'headers = { X-Token = "${secret:shop_token}" }\n'
        config.write_text(before + f'[api.shop]\nbase_url = "{served.server.url("")}"\n{auth}')
        served.systemctl("reload", "inboxd")
        wait_until(lambda: served.show("SubState") == "running" and served.journal("INBOXD_EVENT=reloaded"))
        served.drop("named", {"url": served.server.url("/ok")})
        assert served.answer("named")["api"] == "shop"
        assert served.server.requests[-1].headers["x-token"] == "s3cret-of-the-shop"
        config.write_text("thraeds = 3\n")
        served.systemctl("reload", "inboxd")
        wait_until(lambda: any("thraeds" in line["MESSAGE"] for line in served.journal()))
        served.drop("still", {"url": served.server.url("/ok")})
        assert served.answer("still")["api"] == "shop"
    finally:
        config.write_text(before)
    assert served.pid == pid


def test_a_job_is_followed_through_the_journal_by_its_name_to_its_end(served: Box) -> None:
    served.drop("followed", {"id": "f-1", "url": served.server.url("/flaky/followed?times=1&status=503")})
    told = served.run("inboxd", "follow", "followed", "--spool", f"/{STATE}").stdout.splitlines()
    assert [line.split()[1] for line in told] == [
        "event=claimed",
        "event=attempt",
        "event=attempt",
        "event=answered",
    ]
    assert all("id=f-1" in line for line in told)


def test_signals_make_the_journal_tell_more_and_less(served: Box) -> None:
    names = (f"told-{number}" for number in range(1000))

    def tells_attempts() -> bool:
        name = next(names)
        served.drop(name, {"id": name, "url": served.server.url("/ok")})
        served.answer(name)
        wait_until(lambda: served.journal(f"INBOXD_ID={name}", "INBOXD_EVENT=answered"), "the last line")
        return bool(served.journal(f"INBOXD_ID={name}", "INBOXD_EVENT=attempt"))

    assert not tells_attempts()
    served.systemctl("kill", "--signal=USR1", "inboxd")
    wait_until(tells_attempts, "more lines")
    served.systemctl("kill", "--signal=USR2", "inboxd")
    wait_until(lambda: not tells_attempts(), "fewer lines")


def test_the_gateways_socket_starts_the_daemon_and_refuses_nobody_while_it_restarts(served: Box) -> None:
    config = served.root / "etc/inboxd/inboxd.toml"
    before = config.read_text()
    served.systemctl("stop", "inboxd")
    try:
        config.write_text(f"{before}[gateway]\nenabled = true\nprivate = true\n")
        served.systemctl("start", "inboxd-gateway.socket")
        assert served.show("ActiveState") == "inactive"
        status, job = served.ask("POST", "/jobs", {"url": served.server.url("/ok")})
        assert (status, served.show("ActiveState")) == (202, "active")
        wait_until(lambda: served.ask("GET", f"/jobs/{job['id']}")[1].get("state") == "done")
        pid = served.pid
        served.systemctl("restart", "--no-block", "inboxd")
        while served.pid == pid:
            # Nobody is refused; but whom the old daemon had let in as it ended has to ask again.
            with suppress(RemoteDisconnected, ConnectionResetError):
                assert served.ask("GET", f"/jobs/{job['id']}")[0] == 200
        assert served.ask("GET", f"/jobs/{job['id']}")[0] == 200
    finally:
        config.write_text(before)
        served.systemctl("stop", "inboxd-gateway.socket", "inboxd")


def test_a_second_daemon_has_a_spool_and_a_config_of_its_own(served: Box) -> None:
    there = served.server.url("")
    served.write("etc/inboxd/other.toml", f'min_free = 0\n[api.there]\nbase_url = "{there}"\n').chmod(0o644)
    served.systemctl("start", "inboxd@other")
    served.write("run/to-other.json", json.dumps({"url": served.server.url("/ok")}))
    served.run("inboxd", "drop", "/run/to-other.json", "--spool", f"/{OTHER}")
    assert served.answer("to-other", OTHER)["api"] == "there"
    assert not (served.root / STATE / "outbox/to-other.json").exists()
    served.systemctl("stop", "inboxd@other")
    assert served.show("ActiveState") == "active"


def test_of_several_daemons_the_one_of_the_spool_is_followed(served: Box) -> None:
    served.write("etc/inboxd/other.toml", "min_free = 0\n").chmod(0o644)
    served.systemctl("start", "inboxd@other")
    for spool in (STATE, OTHER):
        served.write("run/twin.json", json.dumps({"id": f"of-{spool}", "url": served.server.url("/ok")}))
        served.run("inboxd", "drop", "/run/twin.json", "--spool", f"/{spool}")
        served.answer("twin", spool)
    for spool in (STATE, OTHER):
        told = served.run("inboxd", "follow", "twin", "--spool", f"/{spool}").stdout.splitlines()
        assert [line.split()[1] for line in told] == ["event=claimed", "event=answered"]
        assert all(f"id=of-{spool}" in line for line in told)
    served.systemctl("stop", "inboxd@other")


# A user's manager, started as login would, without what only login needs.
MANAGER = """[Service]
Type=notify
User=alice
Delegate=yes
RuntimeDirectory=alice
Environment=HOME=/home/alice XDG_RUNTIME_DIR=/run/alice
ExecStart=/lib/systemd/systemd --user
"""


def test_somebody_has_a_daemon_of_his_own(box: Box) -> None:
    box.write("etc/systemd/system/manager.service", MANAGER)
    box.run("install", "-d", "-o", "alice", "-m", "700", "/home/alice")
    mine = ("env", "HOME=/home/alice", "XDG_RUNTIME_DIR=/run/alice")
    config = '[handlers.dedent]\nuse = "textwrap:dedent"\nprocess = true\n'
    box.write("home/alice/.config/inboxd/inboxd.toml", f"min_free = 0\nprocesses = 2\n{config}")
    box.run("chown", "-R", "alice", "/home/alice")
    box.run(*mine, "inboxd", "install-units", "--user", user="alice")
    box.systemctl("daemon-reload")
    box.systemctl("start", "manager")
    box.run(*mine, "systemctl", "--user", "start", "inboxd", user="alice")
    for name, job in (
        ("of-alice", {"url": box.server.url("/ok")}),
        ("in-process", {"do": "dedent", "with": {"text": "  a"}}),
    ):
        box.write(f"run/{name}.json", json.dumps(job)).chmod(0o644)
        box.run(*mine, "inboxd", "drop", f"/run/{name}.json", "--spool", "/home/alice/inboxd", user="alice")
        assert box.answer(name, "home/alice/inboxd")["status"] == "done"
    told = box.run(*mine, "inboxd", "status", "--json", "--spool", "/home/alice/inboxd", user="alice").stdout
    assert len(json.loads(told)["daemon"]["processes"]) == 2
    assert box.run("ls", "/home/alice/inboxd", user="mallory", check=False).returncode != 0
    unit = (box.root / "home/alice/.config/systemd/user/inboxd.service").read_text()
    box.write("run/attempts.py", attempts("/home/alice/inboxd/state/x", *OF_ANYBODY))
    box.write(
        "home/alice/.config/systemd/user/attempts.service", instead(unit, "/run/attempts.py", "file:/run/alice/said")
    )
    box.run(*mine, "systemctl", "--user", "daemon-reload", user="alice")
    box.run(*mine, "systemctl", "--user", "start", "attempts", user="alice")
    said = (box.root / "run/alice/said").read_text()
    assert "can write state" in said
    assert "DID" not in said
    box.run(*mine, "systemctl", "--user", "stop", "inboxd", user="alice")
    box.systemctl("stop", "manager")


def test_a_worker_that_hangs_brings_a_restart_and_nothing_is_lost(served: Box) -> None:
    pid, restarts = served.pid, int(served.show("NRestarts"))
    calm = in_poll(pid)
    served.drop("hangs", {"url": served.server.url("/slow/hangs?ms=1500"), "timeout": "2s"})
    served.server.wait_for(1 + len(served.server.requests) - served.server.counts["/slow/hangs"])
    (worker,) = wait_until(lambda: in_poll(pid) - calm)
    with frozen(worker):
        for number in range(20):
            served.drop(f"beside-{number}", {"url": served.server.url(f"/ok?{number}")})
        wait_until(lambda: int(served.show("NRestarts")) == restarts + 1, "the watchdog's restart")
    assert "has not moved" in "".join(line["MESSAGE"] for line in served.journal("INBOXD_EVENT=standing still"))
    answer = served.answer("hangs")
    assert answer["status"] == "done"
    assert [attempt.get("fault") for attempt in answer["attempts"]] == ["interrupted", None]
    assert {served.answer(f"beside-{number}")["status"] for number in range(20)} == {"done"}
    assert served.show("Result") == "success"


def in_poll(pid: int) -> set[int]:
    """Return the threads of a process that wait for the network: they stand in poll(2), which is call 7 or ppoll(2)."""
    found = set()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        call = (thread / "syscall").read_text().split()[0]
        if call in {"7", "73", "271"}:
            found.add(int(thread.name))
    return found


def test_a_kill_brings_a_restart_and_nothing_is_lost(served: Box) -> None:
    pid, restarts = served.pid, int(served.show("NRestarts"))
    for number in range(10):
        served.drop(f"killed-{number}", {"url": served.server.url(f"/slow/killed-{number}?ms=300")})
    os.kill(pid, 9)
    wait_until(lambda: int(served.show("NRestarts")) == restarts + 1)
    assert {served.answer(f"killed-{number}")["status"] for number in range(10)} == {"done"}


def test_a_stop_lets_calls_end_even_if_that_takes_longer_than_the_unit_grants(served: Box) -> None:
    served.run("mkdir", "-p", "/run/systemd/system/inboxd.service.d")
    hasty = served.write("run/systemd/system/inboxd.service.d/hasty.conf", "[Service]\nTimeoutStopSec=1s\n")
    served.systemctl("daemon-reload")
    served.drop("last", {"url": served.server.url("/slow/last?ms=3000")})
    wait_until(lambda: served.server.counts["/slow/last"])
    served.systemctl("stop", "inboxd")
    hasty.unlink()
    served.systemctl("daemon-reload")
    assert (served.show("ActiveState"), served.show("Result")) == ("inactive", "success")
    assert served.answer("last")["status"] == "done"


def test_the_secrets_of_root_are_the_daemons_to_read_and_nobody_elses(served: Box) -> None:
    shown = Path(f"/proc/{served.pid}/environ").read_bytes().split(b"\0")
    folder = next(line for line in shown if line.startswith(b"CREDENTIALS_DIRECTORY=")).partition(b"=")[2].decode()
    secret = Path(f"/proc/{served.pid}/root{folder}/secrets_shop_token")
    assert secret.read_text() == "s3cret-of-the-shop"
    assert served.run("cat", f"{folder}/secrets_shop_token", user="alice", check=False).returncode != 0


def test_the_sandbox_holds(served: Box) -> None:
    """What the unit's own process could do is tried by a process in the same sandbox."""
    served.write("run/attempts.py", attempts("/var/lib/inboxd/state/x", *OF_ROOT, *OF_ANYBODY))
    unit = (served.root / "etc/systemd/system/inboxd.service").read_text()
    served.write("etc/systemd/system/attempts.service", instead(unit, "/run/attempts.py", "journal"))
    served.systemctl("daemon-reload")
    served.systemctl("start", "attempts")
    said = served.run("journalctl", "-u", "attempts", "-o", "cat", "--no-pager").stdout
    assert "can write state" in said
    assert "DID" not in said


@pytest.mark.parametrize("unit", ["inboxd.service", "inboxd@.service", "inboxd-user.service", "inboxd-gateway.socket"])
def test_the_units_have_no_mistakes(unit: str, tmp_path: Path) -> None:
    for name in ("inboxd.service", "inboxd@.service", "inboxd-user.service", "inboxd-gateway.socket"):
        text = (ROOT / "systemd" / name).read_text().replace("/usr/bin/inboxd", "/bin/true")
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


# A user's manager can do less; measured as the system's, which says the same of it.
@pytest.mark.parametrize(
    ("unit", "exposed"), [("inboxd.service", 15), ("inboxd@.service", 15), ("inboxd-user.service", 64)]
)
def test_the_units_expose_little(unit: str, exposed: int) -> None:
    path = str(ROOT / "systemd" / unit)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={exposed}", "--no-pager", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
