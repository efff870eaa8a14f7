"""Jobs over HTTP, with a real daemon and real sockets: what is accepted, what is refused, and what becomes of it."""

import json
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemonkit import CountingServer, inboxd, wait_until
from tests.gatewaykit import Served

pytestmark = pytest.mark.journey

# One call a minute: what waits for it waits as long as a test needs.
PAST = '{"url": "http://a.example/", "trace": {"id": "x", "received": "2026-01-01T00:00:00Z"}}'
CLOSED = '[api.closed]\nbase_url = "{}"\nrate = "1/m"\n'


@pytest.fixture(scope="module")
def server() -> Iterator[CountingServer]:
    with CountingServer() as server:
        yield server


@pytest.fixture(scope="module")
def closed() -> Iterator[CountingServer]:
    with CountingServer() as server:
        yield server


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, closed: CountingServer) -> Iterator[Served]:
    """Return a daemon that the tests of this file share; each asks for jobs of its own."""
    more = "max_job = 4096\n" + CLOSED.format(closed.url(""))
    with Served(tmp_path_factory.mktemp("gateway"), 'private = true\nmax_request = "1 MiB"', more=more) as served:
        # From here on nothing more is called there.
        served.post({"id": "takes-the-permit", "url": closed.url("/ok")})
        served.outcome("takes-the-permit")
        yield served


def test_a_job_is_accepted_called_and_answered(served: Served, server: CountingServer) -> None:
    posted = served.post({"url": server.url("/ok?n=1")})
    assert (posted.status, list(posted.json)) == (202, ["id"])
    assert posted.headers["Location"] == f"/jobs/{posted.json['id']}"
    found = served.outcome(posted.json["id"])
    assert (found["state"], found["answer"]["response"]["json"]) == ("done", {"ok": True})
    assert found["answer"]["id"] == found["id"] == posted.json["id"]
    assert server.keys[posted.json["id"]] == 1


def test_a_client_that_prefers_to_wait_gets_the_answer_itself(served: Served, server: CountingServer) -> None:
    posted = served.post({"url": server.url("/slow?ms=50")}, Prefer="wait=20")
    assert (posted.status, posted.headers["Preference-Applied"]) == (200, "wait=20")
    assert posted.json["answer"]["status"] == "done"


def test_a_wait_that_is_too_short_ends_with_what_is_known(served: Served, closed: CountingServer) -> None:
    posted = served.post({"url": closed.url("/ok?short")}, Prefer="wait=0")
    assert (posted.status, list(posted.json)) == (202, ["id"])
    found = served.ask("GET", f"/jobs/{posted.json['id']}", headers={"Prefer": "wait=1"})
    assert (found.status, "answer" in found.json) == (200, False)


def test_a_list_gives_an_id_for_each_in_its_order(served: Served, server: CountingServer) -> None:
    jobs = [{"url": server.url(f"/ok?list={number}")} for number in range(5)]
    jobs[2]["id"] = "list-two"
    posted = served.post(*jobs)
    assert (posted.status, len(posted.json["ids"]), posted.json["ids"][2]) == (202, 5, "list-two")
    asked = [served.outcome(identifier)["answer"]["request"]["url"] for identifier in posted.json["ids"]]
    assert asked == [job["url"] for job in jobs]


def test_lines_of_jobs_are_a_batch(served: Served, server: CountingServer) -> None:
    lines = "".join(json.dumps({"url": server.url(f"/ok?line={number}")}) + "\n" for number in range(3))
    posted = served.ask("POST", "/jobs", data=lines, headers={"Content-Type": "application/x-ndjson"})
    assert posted.status == 202
    summary = served.outcome(posted.json["id"])["answer"]
    assert (summary["lines"], summary["statuses"]) == (3, {"done": 3})


