"""No form of a credential that a server is likely to echo comes through."""

import io
import json
from base64 import b64encode
from hashlib import sha256
from html import escape
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inboxd.jobs.masking import Mask
from inboxd.jobs.result import Response

SECRET = 'tök/en "+&<'


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        json.dumps(SECRET).replace("/", "\\/"),
        escape(SECRET),
        b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_credential_is_hidden_in_every_form(form: str) -> None:
    hidden = Mask([SECRET]).octets(f"before {form} after".encode()).decode()
    assert hidden.replace('"', "") == "before *** after"


def test_a_credential_within_another_leaves_nothing_of_it() -> None:
    assert Mask(["abcd", "abcdefgh"]).text("abcdefgh abcd") == "*** ***"


def test_what_is_too_short_to_be_one_is_left() -> None:
    assert Mask(["ab", ""]).text("about") == "about"


def test_headers_and_body_of_a_response_are_hidden() -> None:
    hidden = Mask(["s3cret"]).response(Response(200, {"X-Echo": "a s3cret"}, b'{"k": "s3cret"}', size=15))
    assert (hidden.headers, hidden.body, hidden.size) == ({"X-Echo": "a ***"}, b'{"k": "***"}', 12)


@pytest.mark.parametrize("before", [0, 1024 * 1024 - 3, 1024 * 1024, 3 * 1024 * 1024 + 17])
def test_a_body_in_a_file_is_hidden_also_where_it_is_read_in_pieces(before: int) -> None:
    side = io.BytesIO(b"x" * before + b"s3cret" + b"y" * 100)
    hidden = Mask(["s3cret"]).response(Response(200, {}, side=side, size=before + 106, sha256="old"))
    assert side.getvalue() == b"x" * before + b"******" + b"y" * 100
    assert hidden.sha256 == sha256(side.getvalue()).hexdigest()
    assert side.tell() == before + 106


def test_a_file_without_credentials_keeps_its_digest() -> None:
    side = io.BytesIO(b"nothing")
    assert Mask(["s3cret"]).response(Response(200, {}, side=side, size=7, sha256="old")).sha256 == "old"
    assert side.getvalue() == b"nothing"


@given(st.text(min_size=4), st.text(), st.text())
def test_no_text_holds_a_credential_any_more(secret: str, before: str, after: str) -> None:
    """But where what is left and right of it makes up another one with the asterisks."""
    hidden = Mask([secret]).octets(f"{before}{secret}{after}".encode(errors="replace"))
    assert "*" in secret or secret.encode(errors="replace") not in hidden
