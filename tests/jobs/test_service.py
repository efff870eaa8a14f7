"""An API as a class: calls as attributes, failures as answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from inboxd import ApiCall, Service
from inboxd.daemon.config import parse
from inboxd.jobs.result import Answer, Response
from inboxd.jobs.shape import Shape
from inboxd.jobs.tomltext import inline
from tests.daemonkit import environment
from tests.faultserver import FaultServer

TINY = {"first": "10ms", "factor": 2, "max": "1s"}


class Echo(BaseModel):
    method: str
    path: str


class Shop(Service):
    base_url = "http://shop.example"
    attempts = 2
    backoff = TINY
    headers = {"X-Client": "test"}  # noqa: RUF012  # read once, when the class is made
    close = ApiCall("PATCH", "/echo/orders/{id}", json={"status": "Closed", "by": "${by}"}, defaults={"by": "me"})
    see = ApiCall("GET", "/echo{?page}", shape=Echo)
    first = ApiCall("GET", "/echo", select="path", cache="5m")
    flaky = ApiCall("GET", "/status/{status}")
    slow = ApiCall("GET", "/slow?ms=300")


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture
def shop(server: FaultServer) -> Iterator[Shop]:
    with Shop(base_url=server.url(""), threads=4) as running:
        yield running


def test_a_call_gives_its_answer(shop: Shop, server: FaultServer) -> None:
    answer = shop.close(id="a/b")
    assert (answer.status, answer.api) == ("done", "shop")
    seen = server.requests[0]
    assert (seen.method, seen.target, json.loads(seen.body)) == (
        "PATCH",
        "/echo/orders/a%2Fb",
        {"status": "Closed", "by": "me"},
    )
    assert seen.headers["x-client"] == "test"


def test_a_call_that_was_begun_is_a_future(shop: Shop) -> None:
    futures = [shop.flaky.submit(status=status) for status in (200, 503, 404)]
    assert [future.result(20).status for future in futures] == ["done", "failed", "failed"]


def test_rows_are_answered_each_and_a_bad_one_stops_nobody(shop: Shop) -> None:
    rows: list[dict[str, Any]] = [{"status": 200}, {"status": 404}, {"sttus": 1}, {"status": ".."}, {"status": 201}]
    answers = {answer.line: answer for answer in shop.flaky.map(rows)}
    assert [answers[line].status for line in range(1, 6)] == ["done", "failed", "rejected", "rejected", "done"]
    assert answers[3].error is not None
    assert 'with.sttus: unknown argument; did you mean "status"?' in answers[3].error.message


def test_rows_are_drawn_as_there_is_work(shop: Shop, server: FaultServer) -> None:
    drawn = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal drawn
        for _ in range(1000):
            drawn += 1
            yield {"status": 200}

    answers = shop.flaky.map(rows())
    assert next(answers).ok
    assert drawn < 100


def test_a_bar_is_shown_when_asked_for(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(list(shop.flaky.map([{"status": 200}] * 3, progress="Closing"))) == 3
    assert "Closing" in capsys.readouterr().err
    assert len(list(shop.flaky.map([{"status": 200}] * 3))) == 3
    assert capsys.readouterr().err == ""


def test_values_are_shaped_and_selected(shop: Shop) -> None:
    assert shop.see(page=2).value == Echo(method="GET", path="/echo")
    assert shop.first().value == "/echo"


def test_answers_are_kept_without_a_folder_to_be_named(shop: Shop, server: FaultServer) -> None:
    assert [shop.first().cache, shop.first().cache] == ["miss", "hit"]


def test_leaving_by_an_error_cancels_what_was_not_begun(server: FaultServer) -> None:
    shop = Shop(base_url=server.url(""), threads=1, concurrency=1)
    futures = [shop.slow.submit() for _ in range(3)]
    shop.__exit__(KeyError, KeyError(), None)
    statuses = sorted(future.result(20).status for future in futures)
    assert statuses[:2] == ["cancelled", "cancelled"]


def test_a_future_can_be_cancelled_before_its_turn(server: FaultServer) -> None:
    with Shop(base_url=server.url(""), threads=1, concurrency=1) as shop:
        running, waiting = shop.slow.submit(), shop.slow.submit()
        assert waiting.cancel()
        assert waiting.cancelled()
        assert running.result(20).ok


def test_a_program_that_does_not_close_its_service_ends_when_all_is_answered(server: FaultServer) -> None:
    program = f"""
from inboxd import ApiCall, Service
class Shop(Service):
    base_url = {server.url("")!r}
    see = ApiCall(path="/slow?ms=300")
