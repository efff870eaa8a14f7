"""One attempt: what is sent, and what each reply means."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import responses
from requests import exceptions

from inboxd.jobs import faults, transport
from inboxd.jobs.api import Api
from inboxd.jobs.exchange import Call, Redirected, exchange, prepare
from inboxd.jobs.guard import Guard
from inboxd.jobs.job import parse_object
from inboxd.jobs.result import Response

API = Api(name="shop", base_url="http://shop.example", headers={"Authorization": "Bearer s", "X-Shop": "7"})
BOUNDS = transport.Bounds(5.0)
URL = "http://shop.example/x"


@pytest.fixture
def server() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(target="inboxd.jobs.transport.CurlAdapter.send") as mock:
        yield mock


def prepared(url: str = URL, **job: Any) -> Call:
    return prepare(parse_object({"url": url} | job), API, "id-1")


def send(call: Call, ok: str = "200", folder: Path = Path()) -> Response | Redirected:
    session = transport.open_session(transport.CurlAdapter(Guard()))
    return exchange(
        session,
        call,
        BOUNDS,
        ok=frozenset({int(ok)}),
        open_file=lambda name: open(folder / name, "rb"),
        now=1_800_000_000.0,
    )


@pytest.mark.parametrize(
    ("job", "url", "shown"),
    [
        ({}, URL, URL),
        ({"url": "http://shop.example"}, "http://shop.example/", "http://shop.example/"),
        ({"url": URL + "#frag"}, URL, URL),
        ({"query": {"a": [1, True, "ü"], "b": ""}}, URL + "?a=1&a=true&a=%C3%BC&b=", None),
        ({"url": URL + "?z=1", "query": {"a": 1}}, URL + "?z=1&a=1", None),
        ({"url": URL + "/ü 1".replace(" ", "%20")}, URL + "/%C3%BC%201", None),
        ({"url": URL + "/100%"}, URL + "/100%25", None),
        ({"query": {"api_key": "s"}}, URL + "?api_key=s", URL + "?api_key=***"),
        ({"url": "http://u:p@shop.example/x"}, URL, URL),
    ],
)
def test_the_url_is_sent_encoded_and_shown_without_secrets(job: dict[str, Any], url: str, shown: str | None) -> None:
    call = prepared(**job)
    assert (call.url, call.shown) == (url, shown or url)


@pytest.mark.parametrize(
    ("job", "body", "content_type"),
    [
        ({}, None, None),
        ({"json": {"ü": [1, None]}}, '{"ü":[1,null]}'.encode(), "application/json"),
        ({"json": None}, b"null", "application/json"),
        ({"json": 10**30}, b"%d" % 10**30, "application/json"),
        ({"json": "\ud800"}, b'"\\ud800"', "application/json"),
        ({"form": {"a": [1, False], "b": "x y"}}, b"a=1&a=false&b=x+y", "application/x-www-form-urlencoded"),
        ({"text": "ü"}, "ü".encode(), "text/plain; charset=utf-8"),
        ({"base64": "AAE="}, b"\x00\x01", "application/octet-stream"),
        ({"text": "a", "headers": {"content-type": "text/csv"}}, b"a", "text/csv"),
    ],
)
def test_each_body_is_sent_with_its_type(job: dict[str, Any], body: bytes | None, content_type: str | None) -> None:
    request = prepared(**job).request
    assert (request.body, request.headers.get("Content-Type")) == (body, content_type)


@pytest.mark.parametrize(("method", "length"), [("GET", None), ("DELETE", None), ("POST", "0"), ("PUT", "0")])
def test_the_absence_of_an_expected_body_is_told(method: str, length: str | None) -> None:
    assert prepared(method=method).request.headers.get("Content-Length") == length


def test_the_jobs_headers_go_before_the_urls_credentials_and_these_before_the_apis() -> None:
    assert prepared().request.headers["authorization"] == "Bearer s"
    assert prepared("http://u:p%40@shop.example/x").request.headers["Authorization"] == "Basic dTpwQA=="
    named = prepared("http://u:p@shop.example/x", headers={"authorization": "mine"})
    assert named.request.headers["Authorization"] == "mine"
    assert prepared().request.headers["Idempotency-Key"] == "id-1"


@pytest.mark.parametrize(
    "job",
    [{"query": {"a": "\ud800"}}, {"form": {"\ud800": "a"}}, {"multipart": {"\ud800": "a"}}],
)
def test_half_a_character_is_refused_where_utf8_must_carry_it(job: dict[str, Any]) -> None:
    with pytest.raises(faults.Invalid):
        prepared(**job)


def test_an_accepted_reply_is_a_response(server: responses.RequestsMock) -> None:
    server.get(URL, body=b"hi", headers={"X-A": "1"})
    reply = send(prepared())
    assert isinstance(reply, Response)
    assert (reply.status, reply.body, reply.size, reply.headers["X-A"]) == (200, b"hi", 2, "1")
    assert server.calls[0].request.headers["Idempotency-Key"] == "id-1"


def test_the_job_says_which_statuses_are_accepted(server: responses.RequestsMock) -> None:
    server.get(URL, status=404)
    assert send(prepared(), ok="404").status == 404


@pytest.mark.parametrize(("status", "kind"), [(404, faults.Client), (503, faults.Server), (429, faults.Throttled)])
def test_a_status_that_is_not_accepted_is_a_fault_with_the_reply_in_it(
    server: responses.RequestsMock, status: int, kind: type[faults.Fault]
) -> None:
    server.get(URL, status=status, body=b"why", headers={"Retry-After": "9"})
    with pytest.raises(kind) as failure:
        send(prepared())
    assert failure.value.response is not None
    assert failure.value.response.body == b"why"
    assert failure.value.retry_after == (9.0 if status != 404 else None)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (transport.DnsError("x"), "dns"),
        (transport.TlsError("x"), "tls"),
        (exceptions.ReadTimeout("x"), "timeout"),
        (exceptions.ConnectTimeout("x"), "timeout"),
        (exceptions.ConnectionError("x"), "network"),
        (exceptions.ProxyError("x"), "network"),
        (exceptions.ChunkedEncodingError("x"), "network"),
        (exceptions.ContentDecodingError("x"), "bad_response"),
        (transport.BadReply("x"), "bad_response"),
        (transport.BodyTooLarge("x"), "too_large"),
        (transport.AddressRefused("x"), "blocked"),
        (exceptions.InvalidURL("x"), "invalid"),
        (exceptions.InvalidHeader("x"), "invalid"),
        (exceptions.RequestException("x"), "network"),
    ],
)
@pytest.mark.parametrize("sent", [True, False])
def test_each_error_of_the_wire_has_its_kind_and_says_whether_it_was_sent(
    server: responses.RequestsMock, error: exceptions.RequestException, kind: str, sent: bool
) -> None:
    error.sent = sent  # type: ignore[attr-defined]  # the transport sets it
    server.get(URL, body=error)
    with pytest.raises(faults.Fault) as failure:
        send(prepared())
    assert (failure.value.kind, failure.value.uncertain, failure.value.message) == (kind, sent, "x")


def test_a_refused_certificate_is_permanent(server: responses.RequestsMock) -> None:
    error = transport.TlsError("x")
    error.certificate = True
    server.get(URL, body=error)
    with pytest.raises(faults.Certificate):
        send(prepared())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_redirect_within_the_origin_keeps_the_headers(
    server: responses.RequestsMock, status: int, method: str
) -> None:
    server.add(method, URL, status=status, headers={"Location": "../y?a=1#f"})
    reply = send(prepared(method=method))
    assert isinstance(reply, Redirected)
    assert (reply.status, reply.call.url, reply.call.method) == (status, "http://shop.example/y?a=1", method)
    assert reply.call.request.headers["Authorization"] == "Bearer s"


@pytest.mark.parametrize(
    "to", ["http://other.example/", "https://shop.example/x", "//shop.example:81/", "HTTP://u:p@o/"]
)
def test_a_redirect_to_another_origin_takes_nothing_that_was_entrusted(server: responses.RequestsMock, to: str) -> None:
    server.get(URL, status=302, headers={"Location": to})
    job = {"headers": {"X-Api-Key": "k", "Host": "shop", "X-Mine": "1"}}
    reply = send(prepared(headers=job["headers"]))
    assert isinstance(reply, Redirected)
    assert {name.lower() for name in reply.call.request.headers} == {
        "user-agent",
        "accept",
        "idempotency-key",
    }


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods_are_not_sent_on(server: responses.RequestsMock, method: str) -> None:
    server.add(method, URL, status=302, headers={"Location": "/y"})
    with pytest.raises(faults.Client):
        send(prepared(method=method))


@pytest.mark.parametrize("to", ["ftp://h/", "http://[bad", "http://h:99999/", "javascript:x", "http://a~b/"])
def test_a_redirect_to_what_is_no_url_is_a_bad_response(server: responses.RequestsMock, to: str) -> None:
    server.get(URL, status=302, headers={"Location": to})
    with pytest.raises(faults.BadResponse):
        send(prepared())


@pytest.mark.parametrize(
    ("allowed", "good"),
    [("*", True), ("https://me.example", True), ("https://you.example", False), (None, False), ("", False)],
)
def test_an_answer_must_allow_the_origin_that_the_job_named(
    server: responses.RequestsMock, allowed: str | None, good: bool
) -> None:
    server.get(URL, headers={} if allowed is None else {"Access-Control-Allow-Origin": allowed})
    call = prepared(headers={"Origin": "https://me.example"})
    if good:
        assert send(call).status == 200
    else:
        with pytest.raises(faults.Cors) as failure:
            send(call)
        assert failure.value.response is not None


def test_an_attachment_is_opened_anew_for_each_attempt(server: responses.RequestsMock, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    read: list[bytes] = []

    def reading(request: Any) -> tuple[int, dict[str, str], str]:
        read.append(request.body)
        return 200, {}, ""

    server.add_callback("POST", URL, reading)
    call = prepared(file="a.csv")
    for content in (b"one", b"three"):
        path.write_bytes(content)
        send(call, folder=tmp_path)
    assert read == [b"one", b"three"]
    assert call.request.headers["Content-Type"] == "text/csv"
    assert call.request.headers["Content-Length"] == "5"


def test_an_attachment_that_is_not_there_is_the_jobs_mistake() -> None:
    with pytest.raises(faults.Invalid, match="attachment: No such file"):
        send(prepared(file="missing-attachment.csv"))


def test_a_side_file_comes_back_with_the_response(server: responses.RequestsMock) -> None:
    side = io.BytesIO(b"body")

    def spilled(reply: Any) -> Any:
        reply.side, reply.size, reply.sha256 = side, 4, "ab"
        return reply

    call = prepared()
    call.request.hooks["response"] = [lambda reply, *_args, **_kwargs: spilled(reply)]
    server.get(URL)
    reply = send(call)
    assert isinstance(reply, Response)
    assert (reply.side, reply.size, reply.sha256, reply.body) == (side, 4, "ab", b"")
