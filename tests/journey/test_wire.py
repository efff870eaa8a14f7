"""What goes over the wire and back, whole: bodies, attachments, redirects, and servers that mean no good."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.daemonkit import CountingServer, Daemon, wait_until

pytestmark = pytest.mark.journey


def test_servers_that_drip_hold_no_worker_beyond_the_timeout(tmp_path: Path) -> None:
    with CountingServer() as drips, CountingServer() as other, Daemon(tmp_path, "threads = 2") as daemon:
        hostile = {
            f"{what}-{number}": {"url": drips.url(f"/drip-{what}"), "timeout": 1, "attempts": 1}
            for what in ("head", "body")
            for number in range(3)
        }
        for name, job in hostile.items():
            daemon.drop(name, job)
        drips.wait_for(2)
        daemon.drop("friendly", {"url": other.url("/ok")})
        answers = [daemon.answer(name) for name in hostile]
        assert daemon.answer("friendly")["status"] == "done"
    assert {(answer["status"], answer["error"]["kind"]) for answer in answers} == {("failed", "timeout")}
    # Far more would be a call that had no deadline.
    assert max(answer["attempts"][0]["ms"] for answer in answers) < 5000


@pytest.mark.parametrize("what", ["huge", "endless", "bomb"])
def test_a_huge_body_stops_at_the_bound_and_leaves_nothing_behind(tmp_path: Path, what: str) -> None:
    with CountingServer() as server, Daemon(tmp_path, 'max_body = "1 MiB"') as daemon:
        daemon.drop("greedy", {"url": server.url(f"/{what}"), "attempts": 1})
        answer = daemon.answer("greedy")
        assert daemon.files("outbox") == {"greedy.json"}
        assert not daemon.files("state/staged")
    assert (answer["status"], answer["error"]["kind"]) == ("failed", "too_large")


def test_what_an_attempt_left_of_a_body_is_not_published_with_a_later_answer(tmp_path: Path) -> None:
    config = '[defaults]\nbackoff = { first = "0.1s" }'
    with CountingServer() as server, Daemon(tmp_path, f'inline = "1 KiB"\n{config}') as daemon:
        # The first answer is large and comes with a status that is tried again; the second one is small.
        daemon.drop("shrinks", {"url": server.url("/shrinks"), "attempts": 2})
        answer = daemon.answer("shrinks")
        assert answer["status"] == "done"
        assert daemon.files("outbox") == {"shrinks.json"}
        assert not daemon.files("state/staged")


@pytest.mark.parametrize("size", [256, 200_000])
def test_a_binary_answer_lies_beside_its_answer_file(tmp_path: Path, size: int) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        daemon.drop("picture", {"url": server.url(f"/binary?bytes={size}")})
        response = daemon.answer("picture")["response"]
        body = (daemon.spool / "outbox" / response["file"]).read_bytes()
    assert body == (bytes(range(256)) * (size // 256 + 1))[:size]
    assert (response["bytes"], response["sha256"]) == (size, hashlib.sha256(body).hexdigest())


def test_an_attachment_is_sent_and_goes_with_its_job(tmp_path: Path) -> None:
    data = bytes(range(256)) * 40
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        daemon.attach("scan.bin", data)
        daemon.drop("upload", {"method": "PUT", "url": server.url("/ok"), "file": "scan.bin"})
        assert daemon.answer("upload")["status"] == "done"
        assert [seen.body for seen in server.requests] == [data]
        assert not daemon.files("inbox") | daemon.files("active") | daemon.files("failed")


def test_the_attachment_of_a_failed_job_lies_beside_it_in_failed(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        daemon.attach("scan.bin", b"data")
        daemon.drop("upload", {"method": "PUT", "url": server.url("/status/404"), "file": "scan.bin"})
        assert daemon.answer("upload")["status"] == "failed"
        job = json.loads((daemon.spool / "failed" / "upload.json").read_bytes())
        # Under the job's own name, so that another job's scan.bin cannot take its place.
        assert daemon.files("failed") == {"upload.json", job["file"]}
        assert (daemon.spool / "failed" / job["file"]).read_bytes() == b"data"
        assert not daemon.files("inbox") | daemon.files("active")


def test_a_body_of_several_parts_carries_text_and_attachments(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        daemon.attach("scan.pdf", b"%PDF-1.7 \x00\xff")
        parts = {"title": "a scan", "file": {"file": "scan.pdf"}, "more": {"base64": "AAEC", "filename": "raw"}}
        daemon.drop("form", {"url": server.url("/ok"), "multipart": parts})
        assert daemon.answer("form")["status"] == "done"
        (seen,) = server.requests
    boundary = seen.headers["content-type"].partition("boundary=")[2].encode()
    head, *sent, tail = seen.body.split(b"--" + boundary)
    assert (head, tail) == (b"", b"--\r\n")
    assert [part.partition(b"\r\n\r\n")[2] for part in sent] == [
        b"a scan\r\n",
        b"%PDF-1.7 \x00\xff\r\n",
        b"\x00\x01\x02\r\n",
    ]
    assert b'name="file"; filename="scan.pdf"\r\nContent-Type: application/pdf' in sent[1]


def test_redirects_are_followed_for_get_within_bounds_and_not_for_post(tmp_path: Path) -> None:
    with CountingServer() as server, CountingServer() as target, Daemon(tmp_path) as daemon:
        there = server.url(f"/redirect?to={target.url('/ok')}")
        daemon.drop("get", {"url": there, "headers": {"Authorization": "Bearer secret"}})
        daemon.drop("post", {"url": there, "json": {}})
        daemon.drop("loop", {"url": server.url("/redirect")})
        get, post, loop = (daemon.answer(name) for name in ("get", "post", "loop"))
        (seen,) = target.requests
    assert (get["status"], [attempt["status"] for attempt in get["attempts"]]) == ("done", [302, 200])
    assert (post["status"], post["response"]["status"]) == ("failed", 302)
    assert (loop["status"], loop["error"]["kind"]) == ("failed", "bad_response")
    assert "authorization" not in seen.headers


def test_a_bad_file_is_answered_and_those_around_it_are_done(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        for name in ("before", "after"):
            daemon.drop(name, {"url": server.url("/ok")})
        daemon.drop("bad", {"url": server.url("/ok"), "metod": "GET"})
        daemon.drop("torn", '{"url": ')
        assert {daemon.answer(name)["status"] for name in ("before", "after")} == {"done"}
        bad, torn = daemon.answer("bad"), daemon.answer("torn")
        wait_until(lambda: daemon.files("failed") == {"bad.json", "torn.json"}, "both in failed/")
    assert {bad["status"], torn["status"]} == {"rejected"}
    assert "metod" in bad["error"]["message"]
    assert "line 1" in torn["error"]["message"] or "line 2" in torn["error"]["message"]
