"""What is written to a connection in one turn goes out together, in its order, and before the end."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from inboxd.daemon.gateway_wire import LARGE, Joined


class Turns:
    """As much of a loop as is needed: what is to be called soon is called by `turn`."""

    def __init__(self) -> None:
        self._soon: list[Callable[[], None]] = []

    def call_soon(self, function: Callable[[], None]) -> None:
        self._soon.append(function)

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
