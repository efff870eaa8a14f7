"""Pausing an API by name: which names are known, with a daemon that runs and with none, and what is said of others."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from inboxd.daemon.aside import AsideError
from inboxd.daemon.config import Config
from inboxd.daemon.house import House
from inboxd.daemon.spool import Spool
from inboxd.daemon.switch import Switch

CONFIG = Config.model_validate(
    {
        "api": {
            "shop": {"name": "shop", "base_url": "https://shop.example/v2"},
            "bank": {"name": "bank", "base_url": "https://bank.example"},
        },
        "queues": {"orders": {}},
        "handlers": {"thumbnail": {"use": "shop.pictures:thumbnail"}},
    }
)
OTHERS = "any other is called by its origin, as https://shop.example"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(str(tmp_path))
    spool.make()
    return spool


@pytest.mark.parametrize(
    ("want", "paused"),
    [
        ("shop", "shop"),
        ("https://shop.example", "https://shop.example"),
        ("HTTPS://Shop.example:443/v2/orders?page=1", "shop"),
        ("https://bank.example", "bank"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("do:thumbnail", "do:thumbnail"),
        ("do:put", "do:put"),
        ("queue:orders", "queue:orders"),
    ],
)
def test_what_is_known_is_paused_under_the_name_that_its_jobs_have(spool: Spool, want: str, paused: str) -> None:
    switch = Switch(spool, CONFIG)
    assert switch.pause(want) == paused
    assert len(spool.wishes("paused")) == 1
    assert switch.resume(want) == (paused, True)
    assert switch.resume(want) == (paused, False)
    assert spool.wishes("paused") == []


@pytest.mark.parametrize(
    ("want", "said"),
    [
        ("shp", f'shp: no such API; did you mean "shop"? Known: bank, shop; {OTHERS}'),
        ("Warehouse", f"Warehouse: no such API; known: bank, shop; {OTHERS}"),
        ("ftp://shop.example", f"ftp://shop.example: no such API; known: bank, shop; {OTHERS}"),
        ("do:thumbnial", 'do:thumbnial: no such API; did you mean "do:thumbnail"? Known: do:put, do:thumbnail'),
        ("queue:incoming-letters", "queue:incoming-letters: no such API; known: queue:orders"),
    ],
)
def test_an_api_that_nobody_knows_is_refused_with_those_that_there_are(spool: Spool, want: str, said: str) -> None:
    switch = Switch(spool, CONFIG)
    for asked in (switch.pause, switch.resume):
        with pytest.raises(AsideError) as raised:
            asked(want)
        assert str(raised.value) == said
    assert spool.wishes("paused") == []


def test_a_queue_that_is_there_needs_no_word_in_the_config(spool: Spool) -> None:
    Path(spool.folder("queues"), "letters").mkdir()
    assert Switch(spool, Config()).pause("queue:letters") == "queue:letters"


def test_what_was_paused_by_hand_can_be_resumed(spool: Spool) -> None:
    spool.wish_for("paused", "warehouse")
    assert Switch(spool, CONFIG).resume("warehouse") == ("warehouse", True)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(CONFIG.model_copy(update={"spool": str(tmp_path), "fsync": "off", "min_free": 0, "handlers": {}}))
    house.start()
    yield house
    house.close()


def test_a_daemon_that_runs_knows_its_apis_whatever_config_we_were_given(house: House) -> None:
    house.turn(house.clock.wall())
    switch = Switch(house.spool, Config())
    assert switch.pause("shop") == "shop"
    with pytest.raises(AsideError, match='did you mean "bank"'):
        switch.pause("bnk")


def test_a_daemon_that_is_down_is_not_asked(house: House) -> None:
    house.turn(house.clock.wall())
    house.close()
    with pytest.raises(AsideError, match="known: none that has a name"):
        Switch(house.spool, Config()).pause("shop")
