"""Named calls through a real daemon: dropped alone and in batches, refused, with attachments, and again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.daemonkit import CountingServer, Daemon, inboxd

pytestmark = pytest.mark.journey

CONFIG = """
[api.shop]
base_url = "{url}"
headers = {{ X-Client = "erp" }}
backoff = {{ first = "10ms" }}
attempts = 2
[api.shop.calls.close_order]
method = "PATCH"
path = "/echo/{{id}}{{?notify}}"
json = {{ status = "${{status}}", note = "closed by ${{who}}" }}
defaults = {{ status = "Closed", who = "erp" }}
select = "{{path: path, body: body}}"
[api.shop.calls.send]
method = "PUT"
path = "/status/{{status}}"
file = "${{photo}}"
attempts = 1
"""


def test_a_named_call_is_made_alone_and_in_a_batch(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path, CONFIG.format(url=server.url(""))) as daemon:
        daemon.drop("one", {"call": "shop.close_order", "with": {"id": "a/b", "notify": True}, "id": "order-1"})
        lines = [{"call": "shop.close_order", "with": {"id": n, "who": "me"}} for n in range(50)]
        daemon.drop("many", *lines[:25], {"call": "shop.close_order", "with": {"idd": 1}}, *lines[25:])
        daemon.drop("wrong", {"call": "shop.close_ordr", "with": {"id": 1}})
        one, wrong, many = daemon.answer("one"), daemon.answer("wrong"), daemon.batch("many")
        assert daemon.stop() == 0
        seen = next(seen for seen in server.requests if seen.headers["idempotency-key"] == "order-1")
    assert (seen.method, seen.target, json.loads(seen.body)) == (
        "PATCH",
        "/echo/a%2Fb?notify=true",
        {"status": "Closed", "note": "closed by erp"},
    )
    assert (one["api"], one["status"], one["value"]["path"]) == ("shop", "done", "/echo/a/b")
    assert wrong["error"]["message"] == ('call: [api.shop] has no call "close_ordr"; did you mean "close_order"?')
    statuses = [line["status"] for line in many]
    assert (statuses.count("done"), statuses[25]) == (50, "rejected")
    assert many[25]["error"]["message"] == 'shop.close_order: with.idd: unknown argument; did you mean "id"?'


def test_the_attachment_of_a_call_that_failed_goes_along_when_it_is_dropped_again(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path, CONFIG.format(url=server.url(""))) as daemon:
        daemon.attach("lamp.png", b"a photo")
        daemon.drop("photo", {"call": "shop.send", "with": {"status": 503, "photo": "lamp.png"}})
        assert daemon.answer("photo")["status"] == "failed"
        # Mended by hand, as the server would be.
        failed = daemon.spool / "failed" / "photo.json"
        failed.write_text(failed.read_text().replace("503", "200"))
        done = inboxd("retry", "photo", "--spool", str(daemon.spool), cwd=tmp_path)
        assert (done.stdout, done.stderr) == ("photo.json\n", "")
        assert daemon.answer("photo~r2")["status"] == "done"
        assert [seen.body for seen in server.requests] == [b"a photo"] * 2
        assert daemon.files("failed") == daemon.files("active") == set()


def test_check_names_the_calls_and_what_is_missing(tmp_path: Path) -> None:
    config = tmp_path / "inboxd.toml"
    config.write_text(CONFIG.format(url="http://127.0.0.1:1") + 'headers.X-Key = "${secret:photo_key}"\n')
    done = inboxd("check", cwd=tmp_path)
    assert done.returncode == 0
    assert "    shop.close_order\n    shop.send\n" in done.stdout
    assert done.stderr == 'inboxd: there is no secret "photo_key"; looked for in the environment\n'
