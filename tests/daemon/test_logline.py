"""One record, one line: order, quoting, and what must never be in it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inboxd.daemon.logline import LONGEST_VALUE, Entry, json_line, logfmt, masked
from inboxd.jobs.result import isotime

AT = 1795334400.1239


def entry(event: str = "event", /, **fields: Any) -> Entry:
    return AT, "info", event, fields


def shown(value: Any, name: str = "v") -> str:
    """Give what stands for `value` in a line of logfmt."""
    return logfmt(entry("event", **{name: value})).partition(f" {name}=")[2]


def test_keys_stand_in_their_order_and_the_rest_as_given() -> None:
    fields = dict.fromkeys(["zeta", "ms", "fault", "alpha", "status", "attempt", "api", "line", "name", "id"], 1)
    keys = [pair.partition("=")[0] for pair in logfmt(entry("event", **fields)).split()]
    assert keys == [
        *["ts", "level", "event", "id", "name", "line", "api"],
        *["attempt", "status", "fault", "ms", "zeta", "alpha"],
    ]
    assert list(json.loads(json_line(entry("event", **fields)))) == keys


def test_instants_are_utc_with_milliseconds() -> None:
    assert isotime(AT) == "2026-11-22T08:00:00.123Z"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("order-17", "order-17"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "hi"', r'"say \"hi\""'),
        ("back\\slash", r'"back\\slash"'),
        ("a\nb\rc\td", r'"a\nb\rc\td"'),
        ("\x1b[31mred", r'"\u001b[31mred"'),
        ("\x85\u2028", r'"\u0085\u2028"'),
        ("turn\u202eed", r'"turn\u202eed"'),
        ("\ud800", r'"\ud800"'),
        ("bestellung-ä", "bestellung-ä"),
        ("2026-11-22T08:00:00.123Z", "2026-11-22T08:00:00.123Z"),
        (True, "true"),
        (17, "17"),
        (12.34567, "12.346"),
        ([1, "a"], r'"[1,\"a\"]"'),
        (2**70, str(2**70)),
        ([2**70], f"[{2**70}]"),
        (b"raw", "b'raw'"),
    ],
)
def test_values_are_quoted_where_they_must_be(value: object, text: str) -> None:
    assert shown(value) == text


def test_none_is_left_out() -> None:
    assert "v=" not in logfmt(entry(v=None, id=None))
    assert json.loads(json_line(entry(v=None, id=None))).keys() == {"ts", "level", "event"}


def test_fields_cannot_pose_as_the_records_own() -> None:
    assert logfmt(entry(level="error", ts=0, event="other")) == logfmt(entry())


def test_the_name_of_a_field_cannot_break_the_line() -> None:
    assert logfmt(entry(**{"a b\n=": 1})).endswith(" a_b__=1")


@pytest.mark.parametrize("name", ["token", "Authorization", "api_key", "password", "X-Auth"])
def test_fields_named_like_secrets_are_hidden(name: str) -> None:
    assert shown("s3cret", name) == "***"
    assert json.loads(json_line(entry("event", **{name: "s3cret"})))[name] == "***"


@pytest.mark.parametrize("line", [logfmt, json_line])
def test_secrets_are_hidden_at_every_depth(line: Any) -> None:
    deep = {"headers": {"Cookie": "s3cret"}, "calls": [{"url": "https://h/?token=s3cret", "password": "s3cret"}]}
    assert "s3cret" not in line(entry(request=deep))


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("https://me:s3cret@host/a?x=1&token=s3cret", "https://***@host/a?x=1&token=***"),
        ("HTTP://me:s3cret@host/", "HTTP://***@host/"),
        ("cannot reach https://me:s3cret@host/, sorry", "cannot reach https://***@host/, sorry"),
        ("Authorization: Bearer s3cret", "Authorization: ***"),
        ("proxy-authorization=Basic s3cret", "proxy-authorization=***"),
        ("{'Authorization': 'token s3cret', 'a': 1}", "{'Authorization': ***"),
        ("https://me:s3'c\"ret@host/", "https://***@host/"),
        ("Set-Cookie: a=s3cret; path=/\nnext", "Set-Cookie: ***\nnext"),
        ("sent BEARER s3cret twice", "sent BEARER *** twice"),
        ("a bearer of news", "a bearer *** news"),
        ("nothing here: 1/2", "nothing here: 1/2"),
    ],
)
def test_secrets_within_texts_are_masked(text: str, safe: str) -> None:
    assert masked(text) == safe


def test_a_text_without_end_is_cut() -> None:
    assert len(masked("x" * 10**6)) == LONGEST_VALUE + 1


def test_a_secret_at_the_cut_is_hidden_too() -> None:
    assert "s3cret" not in masked("x" * (LONGEST_VALUE - 18) + " https://me:s3cret@host/")


ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters())),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=5,
)


@given(st.text(st.characters()), st.dictionaries(st.text(), ANY, max_size=4))
def test_whatever_is_logged_is_one_line_of_text_that_can_be_encoded(event: str, fields: dict[str, Any]) -> None:
    for line in (logfmt((AT, "info", event, fields)), json_line((AT, "info", event, fields))):
        assert len(line.splitlines()) == 1
        line.encode()


@given(st.dictionaries(st.text(), ANY, max_size=4))
def test_json_lines_are_json(fields: dict[str, Any]) -> None:
    assert json.loads(json_line(entry("event", **fields)))["event"] == "event"


@given(st.text(st.characters()))
def test_what_is_quoted_can_be_read_back(text: str) -> None:
    written = shown(text)
    assert (json.loads(written) if written.startswith('"') else written) == masked(text)
