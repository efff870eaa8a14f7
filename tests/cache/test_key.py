"""The key decides whether an answer may be shared: a wrong yes serves wrong content, a wrong no costs a call."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inboxd.cache.key import is_secret, key, redact
from inboxd.cache.urls import normal_url

SAME = [
    ("HTTP://Shop.EXAMPLE/a", "http://shop.example/a"),
    ("http://shop.example", "http://shop.example/"),
    ("http://shop.example?a=1", "http://shop.example/?a=1"),
    ("http://shop.example:80/a", "http://shop.example/a"),
    ("https://shop.example:443/a", "https://shop.example/a"),
    ("https://shop.example:/a", "https://shop.example/a"),
    ("http://[2001:DB8::1]:80/", "http://[2001:db8::1]/"),
    ("http://h/%7euser%2d1", "http://h/~user-1"),
    ("http://h/a%2fb", "http://h/a%2Fb"),
    ("http://h/a b", "http://h/a%20b"),
    ("http://h/ü", "http://h/%C3%bc"),
    ("http://h/{a}", "http://h/%7Ba%7D"),
    ("http://h/?b=2&a=1", "http://h/?a=1&b=2"),
    ("http://h/?a=2&b=0&a=1", "http://h/?b=0&a=2&a=1"),
    ("http://h/?%61=1", "http://h/?a=1"),
    ("http://h/a#part", "http://h/a"),
    ("http://h/a?x=1#part?y=2", "http://h/a?x=1"),
    ("http://h/a/./b/../c", "http://h/a/c"),
    ("http://h/a/%2E%2e/c", "http://h/c"),
    ("http://h/../../a", "http://h/a"),
    ("http://h/a/b/..", "http://h/a/"),
    ("http://h/a/.", "http://h/a/"),
    ("http://h/..", "http://h/"),
    ("http://h/a//../b", "http://h/a/b"),
]

DIFFERENT = [
    ("http://h/a", "https://h/a"),
    ("http://h/a", "http://g/a"),
    ("http://h/a", "http://h/A"),
    ("http://h/a", "http://h/a/"),
    ("http://h/a", "http://h//a"),
    ("http://h:443/a", "http://h/a"),
    ("http://h:8080/a", "http://h/a"),
    ("http://h/a%2Fb", "http://h/a/b"),
    ("http://h/a%3Fb", "http://h/a?b"),
    ("http://h/a%23b", "http://h/a#b"),
    ("http://h/%2541", "http://h/%41"),
    ("http://h/%2541", "http://h/A"),
    ("http://h/%%32F", "http://h/%2F"),
    ("http://h/?a=1&a=2", "http://h/?a=2&a=1"),
    ("http://h/?a=1%26b=2", "http://h/?a=1&b=2"),
    ("http://h/?a=1+2", "http://h/?a=1%2B2"),
    ("http://h/?a=1", "http://h/?A=1"),
    ("http://h/?a", "http://h/?a="),
    ("http://h/?a=1", "http://h/?a=1&a=1"),
    ("http://h/?", "http://h/"),
    ("http://h/?a=../b", "http://h/?a=b"),
    ("http://h/.a", "http://h/a"),
    ("http://h/...", "http://h/"),
    ("http://u:1@h/", "http://u:2@h/"),
    ("http://u:1@h/", "http://h/"),
    ("http://User@h/", "http://user@h/"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_two_ways_to_write_one_url_are_the_same_call(one: str, other: str) -> None:
    assert normal_url(one) == normal_url(other)
    assert key("GET", one) == key("GET", other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_urls_that_may_be_answered_differently_are_different_calls(one: str, other: str) -> None:
    assert key("GET", one) != key("GET", other)


def test_a_key_is_a_sha256_in_hexadecimal() -> None:
    assert re.fullmatch("[0-9a-f]{64}", key("GET", "http://h/"))


def test_methods_are_told_apart() -> None:
    assert len({key(method, "http://h/") for method in ("GET", "HEAD", "POST", "get")}) == 4


def test_bodies_are_told_apart() -> None:
    assert len({key("POST", "http://h/", body=body) for body in (None, b"", b"a", b"b")}) == 4


@pytest.mark.parametrize(
    ("one", "other", "vary"),
    [
        ({"User-Agent": "a"}, {"User-Agent": "b"}, ()),
        ({"Accept": "a"}, {}, ()),
        ({"Idempotency-Key": "1"}, {"Idempotency-Key": "2"}, ()),
        ({"Accept": "a"}, {"ACCEPT": "a"}, ("accept",)),
        ({"Accept": " a\t"}, {"Accept": "a"}, ("Accept",)),
        ({"A": "1", "B": "2"}, {"B": "2", "A": "1"}, ("B", "A")),
        ({"Authorization": "x"}, {"authorization": "x"}, ()),
    ],
)
def test_headers_that_do_not_matter_leave_the_key_alone(
    one: dict[str, str], other: dict[str, str], vary: tuple[str, ...]
) -> None:
    assert key("GET", "http://h/", headers=one, vary=vary) == key("GET", "http://h/", headers=other, vary=vary)


@pytest.mark.parametrize(
    ("one", "other", "vary"),
    [
        ({"Accept": "a"}, {"Accept": "b"}, ("accept",)),
        ({"Accept": ""}, {}, ("Accept",)),
        ({"A": "1", "B": "2"}, {"A": "2", "B": "1"}, ("A", "B")),
        ({"A": "1'), ('b', '2"}, {"A": "1", "B": "2"}, ("A", "B")),
        ({"Authorization": "Bearer 1"}, {"Authorization": "Bearer 2"}, ()),
        ({"Authorization": "Bearer 1"}, {}, ()),
        ({"Proxy-Authorization": "1"}, {"Proxy-Authorization": "2"}, ()),
        ({"Cookie": "a=1"}, {"Cookie": "a=2"}, ()),
        ({"x-api-key": "1"}, {"X-Api-Key": "2"}, ()),
        ({"X-Shop-Token": "1"}, {"X-Shop-Token": "2"}, ()),
    ],
)
def test_headers_that_matter_divide_the_key(one: dict[str, str], other: dict[str, str], vary: tuple[str, ...]) -> None:
    assert key("GET", "http://h/", headers=one, vary=vary) != key("GET", "http://h/", headers=other, vary=vary)


def test_a_call_that_varies_does_not_share_with_one_that_does_not() -> None:
    """The second ignores what Accept says, so its answer may be of another kind than the first one wants."""
    assert key("GET", "http://h/", vary=["Accept"]) != key("GET", "http://h/", headers={"Accept": "text/csv"})


def test_text_that_no_encoding_takes_has_a_key() -> None:
    """JSON may spell half a surrogate pair."""
    assert len({key("GET", "http://h/" + half, headers={"Cookie": half}) for half in ("\ud800", "\ud801")}) == 2


@settings(deadline=None)
@given(st.text(), st.text(), st.dictionaries(st.text(), st.text()), st.lists(st.text()))
def test_any_text_has_a_key(method: str, url: str, headers: dict[str, str], vary: list[str]) -> None:
    assert len(key(method, "http://" + url, headers=headers, vary=vary)) == 64
    assert len(key(method, url)) == 64


@settings(deadline=None)
@given(st.text(alphabet="aB%/.?&=#:@[]2345eE ü{"))
def test_normalizing_twice_changes_nothing_more(rest: str) -> None:
    once = normal_url("http://h/" + rest)
    assert normal_url(once) == once


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("123"))))
def test_the_order_of_different_names_in_a_query_does_not_matter(pairs: list[tuple[str, str]]) -> None:
    regrouped = sorted(pairs, key=lambda pair: "bca".index(pair[0]))
    one, other = ("http://h/?" + "&".join(map("=".join, some)) for some in (pairs, regrouped))
    assert key("GET", one) == key("GET", other)


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "Set-Cookie2", "X-Api-Key", "apikey", "key"),
        *("X-Auth-Token", "X-Auth", "auth", "oauth_token", "access_token", "PRIVATE-TOKEN", "X-CSRF-Token", "apiKey"),
        *("client_secret", "X-Amz-Signature", "X-Amz-Credential", "sig", "X-Amz-Security-Token", "password", "passwd"),
        *("Ocp-Apim-Subscription-Key", "x-functions-key", "PHPSESSID", "session", "sid", "X-JWT-Assertion", "pwd"),
        *("AUTHORIZATION", "Authentication-Info", "X-Company-Key", "otp"),
        "a" * 100 + "-Token",
    ],
)
def test_names_of_credentials_are_secret(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *("Accept", "Content-Type", "ETag", "Last-Modified", "User-Agent", "Idempotency-Key", "idempotence_key", "id"),
        *("author", "Authority", "authored_by", "WWW-Authenticate", "Proxy-Authenticate", "design", "keyword", "page"),
        *("keys", "compass", "inside", "spinning", "Origin", "Location", "Retry-After", "X-Request-Id", ""),
        "a" * 100,
    ],
)
def test_other_names_are_not_secret(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h/a?b=1", "http://h/a?b=1"),
        ("http://user:pw@h:8080/a", "http://***@h:8080/a"),
        ("http://token@h", "http://***@h"),
        ("http://a@b@h/", "http://***@h/"),
        ("//user:pw@h/", "//***@h/"),
        ("http://h/@user?x=a@b", "http://h/@user?x=a@b"),
        ("http://h/?api_key=s3&page=2&sig=s4", "http://h/?api_key=***&page=2&sig=***"),
        ("http://h/?%74oken=s3", "http://h/?%74oken=***"),
        ("http://h/?token=a=b", "http://h/?token=***"),
        ("http://h/?token", "http://h/?token"),
        ("http://h/#access_token=s3", "http://h/"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert redact(url) == shown


@settings(deadline=None)
@given(st.text(alphabet="ab:/?#@&=%_key"))
def test_redacting_twice_changes_nothing_more(url: str) -> None:
    assert redact(redact(url)) == redact(url)