shop = Shop(threads=2)
shop.see.submit().add_done_callback(lambda future: print(future.result().status))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"rte": "50/s"}, 'Wrong.rte: an API has no such key; did you mean "rate"?'),
        ({"calls": {}}, "Wrong.calls: an API has no such key"),
    ],
)
def test_a_wrong_class_is_told_when_it_is_made(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(TypeError) as caught:
        type("Wrong", (Service,), keys)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"path": "orders"}, 'ApiCall: path: expected a path that begins with "/"'),
        ({"jsn": {}}, 'ApiCall: jsn: unknown key; did you mean "json"?'),
        ({"shape": 5}, "shape: expected a type or a callable, found 5"),
        ({"cache": "5 parsecs"}, "ApiCall: cache"),
    ],
)
def test_a_wrong_call_is_told_when_it_is_made(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(TypeError) as caught:
        ApiCall(**keys)
    assert why in str(caught.value)


def test_a_wrong_value_is_told_with_the_class() -> None:
    class Odd(Service):
        base_url = "shop.example"

    with pytest.raises(TypeError, match="Odd: base_url: expected an absolute"):
        Odd()


def test_a_class_inherits_keys_and_calls() -> None:
    class BookShop(Shop):
        rate = "5/s"
        books = ApiCall(path="/books")

    assert (BookShop._keys["name"], BookShop._keys["attempts"], BookShop._keys["rate"]) == ("book_shop", 2, "5/s")
    assert set(BookShop._calls) == {*Shop._calls, "books"}


# -- shapes -------------------------------------------------------------------------------------------------------


@dataclass
class Item:
    id: int


def shaped(of: Any, value: Any, select: bool = False) -> Answer:
    response = Response(200, {"Content-Type": "application/json"}, json.dumps(value).encode())
    answer = Answer("id", "done", response=response)
    if select:
        answer.select("items")
    Shape(of).apply(answer)
    return answer


@pytest.mark.parametrize(
    ("of", "value", "expected"),
    [
        (Item, {"id": 1}, Item(1)),
        (Item, [{"id": 1}, {"id": 2}], [Item(1), Item(2)]),
        (list[Item], [{"id": 1}], [Item(1)]),
        (dict[str, int], {"a": "5"}, {"a": 5}),
        (len, {"a": 1}, 1),
        (str, [1, 2], ["1", "2"]),
        (lambda item: item["id"], [{"id": 3}], [3]),
    ],
)
def test_a_value_takes_its_shape(of: Any, value: Any, expected: Any) -> None:
    assert shaped(of, value).value == expected


def test_what_was_selected_is_what_is_shaped() -> None:
    assert shaped(Item, {"items": [{"id": 1}]}, select=True).value == [Item(1)]


def test_a_value_that_does_not_fit_is_a_failed_answer_without_the_value() -> None:
    answer = shaped(Echo, {"method": "GET", "path": ["s3cret"]})
    assert answer.error is not None
    assert (answer.status, answer.error.kind) == ("failed", "bad_response")
    assert answer.error.message == "shape: path: Input should be a valid string"


def test_a_function_that_raises_is_a_failed_answer() -> None:
    answer = shaped(lambda item: item["no"], {"id": 1})
    assert answer.error is not None
    assert answer.error.message == "shape: KeyError: 'no'"


# -- TOML ---------------------------------------------------------------------------------------------------------


def test_a_class_becomes_config_and_config_a_class(tmp_path: Path) -> None:
    text = Shop.to_toml()
    (api,) = parse(text, str(tmp_path / "inboxd.toml")).apis
    loaded = Service.from_toml(text, "shop")
    with loaded() as of_toml, Shop() as of_class:
        assert of_toml._api == of_class._api == api
    assert loaded.to_toml() == text


def test_loading_brings_the_defaults_along() -> None:
    text = '[defaults]\nattempts = 7\n[api.shop]\nbase_url = "http://a.example"\n[api.shop.calls.add]\njson = "${x}"'
    with Service.from_toml(text, "shop")() as shop:
        assert shop._api.attempts == 7
        assert list(shop._api.calls) == ["add"]
    with pytest.raises(ValueError, match=r'there is no \[api.shp\]; did you mean "shop"'):
        Service.from_toml(text, "shp")


def test_what_toml_cannot_say_is_told() -> None:
    class Odd(Service):
        base_url = "http://a.example"
        add = ApiCall(path="/", json={"a": None})

    with pytest.raises(ValueError, match=r"api\.odd\.calls\.add\.json: TOML has no null"):
        Odd.to_toml()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('a"b\\c\n\x7fé😀', '"a\\"b\\\\c\\n\\u007fé😀"'),
        ({"a b": [True, 1, 0.5], "c": {}}, '{ "a b" = [true, 1, 0.5], c = {} }'),
    ],
)
def test_values_are_written_as_toml_reads_them(value: Any, text: str) -> None:
    assert inline(value) == text
