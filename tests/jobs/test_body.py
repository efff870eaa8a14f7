"""Bodies with files in them."""

import io
import os
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inboxd.jobs.body import Segments, of_multipart
from inboxd.jobs.job import Part


def whole(segments: Segments, folder: Path) -> bytes:
    with segments.open(lambda name: open(folder / name, "rb")) as body:
        data = b"".join(iter(lambda: body.read(7), b""))
        assert body.size == len(data) == body.tell()
    return data


def test_a_body_is_its_segments_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 20)
    (tmp_path / "empty").write_bytes(b"")
    assert whole(Segments([b"<", ("a",), ("empty",), b"", b">"]), tmp_path) == b"<" + b"x" * 20 + b">"


def test_a_body_can_be_read_again_from_its_beginning_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12")
    with Segments([("a",), b"3"]).open(lambda name: open(tmp_path / name, "rb")) as body:
        assert body.read(2) == b"12"
        body.seek(0)
        assert [body.read(2), body.read(2), body.read(2)] == [b"12", b"3", b""]
        with pytest.raises(OSError, match="beginning"):
            body.seek(1)
        with pytest.raises(OSError, match="beginning"):
            body.seek(0, os.SEEK_END)


def test_reading_nothing_moves_nothing() -> None:
    with Segments([b"ab"]).open(lambda _name: io.BytesIO()) as body:
        assert body.read(0) == b""
        assert body.read() == b"ab"


def test_files_are_closed_when_one_of_them_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    opened: list[BinaryIO] = []

    def opening(name: str) -> BinaryIO:
        opened.append(open(tmp_path / name, "rb"))  # noqa: SIM115  # the body closes it
        return opened[-1]

    with pytest.raises(FileNotFoundError):
        Segments([("a",), ("missing",)]).open(opening)
    assert [file.closed for file in opened] == [True]


def test_files_are_closed_after_the_attempt(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    file = open(tmp_path / "a", "rb")  # noqa: SIM115  # the body closes it
    with Segments([("a",)]).open(lambda _name: file):
        assert not file.closed
    assert file.closed


def parts_of(fields: dict[str, list[Part]], folder: Path) -> list[tuple[Any, ...]]:
    data = whole(of_multipart(fields, "BOUND"), folder)
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: multipart/form-data; boundary=BOUND\r\n\r\n" + data)
    return [
        (
            part.get_param("name", header="content-disposition"),
            part.get_filename(),
            part.get_content_type(),
            part.get_payload(decode=True),
        )
        for part in message.iter_parts()
    ]


def test_a_multipart_body_is_read_as_what_it_was_written_from(tmp_path: Path) -> None:
    (tmp_path / "scan.pdf").write_bytes(b"%PDF\r\n\x00\xff")
    fields = {
        "note": [Part(text="hello")],
        "files": [
            Part(file="scan.pdf"),
            Part(base64="AAE=", filename="b.bin", type="application/x-b"),
            Part(file="scan.pdf", filename="other"),
        ],
    }
    assert parts_of(fields, tmp_path) == [
        ("note", None, "text/plain", b"hello"),
        ("files", "scan.pdf", "application/pdf", b"%PDF\r\n\x00\xff"),
        ("files", "b.bin", "application/x-b", b"\x00\x01"),
        ("files", "other", "application/octet-stream", b"%PDF\r\n\x00\xff"),
    ]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_no_name_ends_its_quotes(name: str) -> None:
    data = whole(of_multipart({name: [Part(text="x")]}, "BOUND"), Path())
    head, _, rest = data.partition(b"\r\n\r\n")
    assert head.split(b"\r\n", 1)[1].startswith(b'Content-Disposition: form-data; name="')
    assert head.count(b'"') == 2
    assert head.count(b"\r\n") == 1
    assert rest == b"x\r\n--BOUND--\r\n"
