"""The work of a run: calls as inboxd's job lines, which every peer reads too. They are made as they are written."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench.servers import Nginx

Job = dict[str, Any]
# Makes a body of about 300 bytes.
NOTE = "Please leave the parcel with the neighbour if nobody answers the door. " * 3


class Work(NamedTuple):
    """So many calls that differ from each other."""

    title: str
    size: int
    job: Callable[[int], Job]

    def jobs(self) -> Iterator[Job]:
        """Return the calls one by one: a million need no memory."""
        return map(self.job, range(self.size))

    def write(self, folder: Path) -> Path:
        """Write the calls into folder/calls.jsonl, one a line, and return its path."""
        path = folder / "calls.jsonl"
        with path.open("w") as file:
            file.writelines(json.dumps(job) + "\n" for job in self.jobs())
        return path


def gets(server: Nginx, size: int, path: str = "items") -> Work:
    """Return so many GETs."""
    return Work("GET", size, lambda n: {"method": "GET", "url": server.url(f"/{path}/{n}")})


def posts(server: Nginx, size: int) -> Work:
    """Return so many POSTs of about 300 bytes."""

    def job(n: int) -> Job:
        return {
            "method": "POST",
            "url": server.url(f"/orders/{n}"),
            "json": {"id": n, "status": "Closed", "note": NOTE},
        }

    return Work("POST", size, job)
