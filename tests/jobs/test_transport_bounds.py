"""Every transfer ends, takes bounded memory, and goes to a permitted address only."""

import hashlib
import io
import os
import threading
import time
from pathlib import Path
from typing import BinaryIO

import pytest
import requests

from inboxd.jobs.guard import Guard
from inboxd.jobs.transport import AddressRefused, BodyTooLarge, Bounds
from tests.faultserver import FaultServer
from tests.transportkit import adapter, call

MIB = 1024 * 1024


def resident() -> int:
    """Return the bytes of memory this process really holds."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE")


class Blackhole(io.RawIOBase):
    """A side file that keeps nothing but counts."""

    def __init__(self) -> None:
        self.taken = 0

    def write(self, chunk: object) -> int:
        assert isinstance(chunk, bytes)
        self.taken += len(chunk)
        return len(chunk)


@pytest.mark.parametrize("path", ["/never", "/drip-head", "/drip-body", "/slow?ms=30000"])
def test_the_deadline_ends_every_kind_of_slowness(path: str) -> None:
    with FaultServer() as server:
        begun = time.monotonic()
        with pytest.raises(requests.exceptions.ReadTimeout) as caught:
            call(adapter(), server.url(path), bounds=Bounds(0.3))
        assert 0.25 < time.monotonic() - begun < 5.0
        assert caught.value.__dict__["sent"] is True


def test_the_deadline_ends_a_slow_upload() -> None:
    class Slow(io.RawIOBase):
        def read(self, _size: int = -1) -> bytes:
            threading.Event().wait(0.02)
            return b"x"

    with FaultServer() as server:
        request = requests.Request("POST", server.url(), headers={"Content-Length": "1000000"}).prepare()
        request.body = Slow()  # type: ignore[assignment]  # file-like
        with pytest.raises(requests.exceptions.ReadTimeout):
            adapter().send(request, bounds=Bounds(0.3))


def test_without_bounds_the_timeout_is_the_deadline() -> None:
    with FaultServer() as server:
        request = requests.Request("GET", server.url("/never")).prepare()
        for timeout in (0.2, (5.0, 0.2)):
            with pytest.raises(requests.exceptions.ReadTimeout):
                adapter().send(request, timeout=timeout)


@pytest.mark.parametrize("path", ["/bomb", "/huge", "/endless"])
@pytest.mark.parametrize("spilled", [True, False])
def test_a_body_beyond_its_bound_is_cut_off_with_flat_memory(path: str, spilled: bool) -> None:
    hole = Blackhole()
    spill = (lambda: hole) if spilled else None
    with FaultServer() as server:
        before = resident()
        with pytest.raises(BodyTooLarge) as caught:
            call(adapter(), server.url(path), bounds=Bounds(60.0, max_bytes=8 * MIB, spill=spill))  # type: ignore[arg-type]  # lacks on purpose
        assert resident() - before < 64 * MIB
    assert caught.value.__dict__["sent"] is True
    assert hole.taken <= 8 * MIB
    assert hole.closed is spilled


def test_a_body_of_exactly_the_bound_is_no_fault() -> None:
    with FaultServer() as server:
        assert len(call(adapter(), server.url("/binary?bytes=1000"), bounds=Bounds(20.0, 1000)).content) == 1000
        with pytest.raises(BodyTooLarge):
            call(adapter(), server.url("/binary?bytes=1001"), bounds=Bounds(20.0, 1000))


@pytest.mark.parametrize("size", [1001, 1_000_000])
def test_a_long_body_goes_to_the_side_file_as_a_whole(tmp_path: Path, size: int) -> None:
    opened: list[BinaryIO] = []

    def spill() -> BinaryIO:
        opened.append(open(tmp_path / "side", "wb"))  # noqa: SIM115  # the response owns it
        return opened[-1]

    with FaultServer() as server:
        answer = call(adapter(), server.url(f"/binary?bytes={size}"), bounds=Bounds(20.0, inline=1000, spill=spill))
    body = (tmp_path / "side").read_bytes()
    assert opened == [answer.side]
    assert (len(body), answer.size, answer.content) == (size, size, b"")
    assert answer.sha256 == hashlib.sha256(body).hexdigest()
    assert not opened[0].closed
    opened[0].close()


def test_a_short_body_opens_no_side_file() -> None:
    def spill() -> BinaryIO:
        raise AssertionError("opened for nothing")

    with FaultServer() as server:
        answer = call(adapter(), server.url("/binary?bytes=1000"), bounds=Bounds(20.0, inline=1000, spill=spill))
    assert (answer.size, answer.side, answer.sha256) == (1000, None, None)


def test_a_full_disk_comes_out_as_itself_and_the_handle_goes_on() -> None:
    def spill() -> BinaryIO:
        raise OSError(28, "No space left on device")

    with FaultServer() as server:
        wire = adapter()
        with pytest.raises(OSError, match="No space") as caught:
            call(wire, server.url("/binary?bytes=100000"), bounds=Bounds(20.0, inline=1000, spill=spill))
        assert not isinstance(caught.value, requests.exceptions.RequestException)
        assert call(wire, server.url()).status_code == 200


def test_a_body_that_cannot_be_read_comes_out_as_its_own_error() -> None:
    class Broken(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    with FaultServer() as server, pytest.raises(OSError, match="Input/output"):
        call(adapter(), server.url(), "POST", data=Broken(b"x" * 100))


def test_a_text_file_is_no_body() -> None:
    with FaultServer() as server, pytest.raises(TypeError):
        call(adapter(), server.url(), "POST", data=io.StringIO("text"))


def test_an_iterator_is_no_body() -> None:
    with FaultServer() as server, pytest.raises(TypeError, match="file-like"):
        call(adapter(), server.url(), "POST", data=iter([b"a"]))


def test_the_guard_stops_a_call_before_it_connects() -> None:
    with FaultServer() as server:
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(AddressRefused, match="private addresses may not be called") as caught:
                call(adapter(guard=Guard(private=False)), server.url("/ok?token=secret", host))
            assert caught.value.__dict__["sent"] is False
            assert "secret" not in str(caught.value)
        assert server.connections == 0


def test_a_named_host_passes_the_guard() -> None:
    with FaultServer() as server:
        wire = adapter(guard=Guard(private=False, named=frozenset({"localhost"})))
        assert call(wire, server.url("/ok", "LocalHost")).status_code == 200
        with pytest.raises(AddressRefused):
            call(wire, server.url("/ok", "127.0.0.1"))


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]"])
def test_no_spelling_of_an_address_gets_round_the_guard(host: str) -> None:
    with FaultServer() as server:
        with pytest.raises(requests.exceptions.RequestException):
            call(adapter(guard=Guard(private=False)), server.url("/ok", host))
        assert server.connections == 0


def test_a_long_run_of_errors_and_calls_leaves_no_descriptor_open() -> None:
    with FaultServer() as server:
        wire = adapter()
        call(wire, server.url())
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(10):
            with pytest.raises(requests.exceptions.RequestException):
                call(wire, server.url("/reset"))
            call(wire, server.url())
        assert len(os.listdir("/proc/self/fd")) < before + 10
