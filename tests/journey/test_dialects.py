"""The dialects, each on a port of its own, with clients that know only the original."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.daemonkit import CountingServer, wait_until
from tests.gatewaykit import ALL_PORTS, Served

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("dialects"), ports=ALL_PORTS) as served:
        yield served


@pytest.fixture(autouse=True)
def empty(served: Served) -> None:
    """Let no test find another's messages: what is leased comes back within the second, so it is taken out too."""
    for queue in ("wq", "wonderq", "work"):
        served.ask("DELETE", f"/queues/{queue}/messages")


class Wq:
    """What a client of WQ does."""

    def __init__(self, served: Served, base: str = "/", dialect: str = "wq") -> None:
        self._served, self._base, self._dialect = served, base, dialect

    def push(self, body: Any, query: str = "") -> str:
        headers = {"Content-Type": "application/json"}
        said = {"data": json.dumps(body), "headers": headers, "dialect": self._dialect}
        reply = self._served.ask("POST", self._base + query, **said)
        assert (reply.status, list(reply.json)) == (201, ["messageID"])
        return str(reply.json["messageID"])

    def pull(self, query: str = "") -> list[Any]:
        reply = self._served.ask("GET", self._base + query, dialect=self._dialect)
        assert (reply.status, list(reply.json)) == (200, ["messages"])
        return list(reply.json["messages"])

    def confirm(self, identifier: str) -> int:
        return self._served.ask("PATCH", f"{self._base}{identifier}", dialect=self._dialect).status


@pytest.fixture(params=["port", "path"])
def wq(request: pytest.FixtureRequest, served: Served) -> Wq:
    return Wq(served) if request.param == "port" else Wq(served, "/dialects/wq/", "")


def test_wq_gives_what_was_pushed_and_forgets_what_is_confirmed(wq: Wq) -> None:
    body = {"user": "foo", "value": 12, "valid": True, "binary": "MHgx", "samples": [1, 2, 3]}
    identifier = wq.push(body, "?timeout=60000")
    assert wq.pull() == [{"id": identifier, "body": body}]
    assert (wq.confirm(identifier), wq.pull()) == (204, [])


@pytest.mark.parametrize("body", [None, 0, "text", [], {}, 10**30, [[["deep"]]]])
def test_wq_takes_any_json(body: Any, wq: Wq) -> None:
    wq.push(body, "?timeout=60000")
    assert [message["body"] for message in wq.pull()] == [body]


def test_wq_refuses_what_is_not_json(served: Served) -> None:
    reply = served.ask("POST", "/", dialect="wq", data=b"{not json", headers={"Content-Type": "application/json"})
    assert (reply.status, "error" in reply.json) == (400, True)


def test_wq_gives_ten_unless_told_otherwise(wq: Wq) -> None:
    for number in range(12):
        wq.push(number, "?timeout=60000")
    assert [message["body"] for message in wq.pull()] == list(range(10))
    assert [message["body"] for message in wq.pull("?amount=100")] == [10, 11]


def test_wq_hides_what_is_taken_until_its_timeout_and_then_puts_it_to_the_end(wq: Wq) -> None:
    first = wq.push("first", "?timeout=300")
    assert wq.pull("?amount=1")[0]["id"] == first
    wq.push("second", "?timeout=60000")
    found: list[Any] = []
    wait_until(lambda: found.extend(wq.pull()) or len(found) == 2, "the message to come back")
    assert [message["body"] for message in found] == ["second", "first"]


def test_wq_confirms_only_what_is_taken_once_and_in_time(wq: Wq) -> None:
    waits, taken = wq.push("waits", "?timeout=60000"), wq.push("taken", "?timeout=60000")
    assert wq.confirm(waits) == 404
    wq.pull()
    assert (wq.confirm(taken), wq.confirm(taken), wq.confirm("c2d94881-8722-4c8e-a621-2114f83727c6")) == (204, 404, 404)
    late = wq.push("late", "?timeout=1")
    wait_until(wq.pull, "the late message")
    wait_until(lambda: wq.confirm(late) == 404 or None, "its timeout")


def test_the_lines_of_wqs_own_paper_work_verbatim(served: Served) -> None:
    base = f"http://localhost:{served.address('wq').rpartition(':')[2]}"

    def curl(*arguments: str) -> str:
        done = subprocess.run(["curl", "-s", *arguments], capture_output=True, text=True, timeout=20, check=True)
        return done.stdout

    pushed = curl("-X", "POST", "--header", "Content-Type: application/json", "--data", '{"value": 12}', base)
    identifier = pushed.removeprefix('{"messageID":"').removesuffix('"}')
    assert curl("-X", "GET", base) == f'{{"messages":[{{"id":"{identifier}","body":{{"value":12}}}}]}}'
    assert curl("-X", "GET", f"{base}/?amount=100") == '{"messages":[]}'
    assert curl("-X", "PATCH", "-w", "%{http_code}", f"{base}/{identifier}") == "204"


