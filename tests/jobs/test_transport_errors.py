"""What each kind of broken server becomes, and whether the request may have arrived."""

from pathlib import Path

import pytest
import requests
from requests import exceptions

from inboxd.jobs.guard import Guard
from inboxd.jobs.transport import BadReply, Bounds, CurlAdapter, DnsError, TlsError
from inboxd.jobs.wirefaults import FAULTS, translate
from tests.faultserver import FaultServer
from tests.tlskit import Tls
from tests.transportkit import GENEROUS, adapter, call

BROKEN = [
    ("/reset", exceptions.ConnectionError),
    ("/close", exceptions.ConnectionError),
    ("/half-head", exceptions.ChunkedEncodingError),
    ("/short", exceptions.ChunkedEncodingError),
    ("/reset-body", exceptions.ChunkedEncodingError),
    ("/cut-chunk", exceptions.ChunkedEncodingError),
    ("/bad-chunk", exceptions.ChunkedEncodingError),
    ("/bad-gzip", exceptions.ContentDecodingError),
    ("/garbage", BadReply),
    ("/http09", BadReply),
    ("/big-head?bytes=2000000", BadReply),
]


@pytest.mark.parametrize(("path", "kind"), BROKEN)
def test_a_broken_answer_becomes_its_exception_and_the_handle_goes_on(path: str, kind: type[Exception]) -> None:
    with FaultServer() as server:
        wire = adapter()
        call(wire, server.url())
        server.drop_connections()
        with pytest.raises(kind) as caught:
            call(wire, server.url(path), "POST", data=b"secret body", headers={"X-Job": "1"})
        assert caught.value.__dict__["sent"] is True
        assert isinstance(caught.value, exceptions.RequestException)
        assert caught.value.request is not None
        assert call(wire, server.url("/echo")).json()["method"] == "GET"
        assert "x-job" not in server.requests[-1].headers


def test_bytes_beyond_the_announced_length_are_not_part_of_the_body() -> None:
    with FaultServer() as server:
        wire = adapter()
        assert call(wire, server.url("/long")).content == b"0123456789"
        assert call(wire, server.url()).json() == {"ok": True}


def test_a_refused_connection_was_not_sent() -> None:
    with FaultServer() as server:
        url = server.url("/ok?token=secret")
    with pytest.raises(exceptions.ConnectionError) as caught:
        call(adapter(), url)
    assert caught.value.__dict__["sent"] is False
    assert "secret" not in str(caught.value)


def test_an_unknown_name_is_a_dns_error() -> None:
    with pytest.raises(DnsError) as caught:
        call(adapter(), "http://no-such-host.invalid/?token=secret")
    assert caught.value.__dict__["sent"] is False
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("ftp://127.0.0.1/", exceptions.InvalidSchema),
        ("file:///etc/passwd", exceptions.InvalidSchema),
        ("http://", exceptions.InvalidURL),
        ("http://a b/", exceptions.InvalidURL),
        ("http://a\\@b/", exceptions.InvalidURL),
        ("http://h/\r\nX: 1", exceptions.InvalidURL),
        ("http://h/ü", exceptions.InvalidURL),
        ("http://[::1/", exceptions.InvalidURL),
        ("http://h:99999/", exceptions.InvalidURL),
    ],
)
def test_a_url_that_two_parsers_could_read_differently_is_refused(url: str, kind: type[Exception]) -> None:
    request = requests.Request("GET", "http://h/").prepare()
    request.url = url
    with pytest.raises(kind) as caught:
        adapter().send(request, bounds=GENEROUS)
    assert caught.value.__dict__["sent"] is False


def test_an_unknown_certificate_is_refused_and_one_trusted_is_not(tmp_path: Path) -> None:
    tls = Tls.make(tmp_path)
    with FaultServer(tls=tls) as server:
        with pytest.raises(TlsError) as caught:
            call(adapter(), server.url())
        assert (caught.value.certificate, caught.value.__dict__["sent"], server.requests) == (True, False, [])
        assert call(adapter(verify=tls.ca_path), server.url()).status_code == 200
        assert call(adapter(verify=False), server.url()).status_code == 200


def test_what_a_session_says_about_certificates_does_not_count(tmp_path: Path) -> None:
    with FaultServer(tls=Tls.make(tmp_path)) as server:
        request = requests.Request("GET", server.url()).prepare()
        with pytest.raises(TlsError):
            adapter().send(request, verify=False, bounds=GENEROUS)


def test_a_certificate_of_another_name_is_refused(tmp_path: Path) -> None:
    tls = Tls.make(tmp_path, name="other.example")
    with FaultServer(tls=tls) as server, pytest.raises(TlsError) as caught:
        call(adapter(verify=tls.ca_path), server.url("/ok", "localhost"))
    assert caught.value.certificate is True


def test_a_server_that_asks_for_our_certificate_gets_it(tmp_path: Path) -> None:
    tls = Tls.make(tmp_path, ask_client=True)
    with FaultServer(tls=tls) as server:
        assert call(adapter(verify=tls.ca_path, cert=tls.client), server.url()).status_code == 200
        with pytest.raises(TlsError) as caught:
            call(adapter(verify=tls.ca_path), server.url())
        assert (caught.value.certificate, len(server.requests)) == (True, 1)


def test_a_handshake_that_breaks_is_no_matter_of_certificates() -> None:
    with FaultServer() as server, pytest.raises(TlsError) as caught:
        call(adapter(), server.url().replace("http://", "https://"))
    assert (caught.value.certificate, caught.value.__dict__["sent"]) == (False, False)


def test_a_handshake_that_hangs_is_a_connection_not_made() -> None:
    with FaultServer(tls=None, mute=True) as server, pytest.raises(exceptions.ConnectTimeout) as caught:
        CurlAdapter(Guard(), connect_timeout=0.3).send(
            requests.Request("GET", server.url().replace("http://", "https://")).prepare(), bounds=Bounds(20.0)
        )
    assert caught.value.__dict__["sent"] is False


@pytest.mark.parametrize("code", [*FAULTS, 28, 55, 56, 92, 12345])
@pytest.mark.parametrize(
    "words", ["Bad http://u:p@h/?token=secret", "odd token=secret", "user secret:pw was refused", "fine"]
)
def test_no_message_tells_a_secret_of_the_url(code: int, words: str) -> None:
    error = translate(code, words, "http://secret:pw@h/path?token=secret", sent=True, begun=True)
    assert "secret" not in str(error)
    assert ("(fine)" in str(error)) == (words == "fine")
