"""What people ask of a daemon by moving files: hold, release, cancel, pause; with one that runs, and with none."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inboxd.daemon.aside import Aside, AsideError
from inboxd.daemon.config import Config
from inboxd.daemon.house import House
from inboxd.daemon.spool import Spool
from inboxd.daemon.switch import Switch
from tests.faultserver import FaultServer
from tests.jobskit import eventually


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture
def house(tmp_path: Path, server: FaultServer) -> Iterator[House]:
    api = {"shop": {"name": "shop", "base_url": server.url(""), "concurrency": 1}}
    settings = {"spool": str(tmp_path), "fsync": "off", "min_free": 0, "threads": 2, "drain": 0, "api": api}
    house = House(Config.model_validate(settings))
    house.start()
    yield house
    house.close()


def aside(house: House) -> Aside:
    """Give hands that, while they wait, let the house's main thread make its rounds."""
    return Aside(house.spool, lambda _: house.turn(house.clock.wall()))


def switch(house: House) -> Switch:
    """Give hands at the house's APIs."""
    return Switch(house.spool, house.config)


def patient(house: House) -> Aside:
    """Give hands that leave calls the time to end as well."""

    def pause(_: float) -> None:
        house.turn(house.clock.wall())
        threading.Event().wait(0.01)

    return Aside(house.spool, pause)


def drop(house: House, name: str, *jobs: Any) -> None:
    kind = ".json" if len(jobs) == 1 else ".jsonl"
    unfinished = Path(house.spool.inbox, f".{name}.tmp")
    unfinished.write_text("".join(json.dumps(job) + "\n" for job in jobs))
    unfinished.rename(Path(house.spool.inbox, name + kind))


def block(house: House, server: FaultServer) -> None:
    """Have the only call that the API may have under way take long."""
    drop(house, "blocks", {"url": server.url("/slow/blocks?ms=60000")})
    server.wait_for(1)


def lies(house: House, folder: str, name: str) -> bool:
    return any(path.name.startswith(name) for path in Path(house.spool.folder(folder)).iterdir())


def answer(house: House, name: str) -> Any:
    path = Path(house.spool.outbox, f"{name}.json")

    def there() -> bool:
        house.turn(house.clock.wall())
        return path.exists()

    assert eventually(there)
    return json.loads(path.read_bytes())


def test_a_job_in_memory_is_held_and_released_and_keeps_its_id(house: House, server: FaultServer) -> None:
    block(house, server)
    drop(house, "mine", {"url": server.url("/ok")})
    assert eventually(lambda: house.parts.client.queue.held == 2)
    filename = aside(house).hold("mine")
    assert lies(house, "hold", "mine~")
    assert not lies(house, "active", "mine~")
    assert house.parts.client.queue.held == 1
    switch(house).pause("shop")
    aside(house).release("mine")
    house.turn(house.clock.wall())
    assert eventually(lambda: lies(house, "active", filename))


def test_a_job_that_is_being_called_cannot_be_held(house: House, server: FaultServer) -> None:
    block(house, server)
    with pytest.raises(AsideError, match="being called just now"):
        aside(house).hold("blocks")


def lines_of(house: House, name: str) -> list[Any]:
    """Wait for the answers of a batch."""
    path = Path(house.spool.outbox, f"{name}.jsonl")

    def there() -> bool:
        house.turn(house.clock.wall())
        return path.exists()

    assert eventually(there)
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_batch_under_way_is_held_when_its_calls_have_ended_and_goes_on_where_it_was(
    house: House, server: FaultServer
) -> None:
    drop(house, "many", *[{"url": server.url(f"/slow/{number}?ms=100")} for number in range(12)])
    server.wait_for(3)
    filename = patient(house).hold("many")
    called = len(server.requests)
    assert called < 12
    assert lies(house, "hold", filename)
    assert not lies(house, "active", "many~")
    assert house.parts.client.queue.held == 0
    drop(house, "other", {"url": server.url("/ok")})
    assert answer(house, "other")["status"] == "done"
    assert len(server.requests) == called + 1
    assert aside(house).release("many") == filename
    assert sorted(line["line"] for line in lines_of(house, "many")) == list(range(1, 13))
    assert sorted(seen.path for seen in server.requests) == sorted(["/ok", *(f"/slow/{n}" for n in range(12))])


