"""Slow, greedy and strange clients: each is bounded, none is in the way of the others, and none has rights it lacks."""

import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from tests.daemonkit import CountingServer, inboxd, wait_until
from tests.gatewaykit import Served
from tests.tlskit import Tls

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("bounds"), "private = true\nconnections = 700") as served:
        yield served


def ends(connection: socket.socket) -> bytes:
    """Read a connection to its end."""
    connection.settimeout(30)
    return connection.makefile("rb").read()


def test_long_polls_and_slow_heads_hold_up_nobody(served: Served) -> None:
    with CountingServer() as server, ExitStack() as open_now:
        served.post({"id": "asleep", "url": server.url("/ok"), "delay": "1h"})
        for number in range(540):
            client = open_now.enter_context(served.connect())
            if number < 500:
                client.sendall(b"GET /jobs/asleep HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=60\r\n\r\n")
            else:
                client.sendall(b"POST /jobs HTTP/1.1\r\nHost: loc")
        took = []
        for _ in range(20):
            began = time.perf_counter()
            assert served.post({"url": server.url("/ok")}).status == 202
            took.append(time.perf_counter() - began)
    # 20 ms are promised of an idle machine; what is tested is that nobody waits for the others.
    assert statistics.median(took) < 0.5


def test_a_head_that_never_ends_is_cut_off(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        assert ends(client).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("what", [b"X-Long: " + 1_000_000 * b"x", b"X: y\r\n" * 100_000])
def test_a_head_that_grows_without_end_is_cut_off(what: bytes, served: Served) -> None:
    with served.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        try:
            client.sendall(what)
            found = ends(client)
        except (BrokenPipeError, ConnectionResetError):
            # It was closed while we were still sending, and its last words got lost.
            return
    assert found.startswith(b"HTTP/1.1 431 ")


def test_one_connection_too_many_is_told_so_at_once(tmp_path: Path) -> None:
    with Served(tmp_path, "connections = 10") as served, ExitStack() as open_now:
        for _ in range(10):
            open_now.enter_context(served.connect())
        wait_until(lambda: b" 503 " in refused(served), "the refusal")
        assert b"retry-after: 1" in refused(served)


def refused(served: Served) -> bytes:
    with served.connect() as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return ends(client)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Host: evil.example"], 421),
        (["Host: localhost", "Origin: http://evil.example"], 403),
        (["Host: localhost", "Sec-Fetch-Site: cross-site"], 403),
        (["Host: localhost"], 202),
    ],
)
def test_another_sites_page_cannot_drop_a_job(lines: list[str], status: int, served: Served) -> None:
    body = b'{"url": "http://127.0.0.1:9/", "attempts": 1}'
    about = ["Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close"]
    head = ["POST /jobs HTTP/1.1", *lines, *about]
    with served.connect() as client:
        client.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        assert ends(client).startswith(f"HTTP/1.1 {status} ".encode())


def test_every_answer_tells_browsers_to_be_careful(served: Served) -> None:
    for path in ("/", "/jobs/nothing", "/openapi.json", "/static/page.css"):
        headers = served.ask("GET", path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "access-control-allow-origin" not in headers


def test_a_full_disk_is_told_at_once_and_nothing_is_accepted(tmp_path: Path) -> None:
    with Served(tmp_path) as served:
        served.config.write_text(served.config.read_text().replace("min_free = 0", 'min_free = "1000000 GiB"'))
        served.stop()
        served.start()
        reply = served.post({"url": "http://127.0.0.1:9/"})
        assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
        assert (served.ask("GET", "/readyz").status, served.files("inbox")) == (503, set())


def test_a_backlog_is_bounded_and_one_api_does_not_fill_it_alone(tmp_path: Path) -> None:
    with CountingServer() as server, Served(tmp_path, "private = true\nbacklog = 10") as served:
        slow, other = {"url": server.url("/slow?ms=60000")}, {"url": server.url("/ok", "localhost")}
        replies = [served.post(slow) for _ in range(8)]
        assert {reply.status for reply in replies} == {202, 429}
        assert {reply.headers.get("Retry-After") for reply in replies} == {None, "1"}
        assert served.post(other).status == 202


def test_from_elsewhere_nothing_is_served_without_a_token(tmp_path: Path) -> None:
    env = {"GATEWAY_TEST_TOKEN": "s3cret"}
    with Served(tmp_path, 'token = "${secret:GATEWAY_TEST_TOKEN}"', listen="0.0.0.0:0", env=env) as served:
        port = served.address().rpartition(":")[2]
        asked = [
            requests.get(f"http://127.0.0.1:{port}/jobs/x", headers=headers, timeout=20).status_code
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer s3cret"})
        ]
        assert asked == [401, 401, 404]
        assert "s3cret" not in served.log


def test_a_gateway_for_others_without_a_token_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "inboxd.toml").write_text('[gateway]\nenabled = true\nlisten = "0.0.0.0:0"\n')
    done = inboxd("run", cwd=tmp_path)
    assert done.returncode == 2
    assert "token" in done.stderr


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "inboxd.toml").write_text(f'[gateway]\nenabled = true\nlisten = "127.0.0.1:{port}"\n')
        done = inboxd("run", cwd=tmp_path)
    assert done.returncode == 1
    assert f"inboxd: gateway: 127.0.0.1:{port}: Address already in use" in done.stderr.splitlines()


def test_tls_is_spoken_when_the_config_names_a_certificate(tmp_path: Path) -> None:
    tls = Tls.make(tmp_path)
    with Served(tmp_path, 'cert = "server.pem"\nkey = "server.key"') as served:
        port = served.address().rpartition(":")[2]
        found = requests.get(f"https://localhost:{port}/healthz", verify=tls.ca_path, timeout=20)
    assert found.text == "ok\n"


def test_a_flood_is_answered_or_refused_and_every_accepted_job_has_its_answer(tmp_path: Path) -> None:
    with CountingServer() as server, Served(tmp_path, "private = true\nbacklog = 400") as served:
        accepted, refusals = [], 0
        until = time.monotonic() + 3
        while time.monotonic() < until:
            reply = served.post(*[{"url": server.url("/ok")} for _ in range(20)])
            if reply.status == 202:
                accepted += reply.json["ids"]
            else:
                refusals += 1
                assert (reply.status, reply.headers["Retry-After"]) == (429, "1")
        wait_until(lambda: set(accepted) <= answered(served), "all answers", 60)
    assert accepted


def test_posts_for_an_api_without_room_hold_up_nobody_elses(tmp_path: Path) -> None:
    """What shares a file is parked as a single job would be; else it would fill all places for open batches."""
    with CountingServer() as closed, CountingServer() as other:
        more = f'window = 40\n[api.closed]\nbase_url = "{closed.url("")}"\nrate = "1/m"\n'
        with Served(tmp_path, more=more) as served:
            for _ in range(30):
                served.post(*[{"url": closed.url(f"/ok?{number}")} for number in range(10)])
            wait_until(lambda: not served.files("inbox"), "all to be claimed")
            posted = served.post(*[{"url": other.url("/ok")} for _ in range(5)])
            assert {served.outcome(one)["state"] for one in posted.json["ids"]} == {"done"}
            # Two lanes of files in a window of 40 and lists of 10: a handful is open, the rest lies in deferred/.
            assert len([name for name in served.files("deferred") if name.endswith(".jsonl")]) > 20


def answered(served: Served) -> set[str]:
    batches = [name.removesuffix(".jsonl") for name in served.files("outbox") if name.endswith(".jsonl")]
    return {line["id"] for name in batches for line in served.batch(name)}
