"""The command line, as a shell sees it: what is printed where, and with which exit status."""

import json
import os
from pathlib import Path

import pytest

import inboxd as package
from inboxd.daemon.spool import Spool
from tests.daemonkit import CountingServer, Daemon, inboxd, wait_until

SHOP = '[api.shop]\nbase_url = "https://shop.example"\nrate = "5/s"\n'


@pytest.mark.parametrize("command", ["run", "check", "schema", "drop", "status", "retry", "demo"])
def test_each_command_explains_itself(tmp_path: Path, command: str) -> None:
    done = inboxd(command, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: python -m inboxd {command}")
    assert os.listdir(tmp_path) == []


def test_the_version_is_the_packages_own(tmp_path: Path) -> None:
    assert inboxd("--version", cwd=tmp_path).stdout == f"inboxd, version {package.__version__}\n"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["dorp"], "No such command 'dorp'"),
        (["drop"], "Missing argument 'FILE'"),
        (["drop", "gone.json"], "'gone.json' does not exist"),
        (["drop", "-", "--timeout", "3"], "inboxd: --timeout says how long to --wait; give both"),
        (["drop", "-", "--wait", "--timeout", "-1"], "-1.0 is not in the range x>=0"),
        (["schema", "jobs"], "'jobs' is not one of 'job', 'answer', 'config'"),
        (["retry"], "inboxd: name the jobs to retry, or say --all"),
        (["retry", "--since", "soon"], 'inboxd: --since: "soon" is no time; expected an age as 2h'),
        (["hold"], "Missing argument 'NAME...'"),
        (["completion", "csh"], "'csh' is not one of 'bash', 'zsh', 'fish'"),
        (["retry", "one", "--all"], "inboxd: name the jobs to retry, or say --all"),
        (["run", "--config", "gone.toml"], "inboxd: gone.toml: cannot be read: No such file or directory"),
    ],
)
def test_a_wrong_call_is_told_so(tmp_path: Path, command: list[str], told: str) -> None:
    done = inboxd(*command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command", [["status"], ["retry", "--all"], ["drop", "-"], ["why", "a"], ["hold", "a"], ["top"]]
)
def test_without_a_spool_there_is_a_hint(tmp_path: Path, command: list[str]) -> None:
    done = inboxd(*command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "inboxd: ./spool: no spool here; start `inboxd run` once, or name one with --spool\n"


def test_a_refused_name_comes_with_the_reason(tmp_path: Path) -> None:
    done = inboxd("drop", "-", "--name", "a~b", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith('inboxd: a~b: the name holds a "~"')


# -- the config -----------------------------------------------------------------------------------------------


def test_check_says_what_a_good_config_comes_to(tmp_path: Path) -> None:
    (tmp_path / "inboxd.toml").write_text(f"threads = 3\n{SHOP}")
    done = inboxd("check", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "ok: spool ./spool, 3 threads, named APIs: 1",
        "  shop: https://shop.example, 5 calls per 1 s, 5 attempts, 30 s each",
    ]
    assert os.listdir(tmp_path) == ["inboxd.toml"]


def test_check_tells_of_handlers_and_loads_those_on_threads(tmp_path: Path) -> None:
    config = tmp_path / "inboxd.toml"
    config.write_text('[handlers.twice]\nuse = "tests.handlerkit:double"\nprocess = true\ntimeout = "2m"\n')
    good = inboxd("check", cwd=tmp_path)
    assert good.stdout.splitlines()[1:] == ["  do twice: in processes, 5 attempts, 120 s each"]
    config.write_text('[handlers]\ntwice = "tests.handlerkit:duoble"\n')
    for command in ("check", "run"):
        bad = inboxd(command, cwd=tmp_path)
        assert bad.returncode > 0
        assert bad.stderr.startswith("inboxd: tests.handlerkit:duoble cannot be loaded: AttributeError: module")


@pytest.mark.parametrize("command", [["check"], ["run"], ["status"], ["drop", "-"]])
def test_every_mistake_of_a_config_is_told_with_its_line(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "bad.toml").write_text('spool = 3\nthread = 3\n[api.shop]\nrate = "fast"\n')
    done = inboxd(*command, "--config", "bad.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    first, second, *others = done.stderr.splitlines()
    assert first == "inboxd: bad.toml:1: spool: found 3; expected a string"
    assert second == 'bad.toml:2: thread: unknown key; did you mean "threads"?'
    assert sorted(other.partition(": ")[2].partition(":")[0] for other in others) == [
        "api.shop.base_url",
        "api.shop.rate",
    ]


def test_a_drop_needs_of_a_config_only_the_spool(tmp_path: Path) -> None:
    (tmp_path / "spool" / "inbox").mkdir(parents=True)
    (tmp_path / "inboxd.toml").write_text('spool = "spool"\nthread = 3\n')
    done = inboxd("drop", "-", "--name", "one", cwd=tmp_path, stdin=b"{}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "one\n", "")
    assert (tmp_path / "spool" / "inbox" / "one.json").read_bytes() == b"{}"


@pytest.mark.parametrize(
    ("arguments", "env", "spool"),
    [
        ([], {}, "spool"),
        (["--spool", "arg"], {"INBOXD_SPOOL": "env"}, "arg"),
        (["--config", "etc/said.toml"], {"INBOXD_SPOOL": "env"}, "env"),
        (["--config", "etc/said.toml"], {"INBOXD_CONFIG": "etc/silent.toml"}, "etc/said"),
        ([], {"INBOXD_CONFIG": "etc/said.toml"}, "etc/said"),
        ([], {"INBOXD_CONFIG": "etc/silent.toml"}, "etc/spool"),
    ],
)
def test_daemon_and_tools_find_the_same_spool(
    tmp_path: Path, arguments: list[str], env: dict[str, str], spool: str
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "said.toml").write_text('spool = "said"\n')
    (tmp_path / "etc" / "silent.toml").write_text("")
    assert inboxd("run", "--once", *arguments, cwd=tmp_path, env=env).returncode == 0
    status = inboxd("status", "--json", *arguments, cwd=tmp_path, env=env)
    assert json.loads(status.stdout)["spool"] == str(tmp_path / spool)
    assert (tmp_path / spool / "inbox").is_dir()


# -- the daemon -----------------------------------------------------------------------------------------------


def test_once_works_off_what_is_there_and_ends(tmp_path: Path) -> None:
    assert inboxd("run", "--once", cwd=tmp_path).returncode == 0
    with CountingServer() as server:
        for number in range(3):
            (tmp_path / "spool" / "inbox" / f"job{number}.json").write_text(json.dumps({"url": server.url("/ok")}))
        done = inboxd("run", "--once", cwd=tmp_path)
        assert server.counts == {"/ok": 3}
    assert done.returncode == 0
    assert sorted(os.listdir(tmp_path / "spool" / "outbox")) == ["job0.json", "job1.json", "job2.json"]


def test_once_waits_for_a_batch_that_was_dropped_just_now(tmp_path: Path) -> None:
    assert inboxd("run", "--once", cwd=tmp_path).returncode == 0
    with CountingServer() as server:
        line = json.dumps({"url": server.url("/ok")})
        (tmp_path / "spool" / "inbox" / "many.jsonl").write_text(f"{line}\n{line}\n")
        assert inboxd("run", "--once", cwd=tmp_path).returncode == 0
        assert server.counts == {"/ok": 2}
    assert sorted(os.listdir(tmp_path / "spool" / "outbox")) == ["many.jsonl", "many.summary.json"]


@pytest.mark.parametrize(
    ("obstacle", "told"),
    [
        ("spool", "spool/inbox: cannot make the spool's folder: "),
        ("spool/state/lock/", "state/lock: Is a directory; the spool cannot be used"),
        ("log/", "log: cannot write the log: Is a directory"),
    ],
)
def test_a_daemon_that_cannot_start_says_why(tmp_path: Path, obstacle: str, told: str) -> None:
    path = tmp_path / obstacle
    if obstacle.endswith("/"):
        path.mkdir(parents=True)
    else:
        path.write_text("")
    (tmp_path / "inboxd.toml").write_text('[log]\nfile = "log"\n' if obstacle == "log/" else "")
    done = inboxd("run", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_daemon_on_a_served_spool_says_so_and_the_first_goes_on(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        second = inboxd("run", cwd=tmp_path)
        assert second.returncode == 1
        assert f"another inboxd (process {daemon.pid}) serves this spool" in second.stderr
        daemon.drop("one", {"url": server.url("/ok")})
        assert daemon.answer("one")["status"] == "done"
        assert daemon.stop() == 0


def test_a_wait_prints_the_answer_and_ends_as_the_job_did(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path):

        def drop(*arguments: str, job: object) -> tuple[int, object]:
            done = inboxd("drop", "-", "--wait", *arguments, cwd=tmp_path, stdin=json.dumps(job).encode())
            return done.returncode, json.loads(done.stdout)["status"] if done.stdout else done.stderr

        assert drop(job={"url": server.url("/ok")}) == (0, "done")
        assert drop(job={"url": server.url("/status/404")}) == (1, "failed")
        assert drop(job={"uri": server.url("/ok")}) == (2, "rejected")
        late = "inboxd: no answer to slow within 0.1 s; it stays in the spool and will be answered\n"
        slow = {"url": server.url("/ok"), "delay": "1h"}
        assert drop("--name", "slow", "--timeout", "0.1", job=slow) == (3, late)


def test_a_second_wait_under_one_name_gets_its_own_answer(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path):
        answers = []
        for number in range(3):
            job = json.dumps({"url": server.url(f"/ok/{number}")}).encode()
            done = inboxd("drop", "-", "--name", "same", "--wait", cwd=tmp_path, stdin=job)
            answers.append(json.loads(done.stdout)["request"]["url"])
        assert answers == [server.url(f"/ok/{number}") for number in range(3)]


def test_a_wait_for_a_batch_prints_the_summary_and_the_answers_are_there(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        lines = [{"url": server.url("/ok")}, {"url": server.url("/status/404")}, {"url": server.url("/ok")}]
        (tmp_path / "many.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        done = inboxd("drop", "many.jsonl", "--wait", cwd=tmp_path)
        assert done.returncode == 1
        assert json.loads(done.stdout)["statuses"] == {"done": 2, "failed": 1}
        assert "many.jsonl" in daemon.files("outbox")


def test_status_is_about_the_daemon_that_runs(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        wait_until((daemon.spool / "state" / "status.json").exists, "the daemon's status")
        running = json.loads(inboxd("status", "--json", cwd=tmp_path).stdout)
        assert (running["running"], running["daemon"]["pid"]) == (True, daemon.pid)
        assert f"process {daemon.pid} serves it since" in inboxd("status", cwd=tmp_path).stdout
        assert daemon.stop() == 0
        assert json.loads(inboxd("status", "--json", cwd=tmp_path).stdout)["running"] is False
        assert "no daemon is running" in inboxd("status", cwd=tmp_path).stdout


def test_a_retry_begins_a_new_round_under_the_same_id(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        daemon.drop("one", {"id": "order-1", "url": server.url("/flaky/k?times=1&status=404")})
        assert daemon.answer("one")["status"] == "failed"
        done = inboxd("retry", "one", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "one.json\n")
        again = daemon.answer("one~r2")
        assert (again["id"], again["status"]) == ("order-1", "done")
        assert [attempt["status"] for attempt in again["attempts"]] == [404, 200]
        assert len(server.keys) == 1
        missing = inboxd("retry", "one", cwd=tmp_path)
        assert (missing.returncode, missing.stdout, missing.stderr) == (1, "", "inboxd: one: not in failed/\n")


def made_spool(folder: Path) -> Spool:
    spool = Spool(str(folder / "spool"))
    spool.make()
    return spool


def test_each_way_of_a_job_by_hand_can_be_read_by_programs(tmp_path: Path) -> None:
    spool = made_spool(tmp_path)
    (tmp_path / "inboxd.toml").write_text(SHOP)
    Path(spool.inbox, "a.json").write_text('{"url": "http://127.0.0.1/"}')
    for command, told in (
        (["why", "a"], [{"folder": "inbox", "file": "a.json"}]),
        (["hold", "a"], [{"name": "a", "file": "hold/a.json"}]),
        (["release", "a"], [{"name": "a", "file": "a.json"}]),
        (["cancel", "a"], [{"name": "a", "was": "inbox"}]),
        (["pause", "shop"], [{"name": "shop", "paused": True}]),
        (["resume", "shop"], [{"name": "shop", "paused": False}]),
        (["fsck"], []),
    ):
        done = inboxd(*command, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert [shown.items() <= found.items() for shown, found in zip(told, json.loads(done.stdout), strict=True)] == [
            True
        ] * len(told)


def test_what_failed_for_some_is_told_and_done_for_the_others(tmp_path: Path) -> None:
    spool = made_spool(tmp_path)
    Path(spool.inbox, "a.json").touch()
    done = inboxd("hold", "none", "a", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "hold/a.json\n")
    assert done.stderr.startswith("inboxd: none: no such job in inbox/")


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_an_api_that_nobody_knows_is_neither_paused_nor_resumed(tmp_path: Path, command: str) -> None:
    spool = made_spool(tmp_path)
    (tmp_path / "inboxd.toml").write_text(SHOP)
    done = inboxd(command, "shp", "shop", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith('inboxd: shp: no such API; did you mean "shop"? Known: shop; ')
    assert done.stdout.startswith("shop: ")
    assert spool.wishes("paused") == (["shop"] if command == "pause" else [])


def test_jobs_are_retried_by_api_and_by_age(tmp_path: Path) -> None:
    spool = made_spool(tmp_path)
    (tmp_path / "inboxd.toml").write_text(SHOP)
    for name, url in (("one", "https://shop.example/1"), ("two", "https://other.example/2")):
        Path(spool.failed, f"{name}.json").write_text(json.dumps({"url": url}))
    nothing = inboxd("retry", "--since", "2020-01-01", "--api", "bank", cwd=tmp_path)
    assert (nothing.stdout, nothing.stderr) == ("", "inboxd: no job in failed/ is one of these\n")
    assert inboxd("retry", "--since", "0s", cwd=tmp_path).stdout == ""
    assert inboxd("retry", "--api", "shop", cwd=tmp_path).stdout == "one.json\n"
    assert inboxd("retry", "--since", "1h", cwd=tmp_path).stdout == "two.json\n"


def test_fsck_says_what_it_put_right_and_leaves_a_served_spool_alone(tmp_path: Path) -> None:
    spool = made_spool(tmp_path)
    Path(spool.active, "stray").write_text("x")
    done = inboxd("fsck", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (
        1,
        "active/stray: a name that inboxd does not give here: moved to hold/stray\n",
    )
    assert inboxd("fsck", cwd=tmp_path).returncode == 0
    spool.lock()
    assert inboxd("fsck", cwd=tmp_path).returncode == 2
    spool.unlock()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete_our_commands(tmp_path: Path, shell: str) -> None:
    assert "_INBOXD_COMPLETE" in inboxd("completion", shell, cwd=tmp_path).stdout


def test_a_job_is_followed_through_the_log_file(tmp_path: Path) -> None:
    (tmp_path / "inboxd.toml").write_text('[log]\nfile = "inboxd.log"\n')
    life = ["event=claimed id=1 name=a", "event=claimed id=2 name=b", "event=answered id=1 name=a"]
    (tmp_path / "inboxd.log").write_text("".join(f"{line}\n" for line in life))
    done = inboxd("follow", "a", cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()) == (0, [life[0], life[2]])


def test_lines_that_will_never_come_from_the_journal_are_not_waited_for(tmp_path: Path) -> None:
    nowhere = inboxd("follow", "a", cwd=tmp_path)
    assert (nowhere.returncode, nowhere.stdout) == (1, "")
    assert nowhere.stderr.startswith("inboxd: ./spool: ")
    made_spool(tmp_path)
    silent = inboxd("follow", "a", cwd=tmp_path)
    assert (silent.returncode, silent.stdout) == (1, "")
    assert silent.stderr.startswith("inboxd: the journal has no line of this spool's daemon")
