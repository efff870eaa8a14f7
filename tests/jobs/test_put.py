"""The handler `put`, against a real S3-compatible server on loopback and against a folder."""

import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
import requests
from moto.server import ThreadedMotoServer
from obstore.store import from_url

from inboxd import Answer, ApiClient
from inboxd.jobs.api import Policy
from inboxd.jobs.faults import Invalid
from inboxd.jobs.handlers import Handler, Handlers
from inboxd.jobs.put import Bucket
from inboxd.jobs.task import Errand
from inboxd.jobs.vault import Vault

SECRET = "never-to-be-seen"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URL of moto's server, with one bucket."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    serving = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    serving.start()
    url = "http://{}:{}".format(*serving.get_host_and_port())
    assert requests.put(f"{url}/photos", timeout=10).ok
    yield url
    serving.stop()


def bucket(endpoint: str, name: str = "photos", **options: str) -> Bucket:
    known = {"endpoint": endpoint, "access_key_id": "me", "secret_access_key": SECRET, "region": "us-east-1"}
    return Bucket(url=f"s3://{name}/2026", options=known | options)


def put(stores: dict[str, Bucket], file: Path, secrets: str | None = None, **arguments: Any) -> Answer:
    job = {"do": "put", "with": {"store": "photos", "key": "lamp.png"} | arguments, "file": file.name}
    with ApiClient(threads=2, stores=stores, secrets=secrets, attempts=2, backoff={"first": 0.0}) as one:
        return one.submit(job, Errand(open_file=lambda name: (file.parent / name).open("rb"))).result(60)


@pytest.mark.parametrize("size", [0, 1000, 6_000_000], ids=["empty", "small", "in parts"])
def test_an_attachment_becomes_an_object(s3: str, tmp_path: Path, size: int) -> None:
    file = tmp_path / "lamp.png"
    file.write_bytes(b"x" * size)
    key = f"a b/lamp-{size}.png"
    answer = put({"photos": bucket(s3)}, file, key=key)
    assert answer.ok, answer.error
    store = bucket(s3)
    found = obstore.get(from_url(store.url, config=store.options, client_options={"allow_http": True}), key)
    assert found.attributes["Content-Type"] == "image/png"
    assert bytes(found.bytes()) == b"x" * size
    assert answer.response is not None
    assert answer.response.json() == {"store": "photos", "key": key, "etag": found.meta["e_tag"]}


@pytest.mark.parametrize(
    ("arguments", "kind", "sentence"),
    [
        ({"store": "fotos"}, "invalid", 'with.store: there is no store "fotos"; did you mean "photos"?'),
        ({"key": ""}, "invalid", "with.key: expected a printable path"),
        ({"key": "a\r\nb"}, "invalid", "with.key: expected a printable path"),
        ({"key": "k" * 2000}, "invalid", "with.key: expected a printable path"),
        ({"key": "../other/lamp.png"}, "handler", "Could not parse path"),
        ({"key": 5}, "invalid", "with.key: expected a printable path"),
        ({"store": "gone"}, "handler", "Object at location 2026/lamp.png not found"),
    ],
)
def test_what_cannot_be_put_is_told(
    s3: str, tmp_path: Path, arguments: dict[str, Any], kind: str, sentence: str
) -> None:
    file = tmp_path / "lamp.png"
    file.write_bytes(b"x")
    answer = put({"photos": bucket(s3), "gone": bucket(s3, "no-such-bucket")}, file, **arguments)
    assert answer.error is not None
    assert (answer.error.kind, len(answer.attempts)) == (kind, 1)
    assert answer.error.message.startswith(sentence)


def test_a_store_that_does_not_answer_is_tried_again_and_no_secret_is_told(tmp_path: Path) -> None:
    file = tmp_path / "lamp.png"
    file.write_bytes(b"x")
    with socket.socket() as silent:
        # Bound and not listening: whoever connects is refused, and nobody else gets the port.
        silent.bind(("127.0.0.1", 0))
        answer = put({"photos": bucket(f"http://127.0.0.1:{silent.getsockname()[1]}")}, file)
    assert answer.error is not None
    assert (answer.error.kind, len(answer.attempts)) == ("handler", 2)
    assert SECRET.encode() not in answer.to_json()


def test_credentials_are_looked_up_when_they_are_needed(s3: str, tmp_path: Path) -> None:
    file, secrets = tmp_path / "lamp.png", tmp_path / "secrets.toml"
    file.write_bytes(b"x")
    stores = {"photos": bucket(s3, secret_access_key="${secret:not_there}")}
    without = put(stores, file)
    secrets.write_text(f'not_there = "{SECRET}"')
    secrets.chmod(0o600)
    assert put(stores, file, str(secrets)).ok
    assert without.error is not None
    assert (without.error.kind, len(without.attempts)) == ("auth", 1)
    assert without.error.message.startswith('there is no secret "not_there"')


def test_a_folder_is_a_store_too(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    file = tmp_path / "lamp.png"
    file.write_bytes(b"x" * 1000)
    assert put({"photos": Bucket(url=f"file://{tmp_path}/store")}, file, key="2026/lamp.png").ok
    assert (tmp_path / "store/2026/lamp.png").read_bytes() == b"x" * 1000


@pytest.mark.parametrize(
    ("name", "store", "sentence"),
    [
        ("put", Bucket(url="s3://photos", options={"regoin": "x"}), "store \"photos\": Configuration key: 'regoin'"),
        ("put", Bucket(url="file:///no/such/folder"), 'store "photos": Generic LocalFileSystem error'),
    ],
)
def test_a_store_that_cannot_be_used_is_told_at_the_start(name: str, store: Bucket, sentence: str) -> None:
    with pytest.raises(Invalid) as refusal:
        Handlers({}, {"photos": store}, Policy(), Vault())
    assert refusal.value.message.startswith(sentence)


def test_put_runs_on_threads_only() -> None:
    with pytest.raises(Invalid) as refusal:
        Handlers({"put": Handler(process=True)}, {}, Policy(), Vault())
    assert refusal.value.message == 'handler "put": it is built in and needs no process; leave that out'
