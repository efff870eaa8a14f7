"""The work of a run: calls as inboxd's job lines, which every peer reads too."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from bench.servers import Nginx

# Makes a body of about 300 bytes.
NOTE = "Please leave the parcel with the neighbour if nobody answers the door. " * 3


class Work(NamedTuple):
    """Calls that differ from each other."""

    title: str
    jobs: list[dict[str, Any]]

    def write(self, folder: Path) -> Path:
        """Write the calls into folder/calls.jsonl, one a line, and return its path."""
        path = folder / "calls.jsonl"
        with path.open("w") as file:
            file.writelines(json.dumps(job) + "\n" for job in self.jobs)
        return path


def gets(server: Nginx, count: int, path: str = "items") -> Work:
    """Return so many GETs."""
    return Work("GET", [{"method": "GET", "url": server.url(f"/{path}/{n}")} for n in range(count)])


def posts(server: Nginx, count: int) -> Work:
    """Return so many POSTs of about 300 bytes."""
    return Work(
        "POST",
        [
            {"method": "POST", "url": server.url(f"/orders/{n}"), "json": {"id": n, "status": "Closed", "note": NOTE}}
            for n in range(count)
        ],
    )
