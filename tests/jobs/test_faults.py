"""Which fault stands for what went wrong, and when the server wants to be asked again."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inboxd.jobs import faults
from inboxd.jobs.faults import of_status, retry_after

NOW = 1_800_000_000.0
EXPECTED = {
    408: ("timeout", True),
    425: ("throttled", True),
    429: ("throttled", True),
    501: ("server", False),
    505: ("server", False),
}


@pytest.mark.parametrize(
    "status", [100, 204, 301, 304, 400, 401, 403, 404, *EXPECTED, 409, 418, 500, 502, 503, 504, 599]
)
def test_each_status_has_its_kind_and_is_temporary_or_not(status: int) -> None:
    fault = of_status(status, {}, NOW)
    assert (fault.kind, fault.temporary) == EXPECTED.get(
        status, ("server", True) if status >= 500 else ("client", False)
    )
    assert fault.status == status
    assert str(status) in fault.message


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("3601", 3600.0),
        ("9" * 5000, 3600.0),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        (formatdate(NOW + 9e6, usegmt=True), 3600.0),
        ("Fri Jan 15 08:01:00 2027", 60.0),
        ("Friday, 15-Jan-27 08:01:00 GMT", 60.0),
        ("Fri, 15 Jan 2027 08:01:00 -0000", 60.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("Fri, 99 Foo 2027 08:01:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_every_form_and_capped(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.text())
def test_no_retry_after_raises(value: str) -> None:
    assert retry_after(value, NOW) is None or 0 <= (retry_after(value, NOW) or 0) <= faults.RETRY_AFTER_CAP


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_retry_after_is_kept_with_every_temporary_status(status: int) -> None:
    assert of_status(status, {"Retry-After": "5"}, NOW).retry_after == 5.0


def test_a_permanent_status_has_no_retry_after() -> None:
    assert of_status(404, {"Retry-After": "5"}, NOW).retry_after is None


def test_a_message_is_bounded_and_fits_into_json() -> None:
    fault = faults.Invalid("\ud800" + "x" * 1_000_000)
    assert len(fault.message) < 10_000
    assert fault.message.encode().startswith(b"\\ud800xxx")
