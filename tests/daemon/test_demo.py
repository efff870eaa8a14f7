"""The demo: that it goes through, that it sees what is wrong, and that it removes nothing but its own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inboxd.daemon import demojobs
from inboxd.daemon.demo import Refused, clear
from inboxd.daemon.demoapi import FAILING, LABEL, LIMIT, REST, RESTING, Shop
from inboxd.daemon.spool import Spool
from tests.daemonkit import environment, inboxd, wait_until

URL = "http://127.0.0.1:1"


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """Return a folder as a demo leaves it, as far as names go."""
    folder = tmp_path / "demo-spool"
    spool = Spool(str(folder / "spool"))
    spool.make()
    (folder / "inboxd.toml").write_text(demojobs.config(URL))
    (folder / "inboxd.log").touch()
    for path in (
        "outbox/oops.json",
        "outbox/label.body",
        "outbox/.stock~01a20275-bba2-7cae-b9dd-1d50c6bb9394.jsonl.part",
        "active/close-order~01a20275-bba2-7cae-b9dd-1d50c6bb9394.json",
        "active/~01a20275-bba2-7cae-b9dd-1d50c6bb9394@photo.jpg",
        "failed/lost-order~r2.json",
        "state/lock",
    ):
        (folder / "spool" / path).touch()
    return folder


@pytest.mark.journey
def test_the_demo_goes_through_in_plain_text_and_can_be_removed(tmp_path: Path) -> None:
    done = inboxd("demo", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    assert 'unknown key; did you mean "method"?' in done.stdout
    assert "refused 0; every answer is checked" in done.stdout
    assert Spool(str(tmp_path / "demo-spool" / "spool")).is_served() is False
    clear(str(tmp_path / "demo-spool"))
    assert os.listdir(tmp_path) == []


@pytest.mark.journey
def test_a_demo_that_is_ended_leaves_no_daemon(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path / "demo-spool" / "spool"))
    command = [sys.executable, "-m", "inboxd", "demo"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL) as demo:
        log = tmp_path / "demo-spool" / "inboxd.log"
        wait_until(lambda: log.exists() and "event=ready" in log.read_text(), "the demo's daemon")
        assert spool.is_served() is True
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(30) == 128 + signal.SIGTERM
    assert spool.is_served() is False


def test_what_an_earlier_demo_made_is_removed(shown: Path) -> None:
    clear(str(shown))
    assert not shown.exists()


def test_where_nothing_is_nothing_is_removed(tmp_path: Path) -> None:
    clear(str(tmp_path / "absent"))
    clear(str(tmp_path))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "path",
    ["notes.txt", ".git", "spool/mine.json", "spool/inbox/mine.json", "spool/outbox/mine~r2.json", "spool/queues/q"],
)
def test_a_file_that_no_demo_made_is_never_removed(shown: Path, path: str) -> None:
    (shown / path).write_text("mine")
    with pytest.raises(Refused, match=f"holds {path}, which no demo has made"):
        clear(str(shown))
    assert (shown / path).read_text() == "mine"
    assert (shown / "inboxd.log").exists()


@pytest.mark.parametrize("path", ["sub", "spool/sub", "spool/inbox/oops", "spool/hold/sub"])
def test_a_folder_that_no_demo_made_is_never_removed(shown: Path, path: str) -> None:
    (shown / path).mkdir()
    with pytest.raises(Refused, match=f"holds {path}, which"):
        clear(str(shown))


@pytest.mark.parametrize("path", ["", "spool", "spool/outbox"])
def test_a_link_to_a_folder_is_never_followed(shown: Path, tmp_path: Path, path: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (shown / path).rename(elsewhere)
    (shown / path).symlink_to(elsewhere)
    with pytest.raises(Refused):
        clear(str(shown))
    assert any(elsewhere.iterdir())


@pytest.mark.parametrize("text", [None, "", 'spool = "spool"\n'])
def test_a_folder_without_the_demos_mark_is_not_the_demos(shown: Path, text: str | None) -> None:
    (shown / "inboxd.toml").unlink()
    if text is not None:
        (shown / "inboxd.toml").write_text(text)
    with pytest.raises(Refused):
        clear(str(shown))
    assert (shown / "inboxd.log").exists()


def test_a_served_spool_is_not_removed(shown: Path) -> None:
    spool = Spool(str(shown / "spool"))
    spool.lock()
    with pytest.raises(Refused, match="a daemon serves its spool"):
        clear(str(shown))
    spool.unlock()


def test_a_spool_without_answers_is_wrong_in_every_job(shown: Path) -> None:
    jobs = demojobs.examples(URL)
    (shown / "spool" / "outbox" / "oops.json").unlink()
    problems = demojobs.wrong(Spool(str(shown / "spool")), jobs)
    assert problems == [*(f"{job.name} has no answer" for job in jobs), "stock.jsonl has no answers"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, None),
        ({"status": "failed"}, "close-order: status: failed, not done"),
        ({"attempts": [{}]}, "close-order: attempts: 1, not 2"),
        ({"response": {"status": 201, "json": {"status": "Closed"}}}, "close-order: HTTP status: 201, not 200"),
        ({"response": {"status": 200, "json": {"status": "Open"}}}, "close-order: the reply: False, not True"),
    ],
)
def test_a_wrong_answer_is_seen(shown: Path, change: dict[str, object], told: str | None) -> None:
    reply = {"status": 200, "json": {"id": 17, "status": "Closed"}}
    answer = {"status": "done", "attempts": [{}, {}], "response": reply, **change}
    (shown / "spool" / "outbox" / "close-order.json").write_text(json.dumps(answer))
    (job,) = (job for job in demojobs.examples(URL) if job.name == "close-order")
    problems = demojobs.wrong(Spool(str(shown / "spool")), [job])
    assert problems[:-1] == ([] if told is None else [told])


def test_a_batch_with_a_line_twice_is_seen(shown: Path) -> None:
    lines = [
        {
            "line": item,
            "status": "done",
            "attempts": [{}] * (2 if item % FAILING == 0 else 1),
            "response": {"json": {"item": item}},
        }
        for item in range(1, demojobs.LINES + 1)
    ]
    path = shown / "spool" / "outbox" / "stock.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert demojobs.wrong(Spool(str(shown / "spool")), []) == []
    path.write_text("".join(f"{json.dumps(line)}\n" for line in [*lines, lines[0]]))
    assert demojobs.wrong(Spool(str(shown / "spool")), []) == ["stock.jsonl: not one answer for each line"]


@pytest.fixture
def shop() -> Shop:
    with Shop() as shop:
        return shop


@pytest.mark.parametrize(("item", "rest"), [(FAILING, None), (RESTING, REST)])
def test_the_shop_fails_an_item_only_the_first_time(shop: Shop, item: int, rest: int | None) -> None:
    assert shop.answer("GET", f"/stock/{item}", b"", 0.0) == (503, {"error": "busy"}, rest)
    assert shop.answer("GET", f"/stock/{item}", b"", 0.0)[0] == 200


def test_the_shop_limits_its_callers(shop: Shop) -> None:
    replies = [shop.answer("GET", "/orders", b"", 0.5)[0] for _ in range(LIMIT + 1)]
    assert replies == [200] * LIMIT + [429]
    assert shop.answer("GET", "/orders", b"", 1.49)[0] == 429
    assert shop.answer("GET", "/orders", b"", 1.5)[0] == 200
    assert shop.refused == 2


def test_the_label_is_a_picture() -> None:
    assert LABEL.startswith(b"\x89PNG\r\n")
    assert LABEL.endswith(b"IEND\xaeB`\x82")