# -- wonderq ------------------------------------------------------------------------------------------------------


def publish(served: Served, body: Any) -> int:
    reply = served.ask("POST", "/v1/publish", dialect="wonderq", json=body)
    assert (reply.status, list(reply.json)) == (200, ["messageId"])
    return int(reply.json["messageId"])


def consume(served: Served, query: str) -> Any:
    return served.ask("GET", f"/v1/consumer?{query}", dialect="wonderq").json


def delete(served: Served, query: str) -> Any:
    return served.ask("DELETE", f"/v1/consumer?{query}", dialect="wonderq").json


def test_wonderq_gives_a_message_to_one_consumer_who_alone_can_delete_it(served: Served) -> None:
    number = publish(served, {"a": 1})
    assert consume(served, "cid=7&limit=5") == [{"id": number, "message": {"a": 1}}]
    assert consume(served, "cid=8&limit=5") == []
    assert [delete(served, f"cid={cid}&id={number}") for cid in (8, 7, 7)] == [False, True, False]


def test_wonderq_understands_the_query_that_its_paper_misprints(served: Served) -> None:
    number = publish(served, "x")
    consume(served, "cid=7&limit=1")
    assert delete(served, f"cid7&id={number}") is True


def test_wonderq_gives_no_more_than_the_limit(served: Served) -> None:
    for body in range(3):
        publish(served, body)
    assert [len(consume(served, "cid=1&limit=2")) for _ in range(2)] == [2, 1]


@pytest.mark.parametrize("query", ["", "cid=x&limit=1", "limit=1", "cid=1&limit=0", "cid=1&limit=x"])
def test_wonderq_says_what_is_wrong_with_a_query(query: str, served: Served) -> None:
    assert served.ask("GET", f"/v1/consumer?{query}", dialect="wonderq").status == 400


# -- callback -----------------------------------------------------------------------------------------------------


def deliver(served: Served, body: Any) -> Any:
    return served.ask("POST", "/", dialect="callback", json=body)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "provider"),
        ({"provider": "http://127.0.0.1/"}, "callbackUrl"),
        ({"provider": 1, "callbackUrl": "http://127.0.0.1/"}, "provider"),
        ({"provider": "http://127.0.0.1/", "callbackUrl": "not a url"}, "callbackUrl"),
        ({"provider": "nonsense", "callbackUrl": "http://127.0.0.1/"}, "provider"),
        ({"provider": "http://127.0.0.1/", "callbackUrl": "http://127.0.0.1/", "x": 1}, "x"),
        ([], "body"),
    ],
)
def test_callback_says_which_field_is_wrong(body: Any, field: str, served: Served) -> None:
    reply = deliver(served, body)
    assert (reply.status, reply.json.get("field")) == (400, field)
    assert reply.json["error"]


def test_callback_delivers_what_the_provider_gave_and_never_asks_it_twice(served: Served) -> None:
    with CountingServer() as provider, CountingServer() as client:
        # The client is down at first: only its own half is done again.
        said = {"provider": provider.url("/ok"), "callbackUrl": client.url("/flaky/hook?times=2")}
        reply = deliver(served, said)
        assert (reply.status, list(reply.json)) == (202, ["requestId"])
        identifier = reply.json["requestId"]
        wait_until(lambda: len(client.requests) == 3, "the third try of the callback")
        assert json.loads(client.requests[-1].body) == {"requestId": identifier, "data": {"ok": True}}
        assert len(provider.requests) == 1
    assert len([line for line in served.log.splitlines() if identifier in line]) >= 4


# -- work ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["form", "json"])
def test_work_is_accepted_and_waits_for_its_delay(how: str, served: Served) -> None:
    said = {"name": "ada", "delay": "1s"}
    reply = served.ask("POST", "/work", dialect="work", **({"data": said} if how == "form" else {"json": said}))
    assert reply.status == 201
    found: list[Any] = []
    wait_until(lambda: found.extend(served.ask("POST", "/queues/work/receive").json["messages"]) or found, "the work")
    assert found[0]["body"] == {"name": "ada"}


@pytest.mark.parametrize("said", [{}, {"name": "ada"}, {"delay": "1s"}, {"name": "ada", "delay": "soon"}, {"name": ""}])
def test_work_that_is_not_whole_is_refused_with_a_sentence(said: dict[str, str], served: Served) -> None:
    reply = served.ask("POST", "/work", dialect="work", data=said)
    assert (reply.status, reply.json["error"].endswith((".", "delay"))) == (400, True)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_work_takes_nothing_but_posts(method: str, served: Served) -> None:
    reply = served.ask(method, "/work", dialect="work")
    assert (reply.status, reply.headers["Allow"]) == (405, "POST")


def test_the_port_of_work_takes_jobs_too(served: Served) -> None:
    with CountingServer() as server:
        reply = served.ask("POST", "/jobs", dialect="work", json={"url": server.url("/ok")})
        assert reply.status == 202
        assert served.outcome(reply.json["id"])["state"] == "done"