def test_posts_of_one_moment_share_a_file_and_keep_apart(served: Served, server: CountingServer) -> None:
    jobs = [{"url": server.url(f"/echo?shared={number}"), "json": number} for number in range(20)]
    ids = served.post(*jobs).json["ids"]
    assert len({identifier.partition(":")[0] for identifier in ids}) == 1
    bodies = [served.outcome(identifier)["answer"]["response"]["json"]["body"] for identifier in ids]
    assert bodies == [str(number) for number in range(20)]


def test_the_same_request_with_the_same_key_is_one_job(served: Served, server: CountingServer) -> None:
    job, key = {"url": server.url("/ok?key")}, f"key-{uuid.uuid4()}"
    first, second = (served.post(job, Idempotency_Key=f'"{key}"') for _ in range(2))
    served.outcome(key)
    third = served.post(job, Idempotency_Key=key)
    assert [one.json for one in (first, second, third)] == [{"id": key}] * 3
    replayed = [one.headers.get("Idempotent-Replayed") for one in (first, second, third)]
    assert replayed == [None, "true", "true"]
    assert server.keys[key] == 1


def test_the_same_list_with_the_same_key_is_accepted_once(served: Served, server: CountingServer) -> None:
    jobs, key = [{"url": server.url(f"/ok?keyed={number}")} for number in range(3)], f"list-{uuid.uuid4()}"
    first, second = (served.post(*jobs, Idempotency_Key=key).json["ids"] for _ in range(2))
    assert first == second
    for identifier in first:
        served.outcome(identifier)
    assert [server.keys[identifier] for identifier in first] == [1, 1, 1]


def test_an_id_of_the_jobs_own_is_what_it_is_asked_for(served: Served, server: CountingServer) -> None:
    posted = served.post({"id": "order/17 ü"[:8], "url": server.url("/ok?own")})
    assert (posted.status, posted.json) == (202, {"id": "order/17"})
    # A slash cannot stand in a path; such a job is found by the name of its file.
    served.post({"id": "order-18", "url": server.url("/ok?own18")})
    assert served.outcome("order-18")["answer"]["id"] == "order-18"


def test_a_job_dropped_as_a_file_is_found_by_its_name(served: Served, server: CountingServer) -> None:
    served.drop("by-hand", {"url": server.url("/ok?hand")})
    assert served.outcome("by-hand")["answer"]["name"] == "by-hand"
    answer = served.ask("GET", "/answers/by-hand")
    assert answer.body == (served.spool / "outbox" / "by-hand.json").read_bytes()


def test_a_body_beside_an_answer_is_given_as_it_is_and_never_run(served: Served, server: CountingServer) -> None:
    served.post({"id": "picture", "url": server.url("/binary?bytes=300")})
    served.outcome("picture")
    found = served.ask("GET", "/answers/http-picture/body")
    assert (found.status, found.body) == (200, (bytes(range(256)) * 2)[:300])
    assert found.headers["Content-Type"] == "application/octet-stream"
    assert found.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in found.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("body", "kind", "status", "told"),
    [
        ("{", "application/json", 400, "not JSON"),
        ("", "application/json", 400, "empty"),
        ("[]", "application/json", 202, None),
        ('"text"', "application/json", 400, "expected a JSON object"),
        ('{"ulr": "http://a.example/"}', "application/json", 400, 'did you mean "url"?'),
        ('[{"url": "http://a.example/"}, {"ulr": 1}]', "application/json", 400, "job 2:"),
        (
            '{"url": "http://a.example/", "trace": {"id": "x", "received": "2026-01-01T00:00:00Z"}}',
            "application/json",
            400,
            "trace:",
        ),
        ('{"url": "http://a.example/", "file": "secret.pdf"}', "application/json", 400, "file:"),
        ('{"url": "http://a.example/", "multipart": {"a": {"file": "secret.pdf"}}}', "application/json", 400, "file:"),
        ('{"url": "http://a.example/", "text": "' + 5000 * "x" + '"}', "application/json", 413, "4096"),
        (2_000_000 * "x", "application/json", 413, "larger"),
        ('{"url": "http://a.example/"}', "text/plain", 415, "application/json"),
        ('{"url": "http://a.example/"}', "application/x-www-form-urlencoded", 415, "application/json"),
    ],
)
def test_what_is_wrong_is_told_at_once_and_nothing_is_accepted(
    body: str, kind: str, status: int, told: str | None, served: Served
) -> None:
    before = served.files("inbox") | served.files("failed")
    reply = served.ask("POST", "/jobs", data=body.encode(), headers={"Content-Type": kind})
    assert reply.status == status
    assert told is None or told in reply.json["error"]
    assert served.files("inbox") | served.files("failed") == before


