"""Several programs use one queue at once, and are killed in the middle of it, again and again."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from inboxd.jobs.messages import MessageQueue
from inboxd.jobs.queuesettings import QueueSettings

pytestmark = pytest.mark.journey

ROUNDS, CLIENTS, SECONDS = 3, 6, 1.0
LEASE = 1.5
# Publishes, receives and confirms as fast as it can, and notes each thing after it was told that it is done.
CLIENT = """
import os, sys, time
from inboxd.jobs.messages import MessageQueue, NotHeld
from inboxd.jobs.message import Draft
from inboxd.jobs.queuesettings import QueueSettings

folder, who, lease = sys.argv[1], sys.argv[2], float(sys.argv[3])
queue = MessageQueue(folder, QueueSettings(lease=lease))

def note(what, body, moment):
    os.write(1, f"{what} {body} {moment}\\n".encode())

for n in range(1_000_000):
    bodies = [f"{who}.{n}.{k}" for k in range(1 + n % 4)]
    queue.publish_many([Draft(body) for body in bodies])
    for body in bodies:
        note("published", body, time.time())
    for message in queue.receive(3):
        note("received", message.body, time.time())
        note("until", message.body, message.until)
        # Some are never confirmed.
        if message.number % 5:
            note("confirming", message.body, 0)
            try:
                queue.confirm(message.receipt)
            except NotHeld:
                note("refused", message.body, 0)
                continue
            note("confirmed", message.body, time.time())
"""


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


def run_and_kill(queue: str, notes: Path, number: int) -> None:
    clients = []
    for client in range(CLIENTS):
        with open(notes / f"{number}.{client}", "wb") as file:
            command = [sys.executable, "-c", CLIENT, queue, f"{number}.{client}", str(LEASE)]
            clients.append(subprocess.Popen(command, stdout=file, env={**os.environ, "PYTHONPATH": os.getcwd()}))
    # Until all are at it, and a little longer.
    threading.Event().wait(SECONDS)
    while not all((notes / f"{number}.{client}").stat().st_size for client in range(CLIENTS)):
        assert all(client.poll() is None for client in clients)
        threading.Event().wait(0.05)
    for running in clients:
        running.kill()
    for running in clients:
        running.wait()


def test_no_confirmed_publish_is_lost_no_confirmed_message_comes_again_and_leases_hold(
    tmp_path: Path, notes: Path
) -> None:
    folder = str(tmp_path / "queue")
    for number in range(ROUNDS):
        run_and_kill(folder, notes, number)
    told = [line.split() for note in notes.iterdir() for line in note.read_text().splitlines()]
    published = {body for what, body, _ in told if what == "published"}
    confirmed = {body: float(moment) for what, body, moment in told if what == "confirmed"}
    received: dict[str, list[float]] = {}
    untils: dict[str, list[float]] = {}
    for what, body, moment in told:
        if what in {"received", "until"}:
            (received if what == "received" else untils).setdefault(body, []).append(float(moment))
    assert len(published) > 100
    assert len(confirmed) > 50
    assert len(published) > len(confirmed)
    # No one got what was confirmed, nor what another had.
    assert not [body for body, moments in received.items() if max(moments) > confirmed.get(body, 1e12)]
    for body, moments in received.items():
        for moment, until in zip(sorted(moments)[1:], sorted(untils[body]), strict=False):
            assert moment >= until, body
    # The rest is all there, once.
    with MessageQueue(folder, QueueSettings(lease=300)) as queue:
        left = [message.body for message in queue.receive(1000)]
        while messages := queue.receive(1000, wait=2 * LEASE):
            left += [message.body for message in messages]
    assert len(left) == len(set(left))
    # What somebody was confirming when he was killed may be gone, or not.
    asked, refused = ({body for what, body, _ in told if what == word} for word in ("confirming", "refused"))
    assert published - confirmed.keys() - (asked - refused) <= set(left)
    assert len(asked - refused - confirmed.keys()) <= ROUNDS * CLIENTS
    assert not confirmed.keys() & set(left)
