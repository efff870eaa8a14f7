"""The short way and the ordinary one of a POST: whoever posts cannot tell them apart."""

import json
import re
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import NamedTuple

import pytest

from tests.daemonkit import CountingServer
from tests.gatewaykit import Served

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("short"), "private = true") as served:
        yield served


class Said(NamedTuple):
    """An answer, without what differs from one to the next."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def read(client: socket.socket) -> Said:
    answer = HTTPResponse(client)
    answer.begin()
    body = answer.read()
    named = [(name.lower(), value) for name, value in answer.getheaders() if name.lower() != "date"]
    identifier = re.compile(r"[0-9a-f-]{36}(:\d+)?")
    return Said(
        answer.status,
        sorted((name, identifier.sub("ID", value)) for name, value in named),
        identifier.sub("ID", body.decode()).encode(),
    )


def head(body: bytes, *lines: str, kind: str = "application/json") -> bytes:
    said = ["POST /jobs HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join([*said, "", ""]).encode()


@pytest.mark.parametrize(
    ("body", "lines", "status"),
    [
        (b'{"url": "%s"}', [], 202),
        (b'\xef\xbb\xbf{"url": "%s"}\n', [], 202),
        (b'{"url": "%s"}', ["Connection: close"], 202),
        (b'{"id": "named", "url": "%s"}', [], 202),
        (b'[{"url": "%s"}]', [], 202),
        (b'{"url": "%s"}', ["Idempotency-Key: once"], 202),
        (b'{"ulr": "%s"}', [], 400),
        (b'{"url": "%s", "file": "secret"}', [], 400),
        (b"", [], 400),
        (b'{"url": "%s"}', ["Origin: http://evil.example"], 403),
        (b'{"url": "%s"}', ["Host: evil.example"], 421),
    ],
)
def test_both_ways_say_the_same(body: bytes, lines: list[str], status: int, served: Served) -> None:
    with CountingServer() as server:
        if b"%s" in body:
            body %= server.url("/ok").encode()
        with served.connect() as client:
            client.sendall(head(body, *lines) + body)
            short = read(client)
        with served.connect() as client:
            # Whoever expects to be asked for the body is, by the ordinary way.
            client.sendall(head(body, "Expect: 100-continue", *lines))
            if body and status in {202, 400}:
                assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
                client.sendall(body)
            ordinary = read(client)
    # What was sent before is known.
    ordinary.headers[:] = [header for header in ordinary.headers if header[0] != "idempotent-replayed"]
    assert short == ordinary
    assert short.status == status


def test_requests_sent_in_one_piece_are_answered_in_their_order(served: Served) -> None:
    with CountingServer() as server, served.connect() as client:
        good = json.dumps({"url": server.url("/ok")}).encode()
        wrong = b'{"ulr": 1}'
        asked = [good, good, wrong, b"[%b]" % good]
        client.sendall(b"".join(head(body) + body for body in asked) + head(good, "Connection: close") + good)
        answers = client.makefile("rb").read()
    assert re.findall(rb"HTTP/1.1 (\d+) ", answers) == [b"202", b"202", b"400", b"202", b"202"]
    assert len(set(re.findall(rb"location: (\S+)", answers))) == 3