def test_a_key_and_another_id_contradict_each_other(served: Served, server: CountingServer) -> None:
    assert served.post({"id": "a", "url": server.url("/ok")}, Idempotency_Key="b").status == 400


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/nothing",
        "/answers/nothing",
        "/answers/nothing/body",
        "/answers/.hidden",
        "/answers/..%2Fstate%2Flock",
        "/jobs/..%2F..%2Fetc%2Fpasswd",
        "/static/..%2Fpage.py",
    ],
)
def test_what_is_not_there_is_404_and_no_path_leads_out(path: str, served: Served) -> None:
    assert served.ask("GET", path).status == 404


def test_other_methods_are_told_which_there_are(served: Served) -> None:
    reply = served.ask("PUT", "/jobs")
    assert (reply.status, reply.headers["Allow"]) == (405, "POST")


def waiting(served: Served, closed: CountingServer, count: int = 1, **more: Any) -> list[str]:
    """Post jobs that wait for their API, and return their ids once they are claimed."""
    posted = served.post(*[{"url": closed.url(f"/ok?wait={n}"), **more} for n in range(count)], many=True)
    ids: list[str] = posted.json["ids"]
    for identifier in ids:
        wait_until(lambda one=identifier: state(served, one) != "inbox", f"{identifier} to be claimed")
    return ids


def state(served: Served, identifier: str) -> str:
    return str(served.ask("GET", f"/jobs/{identifier}").json["state"])


@pytest.mark.parametrize("count", [1, 3])
def test_a_job_that_waits_says_so_and_can_be_taken_back(count: int, served: Served, closed: CountingServer) -> None:
    ids = waiting(served, closed, count)
    assert state(served, ids[-1]) == "waiting"
    assert served.ask("DELETE", f"/jobs/{ids[-1]}").json == {"id": ids[-1], "state": "cancelled"}
    found = served.outcome(ids[-1])
    assert (found["state"], found["answer"]["error"]["kind"]) == ("cancelled", "cancelled")
    assert served.ask("DELETE", f"/jobs/{ids[-1]}").status == 409
    assert [state(served, one) for one in ids[:-1]] == ["waiting"] * (count - 1)


def test_a_job_for_later_says_until_when_and_can_be_taken_back(served: Served, server: CountingServer) -> None:
    served.post({"id": "later", "url": server.url("/ok?later"), "delay": "1h"})
    wait_until(lambda: state(served, "later") == "deferred", "the job to be deferred")
    assert "due" in served.ask("GET", "/jobs/later").json
    assert served.ask("DELETE", "/jobs/later").status == 200
    assert served.outcome("later")["state"] == "cancelled"
    assert "/ok?later" not in server.counts


