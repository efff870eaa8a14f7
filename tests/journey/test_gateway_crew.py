"""Jobs that other processes have can be taken back over HTTP as those of the house, as long as nobody calls them."""

from collections import Counter
from pathlib import Path

import pytest

from tests.daemonkit import CountingServer, inboxd, wait_until
from tests.gatewaykit import Served

pytestmark = pytest.mark.journey

# One thread for each of two processes, so that nearly everything waits.
TWO = "processes = 2\nthreads = 2\n"
JOBS = 60


def with_a_mate(served: Served, server: CountingServer) -> None:
    served.drop("warm", *({"url": server.url("/ok/warm")} for _ in range(40)))
    wait_until(lambda: "a process helps" in served.log, "a mate")
    served.batch("warm")


@pytest.mark.parametrize("way", ["lines", "files"])
def test_what_waits_at_another_process_is_taken_back_and_what_is_called_is_said_to_be(tmp_path: Path, way: str) -> None:
    with CountingServer() as server, Served(tmp_path, more=TWO) as served:
        with_a_mate(served, server)
        paths = [f"/slow/{number}" for number in range(JOBS)]
        if way == "lines":
            ids = served.post(*({"url": server.url(f"{path}?ms=1500")} for path in paths)).json["ids"]
        else:
            ids = [f"job-{number}" for number in range(JOBS)]
            for identifier, path in zip(ids, paths, strict=True):
                served.drop(identifier, {"url": server.url(f"{path}?ms=1500")})
        wait_until(lambda: len([seen for seen in server.requests if "/slow/" in seen.path]) >= 2, "both to call")
        wait_until(lambda: not served.files("inbox"), "all to be claimed")
        statuses = {identifier: served.ask("DELETE", f"/jobs/{identifier}").status for identifier in ids}
        assert set(statuses.values()) == {200, 409}
        assert list(statuses.values()).count(200) > JOBS / 2
        ended = {identifier: served.outcome(identifier)["state"] for identifier in ids}
        calls = Counter(seen.path for seen in server.requests)
        for identifier, path in zip(ids, paths, strict=True):
            expected = ("cancelled", 0) if statuses[identifier] == 200 else ("done", 1)
            assert (ended[identifier], calls[path]) == expected
        assert served.stop() == 0


def test_lines_that_wait_at_another_process_are_cancelled_with_their_batch(tmp_path: Path) -> None:
    with CountingServer() as server, Served(tmp_path, more=TWO) as served:
        with_a_mate(served, server)
        served.drop("many", *({"url": server.url(f"/slow/{number}?ms=1500")} for number in range(JOBS)))
        wait_until(lambda: len([seen for seen in server.requests if "/slow/" in seen.path]) >= 2, "both to call")
        assert inboxd("cancel", "many", cwd=tmp_path).returncode == 0
        statuses = Counter(answer["status"] for answer in served.batch("many"))
        assert statuses["done"] + statuses["cancelled"] == JOBS
        assert statuses["done"] == len([seen for seen in server.requests if "/slow/" in seen.path]) < JOBS / 2
