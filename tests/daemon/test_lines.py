"""The lines of a batch's file, and an array brought to lines."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inboxd.daemon.lines import Lines, is_array, of_array
from inboxd.jobs.faults import Invalid

LIMIT = 100


def read(path: Path, content: bytes, limit: int = LIMIT) -> list[tuple[int, bytes, bool]]:
    path.write_bytes(content)
    found = []
    with path.open("rb") as file:
        lines = Lines(file, limit)
        while (line := lines.next()) is not None:
            found.append((line.number, line.data, line.whole))
    return found


def test_lines_come_with_their_numbers(tmp_path: Path) -> None:
    assert read(tmp_path / "a", b"one\n\r\nthree\r\n") == [
        (1, b"one\n", True),
        (2, b"\r\n", True),
        (3, b"three\r\n", True),
    ]


def test_a_last_line_without_a_line_break_is_not_whole(tmp_path: Path) -> None:
    assert read(tmp_path / "a", b"one\ntwo") == [(1, b"one\n", True), (2, b"two", False)]


@pytest.mark.parametrize("long", [101, 70_000, 300_000])
def test_of_a_line_too_long_only_the_beginning_is_given(tmp_path: Path, long: int) -> None:
    found = read(tmp_path / "a", b"x" * long + b"\nnext\n")
    assert [(number, len(data)) for number, data, _ in found] == [(1, 101), (2, 5)]


def test_a_long_line_is_one_line_however_large_the_limit_is(tmp_path: Path) -> None:
    found = read(tmp_path / "a", b"x" * 1_000_000 + b"\nnext\n", limit=200_000)
    assert [(number, len(data)) for number, data, _ in found] == [(1, 200_001), (2, 5)]


def test_a_line_as_long_as_the_limit_is_not_too_long(tmp_path: Path) -> None:
    assert read(tmp_path / "a", b"x" * 99 + b"\ny\n")[0] == (1, b"x" * 99 + b"\n", True)
    assert read(tmp_path / "a", b"x" * 100 + b"\ny\n")[1] == (2, b"y\n", True)


def test_a_line_put_back_is_read_again_when_it_has_grown(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one\ntw")
    with path.open("rb") as file:
        lines = Lines(file, LIMIT)
        lines.next()
        half = lines.next()
        assert half is not None
        lines.put_back(half)
        with path.open("ab") as more:
            more.write(b"o\n")
        line = lines.next()
        assert line is not None
        assert (line.number, line.data, line.offset) == (2, b"two\n", 4)


def test_a_line_that_waited_gets_its_bytes_back(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one\ntwo\nthree")
    with path.open("rb") as file:
        lines = Lines(file, LIMIT)
        found = [line for line in (lines.next(), lines.next(), lines.next()) if line is not None]
        for line in found:
            line.data = b""
            lines.read_again(line)
    assert [line.data for line in found] == [b"one\n", b"two\n", b"three"]


@pytest.mark.parametrize("content", [b"short\n", b"x" * 70_000 + b"\n", b"x" * 200_000 + b"\n", b"no end"])
def test_a_line_is_copied_as_it_stands(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"first\n" + content)
    with path.open("rb") as file:
        lines = Lines(file, LIMIT)
        lines.next()
        line = lines.next()
        assert line is not None
        assert b"".join(lines.copy(line)) == content.rstrip(b"\n") + b"\n"


@pytest.mark.parametrize(
    ("data", "blank"), [(b"\n", True), (b" \t\r\n", True), (b"\xef\xbb\xbf\n", True), (b"{\n", False)]
)
def test_a_line_of_nothing_is_blank(tmp_path: Path, data: bytes, blank: bool) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    with path.open("rb") as file:
        line = Lines(file, LIMIT).next()
    assert line is not None
    assert line.blank is blank


# -- arrays ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "array"), [(b"[", True), (b"\xef\xbb\xbf \n[{", True), (b"{", False), (b"", False), (b"x[", False)]
)
def test_an_array_is_known_by_its_first_sign(head: bytes, array: bool) -> None:
    assert is_array(head) is array


def spread(content: bytes, limit: int = 1_000_000) -> list[object]:
    return [json.loads(line) for line in of_array(io.BytesIO(content), limit)]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(VALUES, max_size=10), st.sampled_from([None, 2]), st.booleans())
def test_every_array_comes_out_element_by_element(values: list[object], indent: int | None, ascii_only: bool) -> None:
    content = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode(errors="replace")
    assert spread(content) == json.loads(content)
    assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in of_array(io.BytesIO(content), 10**6))


def test_an_array_of_many_chunks_comes_out_whole() -> None:
    values = [{"n": number, "text": "ä" * (number % 50)} for number in range(20_000)]
    assert spread(json.dumps(values, ensure_ascii=False).encode()) == values


def test_an_element_longer_than_a_chunk_comes_out_whole() -> None:
    values = ["x" * 300_000, {"a": ["y" * 200_000]}, 1]
    assert spread(json.dumps(values).encode()) == values


@pytest.mark.parametrize("content", [b"[]", b" [ ] \n", b"\xef\xbb\xbf[]"])
def test_an_empty_array_has_no_lines(content: bytes) -> None:
    assert spread(content) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[", "after element 1"),
        (b"[1", "after element 1"),
        (b'[{"a": 1}, {"b"', "after element 2"),
        (b"[1,]", "after element 1"),
        (b"[1 2]", "after element 1"),
        (b"[1] x", "more text"),
        (b"[1][2]", "more text"),
        (b'["\xff"]', "not UTF-8"),
        (b"[1, " + b"x" * 300_000 + b"]", "element 2 of the array is not JSON, or longer"),
        (b"[" * 100_000, "after element 1"),
    ],
)
def test_what_is_no_array_is_told(content: bytes, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        list(of_array(io.BytesIO(content), 100_000))
