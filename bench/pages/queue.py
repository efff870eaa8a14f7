"""A queue of messages: publish, receive and confirm durably, by many threads; and a backlog of a million messages."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench.field import Field
from bench.measure import percentile
from bench.report import Bar, Page, Table
from inboxd.jobs.message import Draft
from inboxd.jobs.messages import MessageQueue

PLACE = 8
# Requests that a gateway takes together while the disk is busy.
GROUP = 50


def measure(field: Field) -> Page:
    """Run the ways to use a queue one after the other, then open a long one."""
    rows = []
    with field.scratch() as folder:
        for name, count, way in (
            ("1 thread, one at a time", 500, lambda queue, count: by_threads(queue, 1, count)),
            ("64 threads, one at a time", 6400, lambda queue, count: by_threads(queue, 64, count)),
            (f"groups of {GROUP}, as a gateway", 20_000, in_groups),
        ):
            rows.append([name, f"{rate(folder / f'q{len(rows)}', field.size(count, 100), way):,.0f}"])
        flushes = flushes_of(folder)
        backlog, opened, took = open_backlog(folder / "long", field.size(1_000_000, 10_000))
    ms = [percentile(took, share) * 1000 for share in (0.5, 0.99)]
    return Page(
        "queue",
        "Message queues",
        f"Publish, receive and confirm, durably. The disk flushed {flushes:,.0f} small appends a second beside it.",
        [
            Table(["", "messages/s"], rows),
            Table(
                ["backlog", "open and first receive, s", "receive, ms, median", "99 %"],
                [[f"{backlog:,}", f"{opened:.2f}", f"{ms[0]:.2f}", f"{ms[1]:.2f}"]],
            ),
        ],
        [Bar("open a queue of a million messages, s", opened, 10.0, most=True)],
    )


def rate(folder: Path, count: int, way: Callable[[MessageQueue, int], None]) -> float:
    """Return how many messages went all the way in a second."""
    with MessageQueue(str(folder)) as queue:
        began = time.perf_counter()
        way(queue, count)
        return count / (time.perf_counter() - began)


def by_threads(queue: MessageQueue, threads: int, count: int) -> None:
    """Let each thread publish a message, receive one and confirm it, again and again."""

    def work() -> None:
        for number in range(count // threads):
            queue.publish({"value": number})
            for message in queue.receive(1):
                queue.confirm(message.receipt or "")

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def in_groups(queue: MessageQueue, count: int) -> None:
    """Do what a group of requests asks in one turn, and make it durable together."""
    for _ in range(count // GROUP):
        for number in range(GROUP):
            queue.begin_publish([Draft({"value": number})])
        queue.commit()
        with queue.together():
            for _ in range(GROUP):
                for message in queue.receive(1):
                    queue.begin_confirm(message.receipt or "")
        queue.commit()


def open_backlog(folder: Path, count: int) -> tuple[int, float, list[float]]:
    """Return how long a backlog is, how long it took to open it, and how long some receives took."""
    with MessageQueue(str(folder)) as queue:
        for start in range(0, count, 10_000):
            queue.publish_many([Draft({"value": number}) for number in range(start, start + 10_000)])
    began = time.perf_counter()
    with MessageQueue(str(folder)) as queue:
        queue.receive(1)
        opened, took = time.perf_counter() - began, []
        for _ in range(2000):
            began = time.perf_counter()
            queue.receive(1)
            took.append(time.perf_counter() - began)
    return count, opened, took


def flushes_of(folder: Path) -> float:
    """Return how many appends the disk makes durable in a second, one after the other."""
    fd = os.open(folder / "flushes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < 1.0:
        os.write(fd, b"x" * 100)
        os.fdatasync(fd)
        count += 1
    os.close(fd)
    return count / (time.perf_counter() - began)
