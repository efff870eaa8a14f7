"""An entry comes back exactly as it was written, or not at all."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inboxd.cache.entry import Entry, Side, _seal

RESPONSE: dict[str, Any] = {"status": 200, "headers": {"Content-Type": "application/json"}, "text": '{"a": 1}'}
ASIDE: dict[str, Any] = {"status": 200, "headers": {}, "bytes": 3, "sha256": "ab"}
FIELDS: dict[str, Any] = {
    "stored_at": 100.0,
    "expires_at": 160.0,
    "request": {"api": "h", "method": "GET", "url": "http://h/a"},
    "varied": "",
    "response": RESPONSE,
}

times = st.floats(allow_nan=False, allow_infinity=False)
# Digits alone, which name no secret: what is one is not written.
texts = st.dictionaries(st.text(max_size=9, alphabet="0123"), st.text(max_size=9), max_size=3)
bodies = st.text().map(str.encode)
entries = st.builds(Entry, times, times, texts, st.integers(100, 599), texts, bodies, st.none(), st.text()) | st.builds(
    Entry,
    times,
    times,
    texts,
    st.integers(100, 599),
    texts,
    st.just(b""),
    st.builds(Side, st.integers(0), st.text()),
    st.just(""),
)


def make(**changes: Any) -> Entry:
    made: dict[str, Any] = {**FIELDS, **RESPONSE, "body": RESPONSE["text"].encode(), **changes}
    del made["text"], made["response"]
    return Entry(**made)


def sealed(content: str, key: str = "") -> bytes:
    """Return a file with a right seal over whatever content, as only another version of ourselves could write."""
    data = content[1:].encode()
    return _seal(data, key) + data


@settings(deadline=None)
@given(entries, st.text())
def test_what_was_written_comes_back(entry: Entry, key: str) -> None:
    assert Entry.from_json(entry.to_json(key), key) == entry


@settings(deadline=None)
@given(entries, st.data())
def test_a_flipped_bit_never_gives_another_entry(entry: Entry, data: st.DataObject) -> None:
    written = bytearray(entry.to_json())
    for bit in data.draw(st.sets(st.integers(0, len(written) * 8 - 1), min_size=1, max_size=4)):
        written[bit // 8] ^= 1 << bit % 8
    assert Entry.from_json(bytes(written)) is None


@settings(deadline=None)
@given(entries, st.data())
def test_a_torn_entry_is_none(entry: Entry, data: st.DataObject) -> None:
    written = entry.to_json()
    cut = data.draw(st.integers(0, len(written) - 1))
    assert Entry.from_json(written[:cut]) is None
    assert Entry.from_json(written[:cut] + bytes(len(written) - cut)) is None


@settings(deadline=None)
@given(st.binary() | st.text().map(str.encode))
def test_foreign_bytes_are_none(data: bytes) -> None:
    assert Entry.from_json(data) is None


def test_an_entry_under_another_calls_name_is_none() -> None:
    assert Entry.from_json(make().to_json("ab"), "ac") is None


def test_an_entry_of_another_version_is_none() -> None:
    written = make().to_json()
    assert Entry.from_json(written) is not None
    assert Entry.from_json(written.replace(b"inboxd-cache-2", b"inboxd-cache-1")) is None


def test_the_table_of_wrong_fields_starts_from_right_ones() -> None:
    assert Entry.from_json(sealed(json.dumps(FIELDS))) == make()


@pytest.mark.parametrize(
    "change",
    [
        {"stored_at": "100"},
        {"stored_at": True},
        {"stored_at": None},
        {"expires_at": float("nan")},
        {"expires_at": float("inf")},
        {"expires_at": 10**400},
        {"request": None},
        {"request": "GET"},
        {"varied": None},
        {"response": None},
        {"response": "200"},
        *({"response": RESPONSE | {"status": status}} for status in ("200", 200.0, True)),
        *({"response": RESPONSE | {"headers": headers}} for headers in ({"A": 1}, [], None)),
        *({"response": RESPONSE | {"text": text}} for text in (1, None, "\ud800")),
        *({"response": ASIDE | {"bytes": size}} for size in ("3", 3.0, None)),
        *({"response": ASIDE | {"sha256": digest}} for digest in (3, None)),
    ],
    ids=str,
)
def test_a_field_of_a_wrong_type_is_none(change: dict[str, Any]) -> None:
    assert Entry.from_json(sealed(json.dumps(FIELDS | change))) is None


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_none(field: str) -> None:
    assert Entry.from_json(sealed(json.dumps({name: FIELDS[name] for name in FIELDS if name != field}))) is None


@pytest.mark.parametrize(
    ("response", "field"), [*((RESPONSE, field) for field in RESPONSE), (ASIDE, "bytes"), (ASIDE, "sha256")]
)
def test_a_missing_field_of_the_response_is_none(response: dict[str, Any], field: str) -> None:
    assert Entry.from_json(sealed(json.dumps(FIELDS | {"response": response}))) is not None
    less = {name: value for name, value in response.items() if name != field}
    assert Entry.from_json(sealed(json.dumps(FIELDS | {"response": less}))) is None


@pytest.mark.parametrize(
    "content",
    ["{}", "{", "{]", '{"text": ' + "[" * 200_000, '{"status": ' + "9" * 5000 + "}"],
    ids=["empty", "open", "crossed", "deep", "long number"],
)
def test_sealed_nonsense_is_none(content: str) -> None:
    assert Entry.from_json(sealed(content)) is None


@pytest.mark.parametrize(
    ("now", "fresh"), [(99.9, False), (100.0, True), (159.9, True), (160.0, False), (1e12, False), (0.0, False)]
)
def test_an_entry_is_fresh_from_its_storing_until_before_its_end(now: float, fresh: bool) -> None:
    assert make().fresh(now) is fresh


def test_an_entry_is_one_line_of_json_with_its_text_readable() -> None:
    written = make(body="grün".encode()).to_json()
    assert written.count(b"\n") == 1
    assert json.loads(written)["response"]["text"] == "grün"
    assert "grün".encode() in written


def test_a_body_in_a_file_of_its_own_is_told_by_size_and_digest() -> None:
    response = json.loads(make(body=b"", side=Side(7, "ab")).to_json())["response"]
    assert (response["bytes"], response["sha256"], "text" in response) == (7, "ab", False)


def test_a_binary_body_cannot_be_written_into_the_line() -> None:
    with pytest.raises(ValueError, match="codec"):
        make(body=b"\xff").to_json()


def test_a_file_holds_no_credentials() -> None:
    entry = make(
        request={"method": "GET", "url": "http://user:s3cret@h/a?api_key=s3cret&b=1"},
        headers={"set-cookie": "id=s3cret", "X-Auth-Token": "s3cret", "ETag": "1", "location": "/b?token=s3cret"},
    )
    written = json.loads(entry.to_json())
    assert written["response"]["headers"] == {"ETag": "1", "location": "/b?token=***"}
    assert written["request"]["url"] == "http://***@h/a?api_key=***&b=1"
    assert b"s3cret" not in entry.to_json()


@pytest.mark.parametrize(
    ("headers", "asks"),
    [
        ({}, {}),
        ({"etag": '"a"'}, {"If-None-Match": '"a"'}),
        ({"Last-Modified": "Sun, 22 Nov 2026 08:00:00 GMT"}, {"If-Modified-Since": "Sun, 22 Nov 2026 08:00:00 GMT"}),
        ({"ETag": "W/1", "Last-Modified": "x"}, {"If-None-Match": "W/1", "If-Modified-Since": "x"}),
        ({"ETag": "ü"}, {}),
        ({"ETag": "a\r\nX-Evil: 1"}, {}),
    ],
)
def test_an_entry_is_asked_about_by_its_validators(headers: dict[str, str], asks: dict[str, str]) -> None:
    assert make(headers=headers).conditions == asks


def test_a_renewed_entry_keeps_what_describes_its_body_and_takes_the_rest() -> None:
    entry = make(headers={"ETag": "1", "Content-Type": "a/b", "X-Old": "1"})
    new = entry.renewed(200.0, 300.0, {"etag": "2", "content-length": "0", "Content-Type": "c/d", "X-New": "2"})
    assert new == make(
        headers={"etag": "2", "Content-Type": "a/b", "X-Old": "1", "X-New": "2"}, stored_at=200.0, expires_at=300.0
    )


@pytest.mark.parametrize("time", [float("nan"), float("inf")])
def test_a_time_that_is_not_finite_cannot_be_written(time: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        make(expires_at=time).to_json()
