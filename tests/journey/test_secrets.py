"""No secret lies anywhere on the disk but where it was put: through a real daemon, whatever servers and jobs try."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from tests.authserver import CLIENT, CLIENT_SECRET, AuthServer
from tests.daemonkit import Daemon

pytestmark = pytest.mark.journey

TOKEN, PASSWORD, KEY = "tok3n/of+the shop", "pa55w0rd-of-the-erp", "k3y-in-the-query"
# Enough that the other process is given some.
LINES = 400
CONFIG = """
processes = 2
secrets = "secrets.toml"
inline = "2 KiB"
[defaults]
attempts = 2
backoff = {{ first = "10ms" }}
[api.shop]
base_url = "{url}/echo"
headers = {{ X-Shop = "${{secret:token}}" }}
auth = {{ basic = {{ user = "erp", password = "${{secret:password}}" }} }}
[api.shop.calls.order]
method = "POST"
path = "/orders/{{id}}"
json = {{ note = "${{sign}}${{rest}}" }}
[api.weather]
base_url = "{url}/redirect"
auth = {{ query = {{ appid = "${{secret:key}}" }} }}
[api.bank]
base_url = "{url}/guarded"
auth = {{ oauth2 = {{ token_url = "{url}/token", client_id = "{client}", client_secret = "${{secret:client}}" }} }}
[api.down]
base_url = "{url}/status"
auth = {{ bearer = "${{secret:token}}" }}
[api.broken]
base_url = "{url}/close"
auth = {{ query = {{ appid = "${{secret:key}}" }} }}
"""


def forms(secret: str) -> set[bytes]:
    """Give what a secret looks like on its way."""
    basic = b64encode(f"erp:{secret}".encode()).decode()
    texts = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], basic}
    return {text.encode() for text in texts}


def order(number: int, rest: str) -> dict[str, object]:
    """Make a job whose arguments become a reference only when they are put together."""
    return {"call": "shop.order", "with": {"id": number, "sign": "$", "rest": rest}}


def leaks(folder: Path, secrets: list[str]) -> list[str]:
    """Look for every form of every secret in every file, and in its name."""
    wanted = {form for secret in secrets for form in forms(secret)}
    found = []
    for path in folder.rglob("*"):
        if path.name == "secrets.toml" or not path.is_file():
            continue
        data = path.read_bytes() + os.fsencode(path.name)
        found += [f"{path}: {form!r}" for form in wanted if form in data]
    return found


def drop_all(daemon: Daemon, server: AuthServer) -> None:
    """Drop a job for every way on which a credential could get somewhere."""
    daemon.drop("echoed", {"url": server.url("/echo/all"), "cache": "1h"})
    daemon.drop("called", order(9999, "{secret:token}" * 300))
    daemon.drop("asking", {"url": server.url("/echo/x"), "headers": {"X": "${secret:token}"}})
    daemon.drop("hiding", '{"call": "shop.order", "with": {"id": "\\u0024{secret:token}"}}')
    daemon.drop("sent-on", {"url": server.url("/redirect?to=/echo/here")})
    daemon.drop("lent", {"url": server.url("/guarded/a"), "select": "headers"})
    daemon.drop("failing", {"url": server.url("/status/503")})
    daemon.drop("broken", {"url": server.url("/close")})
    daemon.drop("lines", *(order(number, "{secret:key}") for number in range(LINES)))


def store(folder: Path, secrets: dict[str, str]) -> None:
    """Write the file of secrets as the daemon wants it: TOML, and for nobody else to read."""
    (folder / "secrets.toml").write_text("".join(f"{name} = {json.dumps(text)}\n" for name, text in secrets.items()))
    (folder / "secrets.toml").chmod(0o600)


def test_no_secret_lies_under_the_spool_or_in_the_log(tmp_path: Path) -> None:
    with AuthServer() as server:
        daemon = Daemon(tmp_path, CONFIG.format(url=server.url(""), client=CLIENT) + '\n[log]\nlevel = "debug"\n')
        store(tmp_path, {"token": TOKEN, "password": PASSWORD, "key": KEY, "client": CLIENT_SECRET})
        with daemon:
            drop_all(daemon, server)
            answers = {name: daemon.answer(name) for name in ("echoed", "sent-on", "lent", "failing", "broken")}
            lines = daemon.batch("lines")
            refused = [daemon.answer("asking"), daemon.answer("hiding")]
            daemon.answer("called")
            server.tokens += 1
            daemon.drop("lent-again", {"url": server.url("/guarded/b")})
            assert daemon.answer("lent-again")["status"] == "done"
            assert daemon.stop() == 0
        assert {name: answer["status"] for name, answer in answers.items()} == {
            "echoed": "done",
            "sent-on": "done",
            "lent": "done",
            "failing": "failed",
            "broken": "failed",
        }
        # What the server saw, so that there was something to hide.
        seen = {
            path: [one for one in server.requests if one.path == path]
            for path in ("/echo/all", "/redirect", "/guarded/a")
        }
        assert seen["/echo/all"][0].headers["x-shop"] == TOKEN
        assert seen["/redirect"][0].query["appid"] == KEY
        assert seen["/guarded/a"][0].headers["authorization"] == "Bearer access-token-1"
        notes = {one.path: json.loads(one.body)["note"] for one in server.requests if "/orders/" in one.path}
        assert {one.headers["x-shop"] for one in server.requests if "/orders/" in one.path} == {TOKEN}
    assert notes.pop("/echo/orders/9999").startswith("${secret:token}{secret:token}")
    assert notes == {f"/echo/orders/{number}": "${secret:key}" for number in range(LINES)}
    for answer in refused:
        assert answer["status"] == "rejected"
        assert "is for the config" in answer["error"]["message"]
    assert [line["status"] for line in lines] == ["done"] * LINES
    assert (tmp_path / "spool" / "outbox" / "called.body").stat().st_size > 3000
    assert leaks(tmp_path, [TOKEN, PASSWORD, KEY, CLIENT_SECRET, "access-token-1", "access-token-3"]) == []