def test_why_a_job_waits_is_told_over_http_as_on_the_command_line(tmp_path: Path, closed: CountingServer) -> None:
    # A daemon of its own: lines of others' batches are ahead too, which only the daemon can see.
    with Served(tmp_path, more=CLOSED.format(closed.url(""))) as served:
        served.post({"id": "first", "url": closed.url("/ok")})
        served.outcome("first")
        served.post({"id": "waits", "url": closed.url("/ok")})
        served.post({"id": "later", "url": closed.url("/ok"), "delay": "1h"})
        for identifier, expected in (("waits", "waiting"), ("later", "deferred")):
            wait_until(lambda one=identifier, at=expected: state(served, one) == at, f"{identifier} to be {expected}")

            def same(identifier: str = identifier) -> bool:
                said = str(served.ask("GET", f"/jobs/{identifier}").json["why"])
                told = inboxd("why", f"http-{identifier}", "--spool", str(served.spool), cwd=served.folder).stdout
                # Both begin with how long it has waited, and some end with how long still.
                cause = said.partition(": ")[2].partition(", in ")[0]
                return bool(cause) and cause in told

            assert wait_until(same, "the same sentence")


def test_why_a_job_of_a_shared_file_waits_is_told_of_the_job(served: Served, closed: CountingServer) -> None:
    (line, *_) = waiting(served, closed, 3)
    said = served.ask("GET", f"/jobs/{line}").json["why"]
    assert "closed is at 1/min, " in said
    assert " ahead" in said


def test_a_job_that_is_being_called_cannot_be_taken_back(served: Served, server: CountingServer) -> None:
    served.post({"id": "called", "url": server.url("/slow?ms=700")})
    wait_until(lambda: server.keys["called"], "the call")
    assert served.ask("DELETE", "/jobs/called").status == 409
    assert served.outcome("called")["state"] == "done"


def test_an_unknown_job_cannot_be_taken_back(served: Served) -> None:
    assert served.ask("DELETE", "/jobs/never-heard-of").status == 404


def test_health_readiness_and_the_description_are_there(served: Served) -> None:
    assert [served.ask("GET", path).status for path in ("/healthz", "/readyz", "/openapi.json", "/docs", "/")] == [
        200
    ] * 5


def test_metrics_are_told_in_the_format_of_prometheus(served: Served) -> None:
    reply = served.ask("GET", "/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain; version=")
    assert b"# TYPE inboxd_" in reply.body


def test_children_of_what_came_over_http_may_not_call_private_addresses_either(tmp_path: Path) -> None:
    with CountingServer() as server, Served(tmp_path, "private = false", more=named("named", server)) as served:
        child = {"url": server.url("/ok", "127.0.0.1").replace("127.0.0.1", "127.0.0.2"), "attempts": 1}
        served.post({"id": "parent", "url": server.url("/ok"), "then": [child]})
        assert served.outcome("parent")["state"] == "done"
        assert served.outcome("http-parent~1")["answer"]["error"]["kind"] == "blocked"


def test_a_body_for_a_named_call_is_streamed_to_it(tmp_path: Path) -> None:
    call = '[api.shop.calls.upload]\nmethod = "PUT"\npath = "/echo/{name}"\nfile = "${file}"\n'
    with CountingServer() as server, Served(tmp_path, more=named("shop", server) + call) as served:
        body = bytes(range(256)) * 2000
        reply = served.ask("POST", "/jobs?call=shop.upload&name=photo", data=body)
        assert reply.status == 202
        assert served.outcome(reply.json["id"])["state"] == "done"
        (seen,) = server.requests
        assert (seen.path, seen.body) == ("/echo/photo", body)
        assert not served.files("inbox")
        wrong = served.ask("POST", "/jobs?call=shop.uplaod&name=photo", data=b"x")
        assert (wrong.status, 'did you mean "upload"' in wrong.json["error"]) == (400, True)


HANDLERS = '[handlers]\ntext = "tests.handlerkit:text"\nsize_of = "tests.handlerkit:size_of"\n'


