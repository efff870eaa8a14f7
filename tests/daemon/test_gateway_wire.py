"""What is written to a connection in one turn goes out together; and which requests go the short way."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from inboxd.daemon.gateway_wire import LARGE, BoundedProtocol, Joined, respond


class Turns:
    """As much of a loop as is needed: what is to be called soon is called by `turn`."""

    def __init__(self) -> None:
        self._soon: list[Callable[[], None]] = []

        self.tasks: list[str] = []

    def call_soon(self, function: Callable[[], None]) -> None:
        self._soon.append(function)

    def call_later(self, *_: Any) -> "Turns":
        return self

    def cancel(self) -> None:
        """What was to be called later never is."""

    def create_task(self, coroutine: Any) -> "Turns":
        coroutine.close()
        self.tasks.append("begun")
        return self

    def add_done_callback(self, _: object) -> None:
        """No task ends here."""

    def turn(self) -> None:
        soon, self._soon = self._soon, []
        for function in soon:
            function()


class Recorder(asyncio.Transport):
    """A transport that remembers what it was told."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.told: list[Any] = []
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.told.append(bytes(data))

    def write_eof(self) -> None:
        self.told.append("eof")

    def close(self) -> None:
        self.told.append("close")

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.told.append("pause")

    def resume_reading(self) -> None:
        self.told.append("resume")


@pytest.fixture
def wire() -> tuple[Joined, Recorder, Turns]:
    recorder, turns = Recorder(), Turns()
    return Joined(recorder, turns), recorder, turns  # type: ignore[arg-type]  # as much of a loop as is needed


def test_a_head_and_its_body_are_one_write(wire: tuple[Joined, Recorder, Turns]) -> None:
    joined, recorder, turns = wire
    joined.write(b"head ")
    joined.write(b"body")
    assert recorder.told == []
    turns.turn()
    joined.write(b"next")
    turns.turn()
    assert recorder.told == [b"head body", b"next"]


@pytest.mark.parametrize("end", ["write_eof", "close"])
def test_nothing_is_held_back_at_the_end(wire: tuple[Joined, Recorder, Turns], end: str) -> None:
    joined, recorder, turns = wire
    joined.write(b"last words")
    getattr(joined, end)()
    turns.turn()
    assert recorder.told == [b"last words", end.removeprefix("write_")]


def test_what_is_large_is_not_held_back(wire: tuple[Joined, Recorder, Turns]) -> None:
    joined, recorder, _ = wire
    joined.write(b"head ")
    joined.write(bytes(LARGE + 1))
    assert recorder.told == [b"head " + bytes(LARGE + 1)]


def test_to_a_client_that_is_gone_nothing_is_written(wire: tuple[Joined, Recorder, Turns]) -> None:
    joined, recorder, turns = wire
    joined.write(b"too late")
    recorder.closing = True
    turns.turn()
    assert recorder.told == []


def test_all_else_is_the_transports_own(wire: tuple[Joined, Recorder, Turns]) -> None:
    assert wire[0].get_extra_info("peername") == ("127.0.0.1", 1)


class Connection:
    """A connection with a short way that takes what its path says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.turns, self.transport = Turns(), Recorder()
        self.asked: list[bytes] = []
        self.taken: list[RequestResponseCycle] = []
        config = uvicorn.Config(Turns, interface="asgi3", log_config=None, ws="none", lifespan="off")  # type: ignore[arg-type]  # never run as an application
        kind = type("Short", (BoundedProtocol,), {"short": staticmethod(self._short)})
        self.protocol: BoundedProtocol = kind(config, ServerState(), {}, self.turns)
        self.protocol.connection_made(self.transport)

    def _short(self, cycle: RequestResponseCycle) -> bool:
        self.asked.append(bytes(cycle.body))
        if cycle.scope["path"] == "/short":
            self.taken.append(cycle)
        return cycle.scope["path"] == "/short"

    def said(self) -> bytes:
        self.turns.turn()
        return b"".join(one for one in self.transport.told if isinstance(one, bytes))


def post(path: str = "/short", body: bytes = b"{}", version: str = "1.1") -> bytes:
    return f"POST {path} HTTP/{version}\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture
def connection() -> Connection:
    return Connection()


def test_a_request_that_is_here_as_a_whole_may_go_the_short_way(connection: Connection) -> None:
    connection.protocol.data_received(post(body=b'{"a": 1}'))
    assert (connection.asked, connection.turns.tasks) == ([b'{"a": 1}'], [])


def test_one_that_the_short_way_leaves_is_the_applications(connection: Connection) -> None:
    connection.protocol.data_received(post("/long"))
    assert (connection.asked, connection.turns.tasks) == ([b"{}"], ["begun"])


def test_one_whose_body_is_still_on_its_way_is_the_applications_which_can_wait(connection: Connection) -> None:
    connection.protocol.data_received(post()[:-1])
    assert (connection.asked, connection.turns.tasks) == ([], ["begun"])


def test_to_a_client_that_does_not_read_only_the_application_answers_which_can_wait(connection: Connection) -> None:
    """Answers would pile up in memory, as many as it cares to send requests."""
    connection.protocol.pause_writing()
    connection.protocol.data_received(post())
    assert (connection.asked, connection.turns.tasks) == ([], ["begun"])


def test_requests_behind_one_another_are_answered_one_after_the_other(connection: Connection) -> None:
    connection.protocol.data_received(post(body=b"1") + post(body=b"2") + post("/long", b"3"))
    assert connection.asked == [b"1"]
    respond(connection.taken[0], 202, b"", b"first")
    assert connection.asked == [b"1", b"2"]
    respond(connection.taken[1], 202, b"", b"second")
    assert (connection.asked, connection.turns.tasks) == ([b"1", b"2", b"3"], ["begun"])
    said = connection.said()
    assert said.index(b"first") < said.index(b"second")


@pytest.mark.parametrize(("version", "closes"), [("1.1", False), ("1.0", True)])
def test_an_answer_ends_the_connection_only_where_that_was_asked(
    version: str, closes: bool, connection: Connection
) -> None:
    connection.protocol.data_received(post(version=version))
    respond(connection.taken[0], 202, b"x: y\r\n", b"{}")
    said = connection.said()
    assert said.startswith(b"HTTP/1.1 202 Accepted\r\n")
    assert said.endswith(b"\r\ncontent-length: 2\r\n\r\n{}")
    assert b"\r\nx: y\r\n" in said
    assert (b"\r\nconnection: close\r\n" in said, "close" in connection.transport.told) == (closes, closes)


def test_who_is_gone_is_not_answered(connection: Connection) -> None:
    connection.protocol.data_received(post())
    connection.protocol.connection_lost(OSError("gone"))
    respond(connection.taken[0], 202, b"", b"{}")
    assert connection.said() == b""
