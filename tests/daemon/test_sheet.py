"""CSV files as spreadsheets write them: which arguments each row gives, and what is said of rows that give none."""

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inboxd.daemon.sheet import Rows
from inboxd.jobs.faults import Invalid

ARGUMENTS = {"id": True, "note": False, "count": False, "express": False, "code": False}
DEFAULTS = {"count": 1, "express": False, "code": ""}


@pytest.fixture
def rows(tmp_path: Path) -> Any:
    opened: list[Rows] = []

    def make(data: bytes, limit: int = 1000) -> Rows:
        path = tmp_path / "orders.csv"
        path.write_bytes(data)
        file = path.open("rb")
        try:
            opened.append(Rows(file, "shop.close", ARGUMENTS, DEFAULTS, limit))
        except Invalid:
            file.close()
            raise
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def read(one: Rows) -> list[Any]:
    """Give what comes of each row: its arguments, or why there are none; nothing for blank rows."""
    found: list[Any] = []
    while (line := one.next()) is not None:
        if line.trouble is not None:
            found.append(line.trouble)
        elif not line.blank:
            job = json.loads(line.data)
            assert job["call"] == "shop.close"
            found.append(job["with"])
    return found


@pytest.mark.parametrize(
    "data",
    [
        b"id,note\n1,a\n2,b\n",
        b"id,note\r\n1,a\r\n2,b\r\n",
        b"id;note\r\n1;a\r\n2;b",
        b"id\tnote\n1\ta\n2\tb\n",
        b"\xef\xbb\xbfid;note\n1;a\n2;b\n",
        b'\xef\xbb\xbf"id","note"\n"1","a"\n"2","b"\n',
        b"sep=;\r\nid;note\r\n1;a\r\n2;b\r\n",
        b"sep=|\nid|note\n1|a\n2|b\n",
        b" id , note\n1,a\n\n,\n2,b\n\n",
    ],
)
def test_whatever_a_spreadsheet_writes_is_read_alike(rows: Any, data: bytes) -> None:
    assert read(rows(data)) == [{"id": 1, "note": "a"}, {"id": 2, "note": "b"}]


@pytest.mark.parametrize(
    ("cells", "given"),
    [
        ('1,"say ""hi"", you"', {"id": 1, "note": 'say "hi", you'}),
        ('1,"two\nlines"', {"id": 1, "note": "two\nlines"}),
        ("1,", {"id": 1}),
        ("007,+4", {"id": "007", "note": "+4"}),
        ("-3.50,1e5", {"id": -3.5, "note": "1e5"}),
        ("1234567890123456789,1.2.3", {"id": "1234567890123456789", "note": "1.2.3"}),
        ("true,FALSE", {"id": True, "note": False}),
        ("a b,ä€", {"id": "a b", "note": "ä€"}),
        ("1,${secret:x}", {"id": 1, "note": "${secret:x}"}),
    ],
)
def test_cells_are_texts_unless_they_are_numbers_for_certain(rows: Any, cells: str, given: dict[str, Any]) -> None:
    assert read(rows(f"id,note\n{cells}\n".encode())) == [given]


def test_the_type_of_a_default_is_the_type_of_its_cells(rows: Any) -> None:
    data = b"id,count,express,code\n1,5,TRUE,10115\n2,x,false,1\n3,5,yes,1\n"
    assert read(rows(data)) == [
        {"id": 1, "count": 5, "express": True, "code": "10115"},
        'row 3: column "count": expected a number such as 17 or -3.5',
        'row 4: column "express": expected true or false',
    ]


def test_a_wrong_row_is_told_by_the_number_that_the_spreadsheet_shows(rows: Any) -> None:
    data = b'id,note\n1,"a\nb"\n2\n3,b,c\n4,\xe4\n5,"a"b\n6,f\n'
    assert read(rows(data)) == [
        {"id": 1, "note": "a\nb"},
        "row 3: it has 1 cells, and the header names 2 columns",
        "row 4: it has 3 cells, and the header names 2 columns",
        'row 5: column "note": byte 0xe4 is not UTF-8; save the file as "CSV UTF-8"',
        "row 6: not CSV: ',' expected after '\"'",
        {"id": 6, "note": "f"},
    ]