def test_handlers_are_asked_for_over_http_too(tmp_path: Path) -> None:
    with Served(tmp_path, more=HANDLERS, ports="[gateway.ports]\nwork = 0\n") as served:
        job = served.post({"do": "text", "with": {"of": "hello"}}).json["id"]
        body = served.ask("POST", "/jobs?call=size_of&unit=2", data=10 * b"x").json["id"]
        work = served.ask("POST", "/work", dialect="work", data={"name": "text", "delay": "0s"}).json["id"]
        answers = [served.outcome(one)["answer"]["response"] for one in (job, work)]
        assert [answer["text"] for answer in answers] == ["hello", "ä"]
        # What comes in a query is text, and this function wants a number: its own error, told as its own.
        assert served.outcome(body)["answer"]["error"]["kind"] == "handler"
        wrong = served.post({"do": "txet"})
        assert (wrong.status, 'did you mean "text"' in wrong.json["error"]) == (400, True)


def named(name: str, server: CountingServer) -> str:
    return f'[api.{name}]\nbase_url = "{server.url("")}"\n'


def test_what_came_over_http_may_not_call_private_addresses_unless_told(tmp_path: Path) -> None:
    with CountingServer() as server, Served(tmp_path, "private = false") as served:
        shared = served.post(*[{"url": server.url("/ok"), "attempts": 1} for _ in range(2)]).json["ids"]
        ids = [*shared, served.post({"url": server.url("/ok"), "attempts": 1}).json["id"]]
        kinds = [served.outcome(identifier)["answer"]["error"]["kind"] for identifier in ids]
        # A file is dropped by somebody who may write to the machine already.
        served.drop("file", {"url": server.url("/ok")})
        assert served.answer("file")["status"] == "done"
        assert (kinds, sum(server.counts.values())) == (["blocked"] * 3, 1)


def test_what_others_got_from_a_private_address_is_not_read_from_the_cache(tmp_path: Path) -> None:
    with CountingServer() as server, Served(tmp_path, "private = false") as served:
        served.drop("file", {"url": server.url("/ok"), "cache": "1h"})
        served.answer("file")
        posted = served.post({"url": server.url("/ok"), "cache": "1h", "attempts": 1})
        assert served.outcome(posted.json["id"])["answer"]["error"]["kind"] == "blocked"


def test_accepted_jobs_survive_a_kill(tmp_path: Path) -> None:
    with CountingServer() as server, Served(tmp_path, more=CLOSED.format(server.url(""))) as served:
        jobs = [{"url": server.url(f"/ok?kill={number}")} for number in range(30)]
        ids = served.post(*jobs, many=True).json["ids"]
        served.post({"id": "single", "url": server.url("/ok?kill=single")})
        served.kill()
        served.config.write_text(served.config.read_text().replace('"1/m"', '"1000/s"'))
        served.start()
        assert {served.outcome(identifier)["state"] for identifier in [*ids, "single"]} == {"done"}
        assert all(server.keys[identifier] == 1 for identifier in ids[1:])


def test_a_stop_ends_long_polls_at_once_and_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    with CountingServer() as server, Served(tmp_path, more=CLOSED.format(server.url(""))) as served:
        served.post({"id": "first", "url": server.url("/ok")})
        served.outcome("first")
        posted = served.post({"id": "waits", "url": server.url("/ok")})
        assert posted.status == 202
        with served.connect() as poll:
            poll.sendall(b"GET /jobs/waits HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=60\r\n\r\n")
            wait_until(lambda: state(served, "waits") == "waiting", "the job to wait")
            assert served.stop() == 0
            assert b'"state":' in poll.recv(65536)
        assert {name.partition("~")[0] for folder in ("inbox", "deferred") for name in served.files(folder)} & {
            "http-waits.json",
            "http-waits",
        }


def test_the_unix_socket_serves_without_a_name(tmp_path: Path) -> None:
    with Served(tmp_path, 'socket = "gateway.sock"') as served:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(served.folder / "gateway.sock"))
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.makefile("rb").read().endswith(b"ok\n")
        assert (served.folder / "gateway.sock").stat().st_mode & 0o007 == 0
        served.stop()
        assert not (served.folder / "gateway.sock").exists()
