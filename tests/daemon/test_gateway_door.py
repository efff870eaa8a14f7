"""Who may come in through the gateway's door: a table of heads, each judged without a socket."""

import base64

import pytest

from inboxd.daemon.gateway_door import Door, Head, names_of

PAGES = frozenset({"/", "/docs"})
LOCAL = Door(pages=PAGES)
FAR = Door(b"s3cret", None, PAGES)


def head(method: str = "GET", path: str = "/jobs", host: str = "localhost:8470", **headers: str) -> Head:
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    return Head(method, path, {"host": host, **said})


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (head(), None),
        (head(host="127.0.0.1:8470"), None),
        (head(host="[::1]:8470"), None),
        (head(host="[::1]"), None),
        (head(host="LOCALHOST"), None),
        (head(host="evil.example:8470"), 421),
        (head(host="localhost.evil.example"), 421),
        (head(host="127.0.0.1.evil.example"), 421),
        (head(host=""), 421),
    ],
)
def test_on_loopback_only_our_own_names_are_served(asked: Head, status: int | None) -> None:
    """A page that lets its own name resolve to 127.0.0.1 sends that name as Host (DNS rebinding)."""
    assert (LOCAL.judge(asked) or (None,))[0] == status


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH", "PUT"])
@pytest.mark.parametrize(
    ("said", "may"),
    [
        ({}, True),
        ({"origin": "http://localhost:8470"}, True),
        ({"origin": "http://localhost:8470", "sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "none"}, True),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "http://localhost:8471"}, False),
        ({"origin": "null"}, False),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, False),
    ],
)
def test_what_another_site_sends_is_refused_whatever_the_method(method: str, said: dict[str, str], may: bool) -> None:
    verdict = LOCAL.judge(head(method, **said))
    assert verdict is None if may else verdict is not None and verdict[0] == 403


@pytest.mark.parametrize(
    ("asked", "may"),
    [
        (head("GET", "/", sec_fetch_site="cross-site", sec_fetch_mode="navigate"), True),
        (head("GET", "/docs", sec_fetch_site="cross-site", sec_fetch_mode="navigate"), True),
        (head("POST", "/", sec_fetch_site="cross-site", sec_fetch_mode="navigate"), False),
        (head("GET", "/", sec_fetch_site="cross-site", sec_fetch_mode="no-cors"), False),
        (head("GET", "/page/retry", sec_fetch_site="cross-site", sec_fetch_mode="navigate"), False),
    ],
)
def test_a_link_from_elsewhere_leads_to_the_page_and_no_further(asked: Head, may: bool) -> None:
    assert (LOCAL.judge(asked) is None) == may


@pytest.mark.parametrize(
    ("authorization", "may"),
    [
        ("Bearer s3cret", True),
        ("bearer s3cret", True),
        (basic("anybody:s3cret"), True),
        (basic(":s3cret"), True),
        ("Bearer wrong", False),
        ("Bearer ", False),
        ("Bearer s3cretx", False),
        ("s3cret", False),
        (basic("s3cret:"), False),
        (basic("s3cret"), False),
        ("Basic !!!", False),
        ("Digest s3cret", False),
        (None, False),
    ],
)
def test_from_elsewhere_a_token_is_asked_for(authorization: str | None, may: bool) -> None:
    said = {} if authorization is None else {"authorization": authorization}
    verdict = FAR.judge(head(host="gateway.example", **said))
    assert verdict is None if may else verdict is not None and verdict[0] == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_told_to_everybody(path: str) -> None:
    assert FAR.judge(head(path=path)) is None


def test_who_may_write_to_the_unix_socket_needs_no_token_and_no_name() -> None:
    asked = head(host="whatever")
    assert Door(b"s3cret").judge(Head(asked.method, asked.path, asked.headers, local=True)) is None


def test_a_token_is_never_compared_with_nothing() -> None:
    assert FAR.judge(head(host="gateway.example", authorization="Bearer")) is not None


def test_the_names_of_a_gateway_are_loopbacks_its_own_and_those_of_the_config() -> None:
    assert {"localhost", "127.0.0.1", "[::1]", "127.0.0.9", "inboxd.local"} == names_of("127.0.0.9", ["Inboxd.local"])
    assert "[::7]" in names_of("::7", [])
