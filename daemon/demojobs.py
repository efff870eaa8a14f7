"""What `inboxd demo` drops, and how each of it has to end.

`wrong` compares a spool with that and says in sentences what is not as it should be; the demo succeeds only when
there is nothing to say.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any

from inboxd.daemon.demoapi import FAILING, LABEL, RATE
from inboxd.daemon.spool import Spool

BATCH, LINES = "stock", 100
PHOTO, PHOTO_BYTES = "photo.jpg", b"\xff\xd8\xff a photo for the demo \xff\xd9"

# The first line says that a folder is the demo's own, so that the next one may remove it.
MARK = "# Written by `inboxd demo`, which removes this folder when it is called again.\n"
_CONFIG = """\
spool = "spool"

[log]
file = "inboxd.log"

[api.shop]
base_url = "{url}"
rate = "{rate}/s"
concurrency = 8
backoff = {{ first = "200ms" }}
"""


@dataclass(frozen=True, slots=True)
class Example:
    """A job of the demo: what is dropped as NAME.json, and the status, HTTP status and attempts it must end with."""

    name: str
    job: dict[str, Any]
    status: str = "done"
    http: int | None = 200
    attempts: int = 1


def config(url: str) -> str:
    """Give the demo's inboxd.toml for the API at `url`."""
    return MARK + _CONFIG.format(url=url, rate=RATE)


def examples(url: str) -> list[Example]:
    """Give the single jobs; the last one is no job."""
    close = {"method": "PATCH", "url": f"{url}/orders/17", "json": {"status": "Closed"}}
    photo = {"method": "PUT", "url": f"{url}/orders/17/photo", "file": PHOTO}
    return [
        Example("list-orders", {"url": f"{url}/orders"}),
        Example("new-order", {"url": f"{url}/orders", "json": {"product": "lamp"}}, http=201),
        Example("close-order", close, attempts=2),
        Example("lost-order", {"url": f"{url}/orders/999"}, "failed", 404),
        Example("label", {"url": f"{url}/orders/17/label"}),
        Example("photo-upload", photo),
        Example("oops", {"url": f"{url}/orders", "metod": "GET"}, "rejected", None, 0),
    ]


def written(example: Example) -> str:
    """Give the text of an example's file."""
    return json.dumps(example.job) + "\n"


# What a file of the demo is called, before the first dot.
NAMES = frozenset({BATCH, PHOTO.partition(".")[0], *(example.name for example in examples(""))})


def batch(url: str) -> bytes:
    """Give the batch: one call for each item in stock."""
    return b"".join(json.dumps({"url": f"{url}/stock/{item}"}).encode() + b"\n" for item in range(1, LINES + 1))


def read_answer(spool: Spool, name: str) -> dict[str, Any] | None:
    """Give the answer of a single job, if it is there."""
    found = next(spool.answers(name, batch=False), None)
    return None if found is None else json.loads(found)


def batch_answers(spool: Spool) -> list[dict[str, Any]] | None:
    """Give the answers of the batch in the order of its lines, if they are there."""
    try:
        with open(os.path.join(spool.outbox, f"{BATCH}.jsonl"), "rb") as file:
            return sorted(map(json.loads, file), key=lambda answer: answer["line"])
    except FileNotFoundError:
        return None


def wrong(spool: Spool, jobs: list[Example]) -> list[str]:
    """Say what is not as it should be in a spool where all of this was dropped."""
    return [*(problem for job in jobs for problem in _wrong_answer(spool, job)), *_wrong_batch(spool)]


def _wrong_answer(spool: Spool, example: Example) -> list[str]:
    answer = read_answer(spool, example.name)
    if answer is None:
        return [f"{example.name} has no answer"]
    response = answer.get("response", {})
    expected: dict[str, tuple[Any, Any]] = {
        "status": (answer["status"], example.status),
        "HTTP status": (response.get("status"), example.http),
        "attempts": (len(answer["attempts"]), example.attempts),
        "a copy in failed/": (f"{example.name}.json" in spool.failures(), example.status != "done"),
    }
    match example.name:
        case "close-order" | "new-order":
            expected["the reply"] = (response.get("json", {}).items() >= example.job["json"].items(), True)
        case "label":
            expected["the bytes"] = (_content(spool, response.get("file", "")), LABEL)
        case "photo-upload":
            digest = hashlib.sha256(PHOTO_BYTES).hexdigest()
            expected["the upload"] = (response.get("json"), {"bytes": len(PHOTO_BYTES), "sha256": digest})
        case "oops":
            expected["a word on metod"] = ("metod" in answer["error"]["message"], True)
    return [f"{example.name}: {what}: {was}, not {must}" for what, (was, must) in expected.items() if was != must]


def _content(spool: Spool, filename: str) -> bytes | None:
    try:
        with open(os.path.join(spool.outbox, filename), "rb") as file:
            return file.read()
    except OSError:
        return None


def _wrong_batch(spool: Spool) -> list[str]:
    answers = batch_answers(spool)
    if answers is None:
        return [f"{BATCH}.jsonl has no answers"]
    problems = []
    if [answer["line"] for answer in answers] != list(range(1, LINES + 1)):
        problems.append(f"{BATCH}.jsonl: not one answer for each line")
    for answer in answers:
        item, tries = answer["line"], 2 if answer["line"] % FAILING == 0 else 1
        reply = answer.get("response", {}).get("json", {})
        found = (answer["status"], reply.get("item"), len(answer["attempts"]))
        if found != ("done", item, tries):
            problems.append(f"{BATCH}.jsonl, line {item}: {found}, not {('done', item, tries)}")
    return problems