def test_a_batch_whose_call_lasts_is_held_later_and_may_be_released_before(house: House, server: FaultServer) -> None:
    drop(house, "many", *[{"url": server.url("/slow?ms=60000")}] * 4)
    server.wait_for(1)
    hands = aside(house)
    filename = hands.hold("many")
    assert not hands.is_held(filename)
    assert [batch["put_aside"] for batch in house.parts.rounds.status(0.0)["batches"]] == [True]
    assert hands.release("many") == filename
    house.turn(house.clock.wall())
    assert "put_aside" not in house.parts.rounds.status(0.0)["batches"][0]


def test_a_batch_that_ends_before_it_is_held_is_answered(house: House, server: FaultServer) -> None:
    drop(house, "many", *[{"url": server.url("/slow?ms=300")}] * 1, {"url": "no url"})
    server.wait_for(1)
    with pytest.raises(AsideError, match="it was answered just now"):
        patient(house).hold("many")
    assert house.spool.wishes("hold") == []


def test_a_batch_that_is_to_be_held_is_not_begun_by_the_next_daemon(tmp_path: Path, server: FaultServer) -> None:
    settings = {"spool": str(tmp_path), "fsync": "off", "min_free": 0, "threads": 2}
    spool = Spool(str(tmp_path))
    spool.make()
    crashed = "many~01900000-0000-7000-8000-000000000000.jsonl"
    Path(spool.active, crashed).write_text(json.dumps({"url": server.url()}) + "\n")
    spool.wish_for("hold", crashed)
    house = House(Config.model_validate(settings))
    house.start()
    assert eventually(lambda: lies(house, "hold", crashed))
    house.close()
    assert server.requests == []


def test_a_batch_that_was_parked_before_it_could_be_held_is_held_from_there(house: House) -> None:
    parked = "many~01900000-0000-7000-8000-000000000000.jsonl"
    house.spool.wish_for("hold", parked)
    # Not due, or the intake might take it up first.
    elsewhere = Path(house.spool.staged, parked)
    elsewhere.write_text("{}\n")
    os.utime(elsewhere, (2**32, 2**32))
    elsewhere.rename(Path(house.spool.deferred, parked))
    house.turn(house.clock.wall())
    assert lies(house, "hold", parked)
    assert house.spool.wishes("hold") == []


def test_a_waiting_job_is_cancelled_and_answered_so(house: House, server: FaultServer) -> None:
    block(house, server)
    drop(house, "mine", {"id": "m-1", "url": server.url("/ok")})
    assert eventually(lambda: house.parts.client.queue.held == 2)
    aside(house).cancel("mine")
    found = answer(house, "mine")
    assert (found["status"], found["id"], found["error"]["kind"]) == ("cancelled", "m-1", "cancelled")
    assert lies(house, "failed", "mine.json")
    assert [seen.path for seen in server.requests] == ["/slow/blocks"]

    def forgotten() -> bool:
        house.turn(house.clock.wall())
        return house.spool.wishes("cancel") == []

    assert eventually(forgotten)


def test_a_deferred_job_is_cancelled_at_once(house: House, server: FaultServer) -> None:
    drop(house, "later", {"url": server.url("/ok"), "delay": "1h"})
    assert eventually(lambda: lies(house, "deferred", "later~"))
    aside(house).cancel("later")
    assert answer(house, "later")["status"] == "cancelled"


def test_the_lines_of_a_batch_that_are_not_called_yet_are_cancelled(house: House, server: FaultServer) -> None:
    block(house, server)
    drop(house, "many", *[{"url": server.url("/ok")}] * 5)
    assert eventually(lambda: house.parts.client.queue.held == 6)
    aside(house).cancel("many")

    def gone() -> bool:
        house.turn(house.clock.wall())
        return house.parts.client.queue.held == 1

    assert eventually(gone)
    assert [seen.path for seen in server.requests] == ["/slow/blocks"]


