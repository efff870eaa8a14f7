"""A whole daemon in this process: how it starts, serves and stops."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inboxd.daemon.config import Config
from inboxd.daemon.house import House
from inboxd.daemon.spool import SpoolError
from tests.daemonkit import drop_whole
from tests.jobskit import eventually


def house(root: Path, **settings: Any) -> House:
    return House(Config.model_validate({"spool": str(root), "fsync": "off", "min_free": 0, "threads": 2} | settings))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[House]:
    one = house(tmp_path)
    one.start()
    yield one
    one.close()


def drop(root: Path, name: str, content: str) -> None:
    drop_whole(root / "inbox" / name, content)


def files(root: Path, folder: str) -> list[str]:
    return sorted(path.name for path in (root / folder).iterdir())


def test_a_dropped_file_is_answered(tmp_path: Path, running: House) -> None:
    drop(tmp_path, "a.json", "[]]")
    assert eventually(lambda: files(tmp_path, "outbox") == ["a.json"])
    assert eventually(lambda: running.idle)


def test_a_second_daemon_is_refused(tmp_path: Path, running: House) -> None:
    with pytest.raises(SpoolError, match="another inboxd"):
        house(tmp_path).start()


def test_the_status_says_how_it_goes(tmp_path: Path, running: House) -> None:
    drop(tmp_path, "a.json", "17")
    assert eventually(lambda: running.parts.outbox.committed == 1)
    running.turn(running.clock.wall())
    status = json.loads((tmp_path / "state/status.json").read_bytes())
    assert (status["answered"], status["trouble"], status["batches"]) == (1, [], [])


def test_once_works_off_what_is_there_and_leaves_nothing_in_active(tmp_path: Path) -> None:
    one = house(tmp_path)
    one.spool.make()
    drop(tmp_path, "a.json", "17")
    # Written this very moment: it is not believed complete yet, and has to be waited for.
    drop(tmp_path, "b.jsonl", "{\n{\n")
    one.start()
    one.run(once=True)
    assert files(tmp_path, "outbox") == ["a.json", "b.jsonl", "b.summary.json"]
    assert files(tmp_path, "active") == files(tmp_path, "inbox") == []
    again = house(tmp_path)
    again.start()
    assert again.inflight.crashes == {}
    again.close()


def test_a_stop_is_obeyed(tmp_path: Path) -> None:
    one = house(tmp_path)
    one.start()
    thread = threading.Thread(target=one.run)
    thread.start()
    one.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert not one.spool.is_served()


def test_a_stop_leaves_no_thread_and_no_handle(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    one = house(tmp_path)
    one.start()
    drop(tmp_path, "b.jsonl", "{\n" * 10)
    one.close()
    # Those of earlier tests may have come to their end meanwhile.
    assert set(threading.enumerate()) <= before
    assert files(tmp_path, "active") == []


def test_a_spool_that_was_moved_away_is_served_no_longer(tmp_path: Path) -> None:
    one = house(tmp_path / "spool")
    one.start()
    (tmp_path / "spool").rename(tmp_path / "elsewhere")
    one.run()
    assert not one.parts.intake.alive
    assert not one.parts.outbox.alive


@pytest.mark.parametrize("content", ["", "{", "[]", '{"at": 1, "lanes": []}', '{"at": "x", "lanes": {}}'])
def test_lanes_that_cannot_be_read_begin_afresh(tmp_path: Path, content: str) -> None:
    one = house(tmp_path)
    one.spool.make()
    (tmp_path / "state/lanes.json").write_text(content)
    one.start()
    assert one.parts.client.queue.states() == {}
    one.close()
