"""What a job may say, and the sentence for everything else."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inboxd.jobs.faults import Invalid
from inboxd.jobs.job import KINDS, Job, load, parse, parse_object

URL = "http://h.example/"


def said(job: Any) -> str:
    with pytest.raises(Invalid) as refusal:
        parse_object(job)
    return refusal.value.message


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"url": None}, "url: expected an absolute http:// or https:// URL without spaces or control characters"),
        ({"method": "GET /"}, "method: found a string; expected a string that must match pattern"),
        ({"method": 5}, "method: found 5; expected a string"),
        ({"method": "connect"}, "method connect cannot be carried out for a job"),
        ({"attempts": "5"}, "attempts: found a string; expected an integer"),
        ({"attempts": 0}, "attempts: found 0; expected greater than or equal to 1"),
        ({"attempts": True}, "attempts: found a boolean; expected an integer"),
        ({"timeout": 0}, "timeout: found 0; expected greater than 0"),
        (
            {"timeout": "soon"},
            'timeout: "soon" is not a duration; write "30s", "5m", "2h", "7d", or a number of seconds',
        ),
        ({"delay": 10**400}, "delay: expected a duration between 0 and ten years"),
        ({"priority": 1.5}, "priority: found 1.5; expected an integer"),
        ({"ok": 200}, 'ok: expected a set of statuses such as "200-299,404"'),
        ({"ok": "2xx"}, 'ok: "2xx" names no set of statuses; write "200-299" or "200,201,404"'),
        (
            {"not_before": "2026-12-01"},
            'not_before: expected an instant with its offset, before the year 2400, such as "2026-12-01T08:00:00Z"',
        ),
        ({"not_before": "0001-01-01T00:00:00+14:00"}, "not_before: expected an instant with its offset"),
        ({"not_before": "9999-12-31T23:59:59-14:00"}, "not_before: expected an instant with its offset"),
        ({"not_before": 1}, "not_before: expected an instant with its offset"),
        ({"id": "a b"}, "id: found a string; expected a string that must match pattern"),
        ({"headers": {"a b": "c"}}, "headers: 'a b' is not a header name"),
        ({"headers": {5: "c"}}, "headers: 5 is not a header name"),
        ({"headers": {"Content-Length": "5"}}, "headers: Content-Length is set by the transport; leave it out"),
        ({"headers": {"X": "a\r\nY: b"}}, "headers: X: expected one line of Latin-1 text"),
        ({"headers": {"X": "€"}}, "headers: X: expected one line of Latin-1 text"),
        ({"headers": []}, "headers: expected an object of header names and string values"),
        ({"query": {"a": None}}, "query: a: expected a string, a number, a boolean, or a list of them"),
        ({"query": []}, "query: expected an object of names and values"),
        ({"base64": "a"}, "base64: expected base64 (RFC 4648 4, with padding)"),
        ({"file": "../x"}, "file: expected the plain name of a file beside the job in the inbox"),
        ({"file": "\ud800"}, "file: expected the plain name of a file beside the job in the inbox"),
        (
            {"multipart": {"a": {"text": "b", "file": "c"}}},
            "multipart.a: expected exactly one of text, base64 and file",
        ),
        ({"multipart": {"a": {}}}, "multipart.a: expected exactly one of text, base64 and file"),
        ({"multipart": {"a": 5}}, "multipart.a: found 5; expected an object"),
        ({"json": 1, "text": "a"}, "expected at most one body, found json and text"),
        ({"cache": "soon"}, 'cache: "soon" is not a duration'),
        ({"cache": {"ttl": "5m", "vari": []}}, 'cache.vari: unknown key; did you mean "vary"?'),
        ({"metod": "GET"}, 'metod: unknown key; did you mean "method"?'),
        ({"zzz": 1}, "zzz: unknown key"),
        ({"do": "put"}, "expected one of them, found url and do"),
        ({"with": {"a": 1}}, "with: expected only beside call or do, whose arguments it holds"),
        ({"trace": {"id": "a", "received": "2026-12-01T08:00:00Z", "attempts": [{"x": 10**30}]}}, "trace.attempts: "),
    ],
)
def test_each_mistake_has_its_sentence(more: dict[str, Any], sentence: str) -> None:
    assert said({"url": URL} | more).startswith(sentence)


@pytest.mark.parametrize(
    "url",
    [
        "h.example",
        "ftp://h/",
        "http:///path",
        "http://u@/",
        "http://[bad/",
        "http://u:p@[bad/",
        "http://h:99999/",
        "http://h:x/",
        "http://a~b/",
        "http://a b/",
        "http://h/\n",
        "http://" + "a" * 254 + "/",
    ],
)
def test_a_url_that_cannot_be_called_is_refused_before_anything_is_called(url: str) -> None:
    assert said({"url": url}).startswith("url: expected an absolute http:// or https:// URL")


@pytest.mark.parametrize(
    "url", ["http://h", "HTTPS://H:443/x?y#z", "http://[::1]:8080/", "http://bücher.example/", "http://u:p~w@h/"]
)
def test_a_url_that_can_be_called_is_taken_as_written(url: str) -> None:
    assert parse_object({"url": url}).url == url


@pytest.mark.parametrize(
    ("job", "sentence"),
    [
        ({}, "one of the keys url, call, do and queue is missing"),
        ({"do": "a b"}, "do: found a string; expected a string that must match pattern"),
        ({"do": "thumbnail", "with": []}, "with: found an array; expected an object"),
        ({"do": "thumbnail", "json": None}, "json: belongs to a call over HTTP; the arguments of a handler stand in"),
        ({"do": "thumbnail", "cache": "5m"}, "cache: belongs to a call over HTTP"),
        ({"do": "thumbnail", "method": "GET"}, "method: belongs to a call over HTTP"),
    ],
)
def test_a_job_for_a_handler_says_nothing_about_http(job: dict[str, Any], sentence: str) -> None:
    assert said(job).startswith(sentence)


def test_a_job_for_a_handler_takes_its_attachment_along() -> None:
    assert parse_object({"do": "thumbnail", "with": {"width": 5}, "file": "photo.png"}).attachments == ("photo.png",)


def test_all_mistakes_are_told_at_once() -> None:
    assert said({"atempts": 1, "delay": "x"}) == (
        "one of the keys url, call, do and queue is missing. "
        'delay: "x" is not a duration; write "30s", "5m", "2h", "7d", or a number of seconds. '
        'atempts: unknown key; did you mean "attempts"?'
    )


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the file is empty; expected a JSON object"),
        (b" \n", "the file is empty; expected a JSON object"),
        (b"{", "line 1, column 2: not JSON: Expecting property name enclosed in double quotes"),
        (b'{"url":\n"h" x}', "line 2, column 5: not JSON: Expecting ',' delimiter"),
        (b'{"a": 1, "a": 2}', 'not JSON as expected: the key "a" stands twice in one object'),
        (b'{"json": {"b": 1, "b": 1}}', 'not JSON as expected: the key "b" stands twice in one object'),
        (b'{"a": NaN}', "not JSON as expected: NaN is not a JSON number"),
        (b'{"a": -Infinity}', "not JSON as expected: -Infinity is not a JSON number"),
        (b"[" * 100_000, "nested too deeply to be read"),
        ('{"a": 1}'.encode("utf-16"), "the file is UTF-16; expected UTF-8"),
        (b'{\n"a": "\xff"}', "line 2: byte 8 is not UTF-8; expected JSON in UTF-8"),
        (b"{'a': 1}", "line 1, column 2: not JSON"),
        (b'{"a": 1} {}', "line 1, column 10: not JSON: Extra data"),
    ],
)
def test_what_is_no_json_is_told_with_its_place(data: bytes, sentence: str) -> None:
    with pytest.raises(Invalid) as refusal:
        load(data)
    assert refusal.value.message.startswith(sentence)


@pytest.mark.parametrize(
    ("data", "kind"), [(b"[]", "an array"), (b'"x"', "a string"), (b"5", "a number"), (b"null", "null")]
)
def test_a_job_is_an_object(data: bytes, kind: str) -> None:
    with pytest.raises(Invalid, match=f"expected a JSON object, found {kind}"):
        parse(data)


def test_a_byte_order_mark_is_forgiven() -> None:
    assert parse(b'\xef\xbb\xbf{"url": "http://h/"}').url == "http://h/"


@pytest.mark.parametrize(
    ("job", "verb", "body"),
    [
        ({}, "GET", None),
        ({"json": None}, "POST", "json"),
        ({"text": ""}, "POST", "text"),
        ({"form": {}}, "POST", "form"),
        ({"method": "put", "base64": "aGk="}, "PUT", "base64"),
        ({"method": "delete"}, "DELETE", None),
    ],
)
def test_the_method_follows_from_the_body_unless_it_is_given(job: dict[str, Any], verb: str, body: str | None) -> None:
    parsed = parse_object({"url": URL} | job)
    assert (parsed.verb, parsed.body) == (verb, body)


def test_attachments_are_named_wherever_they_stand() -> None:
    assert parse_object({"url": URL, "file": "a.pdf"}).attachments == ("a.pdf",)
    parts = {"a": "text", "b": {"file": "x"}, "c": [{"file": "y"}, "z", {"base64": ""}]}
    assert parse_object({"url": URL, "multipart": parts}).attachments == ("x", "y")


def test_the_cache_rule_has_a_short_form() -> None:
    short, long = ({"url": URL, "cache": cache} for cache in ("5m", {"ttl": 300, "vary": []}))
    assert parse_object(short).cache == parse_object(long).cache


@pytest.mark.parametrize(
    "text",
    [
        '{"url": "http://a.example", "headers": {"A": "Bearer ${secret:x}"}}',
        '{"url": "http://a.example", "json": [{"a": "\\u0024{secret:x}"}]}',
        '{"url": "http://a.example", "text": "${\\u0073ecret:x}"}',
    ],
)
def test_a_job_may_not_refer_to_a_credential(text: str) -> None:
    with pytest.raises(Invalid, match=r"\$\{secret:…\} is for the config"):
        parse(text.encode())


def test_the_schema_serialises_and_names_every_key_that_is_read() -> None:
    schema = json.loads(json.dumps(Job.model_json_schema()))
    assert set(schema["properties"]) == {field.alias or name for name, field in Job.model_fields.items()}
    assert schema["oneOf"] == [{"required": [kind]} for kind in KINDS]
    assert schema["additionalProperties"] is False
    assert "json" in schema["properties"]


@given(
    st.dictionaries(
        st.sampled_from([field.alias or name for name, field in Job.model_fields.items()]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=5,
        ),
    )
)
def test_no_value_raises_anything_but_invalid(job: dict[str, Any]) -> None:
    for written in (job, {"url": URL} | job):
        with suppress(Invalid):
            parsed = parse_object(written)
            assert parsed.url or parsed.call or parsed.do


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_but_invalid(data: bytes) -> None:
    with suppress(Invalid):
        assert parse(data).url
