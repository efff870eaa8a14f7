"""The acceptance check of queues over HTTP: the daemon is killed again and again while clients use one.

What a client was told is held against what it is told later: what was published is there, what was confirmed never
comes again, and what is leased comes to nobody else until then, whatever happens to the daemon.
"""

import http.client
import json
import threading
import time
from collections import defaultdict
from contextlib import closing
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

from bench.doors import CONFIG, address
from bench.rig import Daemon, Late, Outcome, wait_until

CLIENTS = 8
PUBLISHES = 20_000
KILLS = 5
# Seconds; longer than a start of the daemon takes, so that leases outlast it.
LEASE = 10.0
# One message in so many is not confirmed when it comes first, so it has to come again.
KEPT_BACK = 10
PATIENCE = 600.0


class Gone(Exception):
    """The daemon died before it answered."""


class Notes:
    """What all clients sent and were told, with times of one clock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.published: set[str] = set()
        # When each receive was sent and answered, and when a confirmation was answered.
        self.received: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        self.confirmed: dict[str, float] = {}
        # Of these nobody knows whether the daemon confirmed them before it died.
        self.doubtful: set[str] = set()

    @property
    def lost(self) -> int:
        """How many were published and never confirmed, though nothing said that they might be."""
        return len(self.published - self.confirmed.keys() - self.doubtful)

    @property
    def again(self) -> int:
        """How many came although they had been confirmed before they were asked for."""
        return sum(any(sent > self.confirmed[body] for sent, _ in self.received[body]) for body in self.confirmed)

    @property
    def early(self) -> int:
        """How many came to somebody while somebody else had their lease."""
        return sum(
            got < before + LEASE
            for times in map(sorted, self.received.values())
            for (before, _), (_, got) in pairwise(times)
        )

    def outlasting(self, downs: list[tuple[float, float]]) -> int:
        """Return how many leases began before a kill, and were not confirmed until after the start that followed."""
        return sum(
            got < died and up < sent + LEASE
            for body, times in self.received.items()
            for sent, got in times
            for died, up in downs
            if self.confirmed.get(body, inf) > up
        )


class Client:
    """One client, on a connection that it keeps until the daemon dies; then it waits until there is one again."""

    def __init__(self, daemon: Daemon, up: threading.Event, notes: Notes) -> None:
        self._daemon = daemon
        self._up = up
        self._notes = notes
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Ask once; raises Gone."""
        try:
            if self._connection is None:
                if not self._up.wait(PATIENCE):
                    raise Late("the daemon did not come back")
                self._connection = http.client.HTTPConnection(*address(self._daemon), timeout=30)
            data = None if body is None else json.dumps(body)
            self._connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
            reply = self._connection.getresponse()
            told = reply.read()
            return reply.status, json.loads(told) if told else None
        except (OSError, http.client.HTTPException):
            self.close()
            raise Gone from None

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def publish(self, body: str) -> None:
        """Publish until it is told that the message is durable; what it was not told of may be there as well."""
        for turn in range(1000):
            told = f"{body}.{turn}"
            try:
                status, _ = self.ask("POST", "/queues/q/messages", told)
            except Gone:
                continue
            if status == 201:
                with self._notes.lock:
                    self._notes.published.add(told)
                return

    def consume(self, amount: int, *, all_of_them: bool) -> int:
        """Receive, and confirm; says how many came."""
        sent = time.monotonic()
        try:
            _, told = self.ask("POST", f"/queues/q/receive?amount={amount}&lease={LEASE:g}")
        except Gone:
            return 0
        messages, got = told.get("messages", ()), time.monotonic()
        with self._notes.lock:
            for message in messages:
                self._notes.received[message["body"]].append((sent, got))
        for message in messages:
            if all_of_them or message["receives"] > 1 or message["number"] % KEPT_BACK:
                self._confirm(message)
        return len(messages)

    def _confirm(self, message: dict[str, Any]) -> None:
        body = message["body"]
        try:
            status, _ = self.ask("DELETE", f"/queues/q/messages/{message['receipt']}")
        except Gone:
            with self._notes.lock:
                self._notes.doubtful.add(body)
            return
        if status == 204:
            with self._notes.lock:
                self._notes.confirmed[body] = time.monotonic()


def killed(folder: Path, publishes: int, kills: int) -> Outcome:
    """Let clients publish, receive and confirm, and kill the daemon in the middle of it; then hold all against all."""
    notes, up, downs = Notes(), threading.Event(), list[tuple[float, float]]()
    with Daemon(folder, CONFIG) as daemon:
        up.set()
        with closing(Client(daemon, up, notes)) as client:
            client.ask("PUT", "/queues/q", {"max_receives": 1000})

        def work(number: int) -> None:
            with closing(Client(daemon, up, notes)) as client:
                for turn in range(publishes // CLIENTS):
                    client.publish(f"{number}.{turn}")
                    client.consume(1 + turn % 2, all_of_them=False)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for number in range(1, kills + 1):
            share = publishes * number // (kills + 1)
            wait_until(lambda share=share: len(notes.published) >= share, f"{share} publishes", PATIENCE, 0.005)
            up.clear()
            died = time.monotonic()
            daemon.kill()
            daemon.start()
            downs.append((died, time.monotonic()))
            up.set()
        for thread in threads:
            thread.join()
        with closing(Client(daemon, up, notes)) as client:
            _drain(client)
    lost, again, early, outlasting = notes.lost, notes.again, notes.early, notes.outlasting(downs)
    figures = (
        f"{len(notes.published)} published, {sum(map(len, notes.received.values()))} received, {len(notes.confirmed)} "
        f"confirmed, {kills} kills: {lost} lost, {again} came again after their confirmation, {early} came within "
        f"somebody else's lease; {outlasting} leases outlasted a kill, {len(notes.doubtful)} confirmations unanswered"
    )
    return Outcome(not (lost or again or early) and outlasting > 0, figures)


def _drain(client: Client) -> None:
    """Receive and confirm until nothing is left, not even under a lease."""

    def empty() -> bool:
        if client.consume(100, all_of_them=True):
            return False
        _, counts = client.ask("GET", "/queues/q")
        return not (counts["ready"] or counts["leased"] or counts["delayed"])

    wait_until(empty, "an empty queue", PATIENCE, 0.01)


def messages(folder: Path) -> Outcome:
    """Kill -9 during 20,000 publishes and receives over HTTP by 8 clients: nothing confirmed is lost or comes again."""
    return killed(folder, PUBLISHES, KILLS)
