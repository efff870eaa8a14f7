"""What the transport sends and gives back when all goes well, and what it keeps between calls."""

import io
import os
import threading
from pathlib import Path

import pytest
import requests
import responses

from inboxd.jobs.guard import Guard
from inboxd.jobs.transport import Bounds, CurlAdapter, CurlResponse, open_session
from tests.faultserver import FaultServer
from tests.transportkit import GENEROUS, adapter, call


def test_a_body_arrives_with_its_length_and_type() -> None:
    with FaultServer() as server:
        answer = call(adapter(), server.url("/echo?x=1"), "PATCH", json={"a": 1})
        seen = answer.json()
    assert (answer.status_code, answer.reason, answer.size, answer.side) == (200, "Fault", len(answer.content), None)
    assert (seen["method"], seen["target"], seen["body"]) == ("PATCH", "/echo?x=1", '{"a": 1}')
    assert seen["headers"]["content-length"] == "8"
    assert seen["headers"]["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "arrives"),
    [(None, b""), (b"\x00\xff", b"\x00\xff"), ("grün", "grün".encode()), (b"", b""), (io.BytesIO(b"file"), b"file")],
)
def test_every_kind_of_body_arrives_whole_and_once_framed(body: object, arrives: bytes) -> None:
    with FaultServer() as server:
        request = requests.Request("POST", server.url()).prepare()
        request.prepare_body(body, None)
        adapter().send(request, bounds=GENEROUS)
        (seen,) = server.requests
    assert seen.body == arrives
    assert [value for name, value in seen.fields if name == "Content-Length"] == [str(len(arrives))]
    assert not {"expect", "content-type", "transfer-encoding"} & seen.headers.keys()


def test_a_file_without_a_known_length_is_sent_in_chunks() -> None:
    reading, writing = os.pipe()
    with FaultServer() as server, open(reading, "rb") as source:
        with open(writing, "wb") as sink:
            sink.write(b"through a pipe")
        call(adapter(), server.url(), "POST", data=source)
        (seen,) = server.requests
    assert (seen.body, seen.headers["transfer-encoding"]) == (b"through a pipe", "chunked")


def test_a_large_file_is_streamed_from_where_it_stood_at_each_attempt() -> None:
    content = os.urandom(3_000_000)
    source = io.BytesIO(b"skipped" + content)
    source.seek(7)
    with FaultServer() as server:
        request = requests.Request("PUT", server.url(), data=source).prepare()
        wire = adapter()
        wire.send(request, bounds=GENEROUS)
        wire.send(request, bounds=GENEROUS)
        assert [seen.body == content for seen in server.requests] == [True, True]
        # Curl would wait for "100 Continue" with a body of this size.
        assert "expect" not in server.requests[0].headers


def test_a_file_is_sent_again_when_a_kept_connection_was_dead() -> None:
    with FaultServer() as server:
        wire = adapter()
        call(wire, server.url())
        server.drop_connections()
        call(wire, server.url(), "PUT", data=io.BytesIO(b"x" * 100_000))
        assert [len(seen.body) for seen in server.requests] == [0, 100_000]


def test_head_gets_headers_and_no_body() -> None:
    with FaultServer() as server:
        answer = call(adapter(), server.url("/echo"), "HEAD")
        assert server.requests[0].method == "HEAD"
    assert (answer.content, int(answer.headers["Content-Length"]) > 0) == (b"", True)


def test_only_what_the_request_says_is_sent() -> None:
    with FaultServer() as server:
        call(adapter(), server.url(), headers={"X-One": "1", "X-Empty": ""})
        (seen,) = server.requests
    assert seen.headers.pop("host") == f"127.0.0.1:{server.port}"
    assert seen.headers.pop("accept-encoding")
    assert seen.headers == {"accept": "*/*", "x-one": "1", "x-empty": ""}


def test_a_given_host_header_replaces_ours_and_latin_1_survives() -> None:
    with FaultServer() as server:
        call(adapter(), server.url(), headers={"Host": "other.example", "X-Name": "Müller", "X-Bytes": b"\xe9"})
        (seen,) = server.requests
    assert [value for name, value in seen.fields if name.lower() == "host"] == ["other.example"]
    assert (seen.headers["x-name"], seen.headers["x-bytes"]) == ("Müller", "é")


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b", "\u2603"])
def test_a_header_that_would_become_two_is_refused_before_anything_is_sent(value: str) -> None:
    with FaultServer() as server:
        request = requests.Request("GET", server.url()).prepare()
        request.headers["X-Value"] = value
        with pytest.raises(requests.exceptions.InvalidHeader) as caught:
            adapter().send(request, bounds=GENEROUS)
        assert (caught.value.__dict__["sent"], server.connections) == (False, 0)


@pytest.mark.parametrize("name", ["X-A: 1\r\nX-B", "X A", "", "X:Y", "Ü"])
def test_a_header_name_that_is_no_token_is_refused(name: str) -> None:
    request = requests.Request("GET", "http://127.0.0.1:1/").prepare()
    request.headers["X-Good"] = request.headers[name] = "1"
    with pytest.raises(requests.exceptions.InvalidHeader):
        adapter().send(request, bounds=GENEROUS)


def test_a_method_with_a_line_end_is_refused() -> None:
    request = requests.Request("GET", "http://127.0.0.1:1/").prepare()
    request.method = "GET / HTTP/1.1\r\nX-Evil: 1\r\n\r\nGET"
    with pytest.raises(requests.exceptions.InvalidHeader):
        adapter().send(request, bounds=GENEROUS)