def test_a_paused_api_is_not_called_and_others_are(house: House, server: FaultServer, tmp_path: Path) -> None:
    switch(house).pause("shop")
    house.turn(house.clock.wall())
    drop(house, "waits", {"url": server.url("/ok")})
    assert eventually(lambda: house.parts.client.queue.held == 1)
    with FaultServer() as other:
        drop(house, "goes", {"url": other.url("/ok")})
        assert answer(house, "goes")["status"] == "done"
    assert server.requests == []
    assert house.parts.rounds.status(0.0)["paused"] == ["shop"]
    assert switch(house).resume("shop") == ("shop", True)
    assert answer(house, "waits")["status"] == "done"
    assert switch(house).resume("shop") == ("shop", False)


def test_a_pause_outlives_a_restart(tmp_path: Path, server: FaultServer) -> None:
    settings = {"spool": str(tmp_path), "fsync": "off", "min_free": 0, "threads": 2}
    origin = server.url("").rstrip("/")
    spool = Spool(str(tmp_path))
    spool.make()
    Switch(spool, Config()).pause(origin)
    house = House(Config.model_validate(settings))
    house.start()
    drop(house, "waits", {"url": server.url("/ok")})
    assert eventually(lambda: house.parts.client.queue.held == 1)
    house.close()
    assert server.requests == []


def test_more_jobs_than_a_paused_api_may_hold_do_not_stop_the_others(tmp_path: Path, server: FaultServer) -> None:
    settings = {"spool": str(tmp_path), "fsync": "off", "min_free": 0, "threads": 2, "window": 10}
    spool = Spool(str(tmp_path))
    spool.make()
    Switch(spool, Config()).pause(server.url("").rstrip("/"))
    house = House(Config.model_validate(settings))
    house.start()
    for number in range(30):
        drop(house, f"waits-{number}", {"url": server.url("/ok")})
    assert eventually(lambda: lies(house, "deferred", "waits"))
    with FaultServer() as other:
        drop(house, "goes", {"url": other.url("/ok")})
        assert answer(house, "goes")["status"] == "done"
    house.close()
    assert server.requests == []


# -- without a daemon -------------------------------------------------------------------------------------------


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(str(tmp_path / "still"))
    spool.make()
    return spool


def test_without_a_daemon_files_are_moved_all_the_same(spool: Spool) -> None:
    Path(spool.inbox, "a.json").write_text("{}")
    hands = Aside(spool)
    assert hands.hold("a") == "a.json"
    assert Path(spool.folder("hold"), "a.json").exists()
    assert hands.release("a.json") == "a.json"
    assert Path(spool.inbox, "a.json").exists()
    hands.cancel("a")
    (deferred,) = Path(spool.deferred).iterdir()
    assert spool.wishes("cancel") == [deferred.name]


def test_nothing_is_ever_replaced(spool: Spool) -> None:
    Path(spool.inbox, "a.json").write_text("new")
    Path(spool.folder("hold"), "a.json").write_text("old")
    with pytest.raises(AsideError, match="there is one of that name in hold/ already"):
        Aside(spool).hold("a")
    assert Path(spool.folder("hold"), "a.json").read_text() == "old"


def test_of_several_of_one_name_none_is_guessed(spool: Spool) -> None:
    for kind in ("json", "jsonl"):
        Path(spool.inbox, f"a.{kind}").touch()
    with pytest.raises(AsideError, match="there are 2 jobs of that name"):
        Aside(spool).hold("a")
    assert Aside(spool).hold("a.jsonl") == "a.jsonl"


def test_a_slip_of_the_pen_is_told_with_the_nearest_name(spool: Spool) -> None:
    Path(spool.inbox, "order-17.json").touch()
    with pytest.raises(AsideError, match='did you mean "order-17"'):
        Aside(spool).cancel("ordr-17")


def test_of_a_job_that_is_answered_no_other_is_guessed(spool: Spool) -> None:
    Path(spool.inbox, "order-18.json").touch()
    Path(spool.outbox, "order-17.json").touch()
    for ask in (Aside(spool).cancel, Aside(spool).hold):
        with pytest.raises(AsideError, match="order-17: it is answered already"):
            ask("order-17")


def test_a_wish_that_names_nothing_is_removed(house: House) -> None:
    for kind in ("cancel", "hold", "put-down"):
        house.spool.wish_for(kind, "nobody~01900000-0000-7000-8000-000000000000.json")
        house.spool.wish_for(kind, "no name of ours")
    house.turn(house.clock.wall())
    assert house.spool.wishes("cancel") == house.spool.wishes("hold") == house.spool.wishes("put-down") == []
