"""Which URL belongs to which API."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from inboxd.jobs.api import Api, Apis, Policy, origin

SHOP = Api(name="shop", base_url="https://shop.example")
ORDERS = Api(name="orders", base_url="https://Shop.example:443/api/orders/")
LOCAL = Api(name="local", base_url="http://127.0.0.1:8080/a")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://shop.example", "shop"),
        ("https://shop.example/", "shop"),
        ("https://shop.example?q=1", "shop"),
        ("HTTPS://SHOP.EXAMPLE:443/x", "shop"),
        ("https://shop.example:/x", "shop"),
        ("https://u:p@shop.example/x", "shop"),
        ("https://shop.example/api/orders", "orders"),
        ("https://shop.example/api/orders/17?x=/../", "orders"),
        ("https://shop.example/api/orders#f", "orders"),
        ("https://shop.example/api/ordersmore", "shop"),
        ("https://shop.example/api/orders/../admin", "shop"),
        ("https://shop.example/api/orders/%2e%2E/admin", "shop"),
        ("https://shop.example/api/x/../orders/1", "orders"),
        ("https://shop.example/%61pi/orders/1", "orders"),
        ("https://shop.example/api%2Forders/1", "shop"),
        ("https://shop.example.evil.test/", "https://shop.example.evil.test"),
        ("https://shop.example@evil.test/", "https://evil.test"),
        ("https://evil.test/https://shop.example/", "https://evil.test"),
        ("http://shop.example/", "http://shop.example"),
        ("https://shop.example:444/", "https://shop.example:444"),
        ("http://127.0.0.1:8080/a/b", "local"),
        ("http://127.0.0.1:8080/b", "http://127.0.0.1:8080"),
        ("http://[::1]/x", "http://[::1]"),
    ],
)
def test_a_url_belongs_to_the_api_it_starts_with_or_else_to_its_origin(url: str, name: str) -> None:
    assert Apis([SHOP, ORDERS, LOCAL]).of(url).name == name


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://H:80/x", "http://h"),
        ("http://h:/", "http://h"),
        ("https://h:80", "https://h:80"),
        ("HTTPS://u:p@H:443?x", "https://h"),
        ("http://[::1]:80/", "http://[::1]"),
    ],
)
def test_the_origin_is_scheme_host_and_port_in_one_form(url: str, expected: str) -> None:
    assert origin(url) == expected


def test_defaults_hold_for_every_origin_and_are_made_once() -> None:
    apis = Apis([], Policy.model_validate({"rate": "50/s", "attempts": 2, "backoff": {"first": "1ms"}}))
    made = apis.of("http://h/a")
    assert (made.rate and made.rate.per_second, made.attempts, made.backoff.first) == (50.0, 2, 0.001)
    assert apis.of("http://H:80/b") is made


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a b"},
        {"name": "a~b"},
        {"base_url": "https://h/?q"},
        {"base_url": "https://h/#f"},
        {"base_url": "h"},
        {"rate": "fast"},
        {"burst": 0},
        {"attempts": 0},
        {"concurrency": "8"},
        {"colour": "red"},
        {"headers": {"Content-Length": "1"}},
    ],
)
def test_a_wrong_api_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Api.model_validate({"name": "a", "base_url": "https://h"} | wrong)


@given(st.from_regex(r"(/[.%2eE]{0,6}){0,6}", fullmatch=True))
def test_no_way_of_dots_leads_out_of_an_api_and_counts_as_inside(path: str) -> None:
    stack = ["api", "orders"]
    for segment in path.lower().replace("%2e", ".").split("/")[1:]:
        if segment == "..":
            del stack[-1:]
        elif segment != ".":
            stack.append(segment)
    if stack[:2] != ["api", "orders"]:
        assert Apis([ORDERS]).of(f"https://shop.example/api/orders{path}").name != "orders"