@pytest.mark.parametrize(
    "rest", [b'2,"never closed\n3,c\n4,d\n', b'2,"' + b"x" * 2000 + b'"\n3,c\n', b"2," + b"x" * 2000 + b"\n3,c\n"]
)
def test_where_nobody_can_say_what_is_a_row_nothing_is_taken_for_one(rows: Any, rest: bytes) -> None:
    one = rows(b"id,note\n1,a\n" + rest)
    assert read(one) == [
        {"id": 1, "note": "a"},
        "row 3: longer than 1000 bytes, or a quote is never closed; no row from here on was read",
    ]
    one.again()
    one.next()
    assert b"".join(one.copy(one.next())) == rest


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the first row is empty; expected the names of the call's arguments"),
        (b"\n1\n", "the first row is empty"),
        (b"note\na\n", 'the header: no column "id", an argument that shop.close needs'),
        (b"id,nota\n1,a\n", 'the header: shop.close has no argument "nota"; did you mean "note"?'),
        (b"id,note,id\n1,a,2\n", 'the header: the column "id" stands there twice'),
        ("id,note\n".encode("utf-16"), 'the file is UTF-16 ("Unicode text"); save it as "CSV UTF-8"'),
        (b"id\rnote\r", "the header: not CSV: new-line character"),
        (b'"id', "the header: longer than 1000 bytes, or a quote is never closed"),
        (b"i" * 2000, "the header: longer than 1000 bytes"),
    ],
)
def test_a_header_that_does_not_fit_is_told(rows: Any, data: bytes, sentence: str) -> None:
    with pytest.raises(Invalid) as refusal:
        rows(data)
    assert refusal.value.message.startswith(sentence)


def test_a_row_in_a_column_without_a_name_is_told_and_empty_columns_are_not_missed(rows: Any) -> None:
    assert read(rows(b"id,note,\n1,a,\n2,b,c\n")) == [
        {"id": 1, "note": "a"},
        "row 3: a cell stands in a column without a name",
    ]


def test_failed_rows_are_given_back_byte_by_byte(rows: Any) -> None:
    data = b'\xef\xbb\xbfsep=;\r\nid;note\r\n1;"a\r\nb"\r\n2;\xe4\r\n3;c'
    one = rows(data)
    lines = []
    while (line := one.next()) is not None:
        lines.append(b"".join(one.copy(line)))
    assert lines == [b'1;"a\r\nb"\r\n', b"2;\xe4\r\n", b"3;c\n"]
    assert b"".join(one.head) + b"".join(lines) == data + b"\n"


def test_a_row_is_read_again_when_its_time_comes(rows: Any) -> None:
    one = rows(b"id\n1\n2\n3\n")
    first, second = one.next(), one.next()
    data, first.data = first.data, b""
    one.read_again(first)
    assert first.data == data
    assert json.loads(one.next().data)["with"] == {"id": 3}
    one.put_back(second)
    assert json.loads(one.next().data)["with"] == {"id": 2}


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)


@given(table=st.lists(st.tuples(CELLS.filter(bool), CELLS), max_size=10))
def test_every_text_that_a_csv_writer_writes_arrives(
    table: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No cell breaks out of its row, whatever is in it."""
    text = StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(["code", "id"])
    writer.writerows((note, ident) for ident, note in table)
    path = tmp_path_factory.mktemp("sheet") / "x.csv"
    path.write_bytes(text.getvalue().encode())
    with path.open("rb") as file:
        found = read(Rows(file, "shop.close", {"code": False, "id": True}, {"code": "", "id": ""}, 100_000))
    assert found == [{"id": ident} | ({"code": note} if note else {}) for ident, note in table]


@given(data=st.binary(max_size=200))
def test_no_bytes_raise_anything_but_invalid_and_none_are_lost(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("sheet") / "x.csv"
    path.write_bytes(b"id\n" + data)
    with path.open("rb") as file:
        one = Rows(file, "shop.close", {"id": True}, {}, 100)
        back = b"".join(b"".join(one.copy(line)) for line in iter(one.next, None))
    assert back.removesuffix(b"\n") == data.removesuffix(b"\n")
