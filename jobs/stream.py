"""Many futures as one stream of answers, in the order in which they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue

from inboxd.jobs.result import Answer


def as_they_come(futures: Iterable[Future[Answer]], most: int) -> Iterator[Answer]:
    """Give the answers of `futures`; these are drawn as the earlier ones end, so that at most `most` are under way."""
    done: SimpleQueue[Future[Answer]] = SimpleQueue()
    under_way = 0
    for future in futures:
        future.add_done_callback(done.put)
        under_way += 1
        if under_way >= most:
            yield done.get().result()
            under_way -= 1
    for _ in range(under_way):
        yield done.get().result()