def test_nothing_of_a_request_leaks_into_the_next_on_the_same_connection() -> None:
    with FaultServer() as server:
        wire = adapter()
        call(wire, server.url(), "POST", data=b"secret", headers={"Authorization": "Bearer one", "X-Job": "1"})
        call(wire, server.url())
        call(wire, server.url(), "HEAD", headers={"X-Job": "2"})
        call(wire, server.url(), "PUT", data=io.BytesIO(b"stream"))
        call(wire, server.url(), "DELETE")
        call(wire, server.url(), "POST", data=b"x")
        call(wire, server.url(), "GET")
        seen = server.requests
        assert server.connections == 1
    own = [{name for name in one.headers if name not in {"host", "accept", "accept-encoding"}} for one in seen]
    assert [one.method for one in seen] == ["POST", "GET", "HEAD", "PUT", "DELETE", "POST", "GET"]
    assert [one.body for one in seen] == [b"secret", b"", b"", b"stream", b"", b"x", b""]
    length = "content-length"
    assert own == [{"authorization", "x-job", length}, set(), {"x-job"}, {length}, {length}, {length}, set()]


def test_each_thread_has_its_own_connections() -> None:
    with FaultServer() as server:
        wire = adapter()
        threads = [threading.Thread(target=lambda: [call(wire, server.url()) for _ in range(5)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(server.requests), server.connections) == (20, 4)


def test_closing_lets_the_connections_go_and_the_adapter_can_be_used_again() -> None:
    with FaultServer() as server:
        wire = adapter()
        call(wire, server.url())
        wire.close()
        call(wire, server.url())
        assert server.connections == 2


def test_cookies_are_neither_kept_nor_sent() -> None:
    with FaultServer() as server, open_session(adapter()) as session:
        first = session.get(server.url("/cookie"), timeout=20)
        session.cookies.set("by", "hand")
        session.get(server.url(), timeout=20)
        assert first.headers["Set-Cookie"] == "session=secret; Path=/, other=1"
        assert (len(session.cookies), len(first.cookies)) == (0, 0)
        assert "cookie" not in server.requests[1].headers


def test_the_environment_and_netrc_change_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("default login user password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with FaultServer() as server, open_session(adapter()) as session:
        session.get(server.url(), timeout=20)
        assert "authorization" not in server.requests[0].headers


def test_a_configured_proxy_is_used_even_against_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with FaultServer() as server:
        # The guard judges no proxy: this one would not pass.
        call(adapter(guard=Guard(private=False), proxy=server.url("")), "http://shop.example/ok")
        assert server.requests[0].target == "http://shop.example/ok"


def test_userinfo_becomes_a_header_and_the_path_stays_as_it_is() -> None:
    with FaultServer() as server:
        request = requests.Request("GET", server.url().replace("//", "//user:pass@")).prepare()
        request.url = server.url("/ok/../%2E/x?q=a%20b#fragment").replace("//", "//user:pass@")
        adapter().send(request, bounds=GENEROUS)
        (seen,) = server.requests
    assert (seen.target, seen.headers["authorization"]) == ("/ok/../%2E/x?q=a%20b", "Basic dXNlcjpwYXNz")


@pytest.mark.parametrize("allow", [True, False])
def test_a_redirect_is_handed_back_and_never_followed(allow: bool) -> None:
    with FaultServer() as server, open_session(adapter()) as session:
        answer = session.get(server.url("/redirect?to=http://[bad"), timeout=20, allow_redirects=allow)
        assert (answer.status_code, answer.is_redirect, len(server.requests)) == (302, True, 1)


def test_interim_responses_are_not_the_answer() -> None:
    with FaultServer() as server:
        answer = call(adapter(), server.url("/interim"))
    assert (answer.status_code, answer.json(), "Link" in answer.headers) == (200, {"ok": True}, False)


@pytest.mark.parametrize("status", [204, 304, 404, 503])
def test_every_status_is_an_answer(status: int) -> None:
    with FaultServer() as server:
        wire = adapter()
        answer = call(wire, server.url(f"/status/{status}?retry-after=7"))
        call(wire, server.url())
        assert server.connections == 1
    assert (answer.status_code, answer.headers["retry-after"]) == (status, "7")


def test_a_compressed_body_is_decoded_whatever_the_request_accepts() -> None:
    with FaultServer() as server:
        assert call(adapter(), server.url("/gzip")).json() == {"ok": True}
        assert call(adapter(), server.url("/gzip"), headers={"Accept-Encoding": "gzip"}).json() == {"ok": True}


def test_large_headers_arrive() -> None:
    with FaultServer() as server:
        assert len(call(adapter(), server.url("/big-head?bytes=50000")).headers) == 51


def test_an_answer_can_be_made_by_responses() -> None:
    with responses.RequestsMock(target="inboxd.jobs.transport.CurlAdapter.send") as mock:
        mock.get("https://shop.example/orders/17", json={"id": 17}, status=201, headers={"X-A": "1"})
        with open_session(CurlAdapter(Guard())) as session:
            request = requests.Request("GET", "https://shop.example/orders/17").prepare()
            answer = session.send(request, allow_redirects=False, bounds=Bounds(1.0))
    assert isinstance(answer, CurlResponse)
    assert (answer.status_code, answer.json(), answer.headers["x-a"], answer.size) == (201, {"id": 17}, "1", 10)
    assert (answer.reason, answer.encoding) == ("Created", "utf-8")


def test_digest_authentication_works_through_its_hooks() -> None:
    with FaultServer() as server, open_session(adapter()) as session:
        request = requests.Request("GET", server.url("/digest"), auth=requests.auth.HTTPDigestAuth("user", "pass"))
        answer = session.send(session.prepare_request(request), bounds=GENEROUS)
        assert (answer.status_code, len(server.requests)) == (200, 2)
        assert server.requests[1].headers["authorization"].startswith("Digest ")
