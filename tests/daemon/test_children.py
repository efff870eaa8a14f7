"""What follows a job, under a crash or a power cut between any two file operations: each node of a tree ends once."""

import json
import sys
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inboxd.daemon.children import child_token
from inboxd.daemon.recovery import recover
from inboxd.jobs.ids import time_of, uuid7
from tests.crashkit import Crash
from tests.spoolkit import Asked, Bench, CrashingDisk

GOOD, BAD, HOOK = "http://api.test/good", "http://api.test/failing", "http://api.test/hook"
# How many operations on names a power cut leaves; None is a crash of the process alone.
CUTS = (None, 0, 1, 3, sys.maxsize)
PLACES = ("inbox", "active", "deferred", "state/staged")


class World:
    """A spool on which everything goes on of itself; a run is cut off when the disk's fuse burns."""

    def __init__(self, root: Path, job: dict[str, Any]) -> None:
        self.bench = Bench(root)
        self.bench.drop("t.json", json.dumps({"id": "t", **job}))
        self.finished: set[str] = set()

    def run(self, fuse: int | None, cut: int | None) -> bool:
        """Start and go on until nothing is left; tells whether it came to that."""
        disk = self.bench.disk
        assert isinstance(disk, CrashingDisk)
        disk.fuse = fuse
        try:
            self._begin(recover(self.bench.spool))
            while any(map(self.bench.names, PLACES)):
                self._round()
        except Crash:
            if cut is not None:
                disk.cut_power(cut)
            self.finished |= set(self.bench.names("outbox"))
            self.bench = Bench(self.bench.root, clock=self.bench.clock)
            return False
        return True

    def _begin(self, claims: list[Any]) -> None:
        for claim in claims:
            assert claim is not None
            self.bench.worker.take(claim, self.bench.clock.wall())

    def _round(self) -> None:
        bench = self.bench
        bench.clock.advance(1)
        claims = [bench.spool.claim(filename) for filename in bench.names("inbox")]
        bench.spool.secure_claims()
        self._begin(claims)
        self._begin([bench.spool.reclaim(filename) for filename in bench.names("deferred")])
        for asked in list(bench.client.asked):
            assert f"{name_of(asked)}.json" not in self.finished
            bench.client.answer(asked, "failed" if "failing" in asked.job.url else "done", b'{"ids": [1, 2]}')
        bench.outbox.commit()

    def statuses(self) -> dict[str, str]:
        return {name.removesuffix(".json"): self.bench.read("outbox", name)["status"] for name in self.names()}

    def names(self) -> list[str]:
        return self.bench.names("outbox")


def name_of(asked: Asked) -> str:
    """Give the name of a job, which here is its id but for callbacks."""
    return f"{asked.errand.id}{'~callback' if asked.job.url == HOOK else ''}"


def expected(job: dict[str, Any], name: str = "t", *, skipped: bool = False) -> dict[str, str]:
    """Say by other words than the code how a tree of jobs must end."""
    status = "skipped" if skipped else "failed" if job["url"] == BAD else "done"
    found = {name: status}
    then, otherwise = job.get("then", []), job.get("otherwise", [])
    for number, child in enumerate([*then, *otherwise], 1):
        runs = (number <= len(then)) == (status == "done") and not skipped
        if runs or number <= len(then):
            items = [f"{name}~{number}.{item}" for item in (1, 2)]
            for each in items if runs and "for_each" in child else [f"{name}~{number}"]:
                found |= expected(child, each, skipped=not runs)
    if "callback" in job and not skipped:
        found[f"{name}~callback"] = "done"
    return found


LEAF = {"url": GOOD}
TREES: dict[str, dict[str, Any]] = {
    "done": {"url": GOOD, "callback": HOOK, "then": [LEAF, {**LEAF, "for_each": "json.ids"}], "otherwise": [LEAF]},
    "failed": {"url": BAD, "callback": HOOK, "then": [{**LEAF, "then": [LEAF]}], "otherwise": [LEAF]},
    "deep": {"url": GOOD, "then": [{"url": BAD, "then": [LEAF], "otherwise": [{**LEAF, "then": [LEAF]}]}]},
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("kind", TREES)
def test_a_tree_cut_off_anywhere_ends_as_one_that_was_not(tmp_path: Path, kind: str, cut: int | None) -> None:
    for fuse in count():
        world = World(tmp_path / str(fuse), TREES[kind])
        whole = world.run(fuse, cut)
        assert whole or world.run(None, cut)
        assert world.statuses() == expected(TREES[kind])
        if whole:
            return


def nodes(depth: int) -> st.SearchStrategy[dict[str, Any]]:
    below = st.lists(nodes(depth - 1), max_size=2) if depth else st.just([])
    more = {"callback": st.just(HOOK)} | ({"for_each": st.just("json.ids")} if depth < 3 else {})
    return st.fixed_dictionaries(
        {"url": st.sampled_from([GOOD, GOOD, BAD])}, optional={"then": below, "otherwise": below, **more}
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tree=nodes(3), fuses=st.lists(st.integers(0, 60), max_size=6), cut=st.sampled_from(CUTS))
def test_trees_of_any_shape_survive_any_crashes(tree: dict[str, Any], fuses: list[int], cut: int | None) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder), tree)
        for fuse in fuses:
            world.run(fuse, cut)
        assert world.run(None, cut)
        assert world.statuses() == expected(tree)
        assert {name.removesuffix(".json") for name in world.bench.names("failed")} == {
            name for name, status in expected(tree).items() if status == "failed"
        }


def test_a_child_has_the_same_token_whenever_it_is_made_and_no_other_has_it() -> None:
    parent, at = uuid7(), 1_800_000_000.123
    assert child_token(parent, "~1", at) == child_token(parent, "~1", at)
    assert len({child_token(parent, suffix, at) for suffix in ("~1", "~2", "~1~1", "~callback")}) == 4
    assert time_of(child_token(parent, "~1", at)) == at


@pytest.mark.parametrize(
    "body", [b"123456789012345678901234567890", b'"${secret:x} ${parent.id}"', b'[1.5, {"a": [null]}]']
)
def test_whatever_a_server_sent_comes_through_to_those_that_follow(tmp_path: Path, body: bytes) -> None:
    bench = Bench(tmp_path)
    bench.drop("t.json", json.dumps({"url": GOOD, "then": [{"url": GOOD, "json": "${parent.json}"}], "callback": HOOK}))
    bench.take_all()
    bench.client.answer(bench.client.asked[0], body=body)
    bench.outbox.commit()
    for filename in bench.names("deferred"):
        claim = bench.spool.reclaim(filename)
        assert claim is not None
        bench.worker.take(claim, bench.clock.wall())
        # As one that had to wait, too.
        bench.client.postpone(bench.client.asked[-1], 60.0)
        bench.outbox.commit()
        claim = bench.spool.reclaim(filename)
        assert claim is not None
        bench.worker.take(claim, bench.clock.wall())
    sent = [one.job.json_body for one in bench.client.asked]
    assert [one["data"] if isinstance(one, dict) else one for one in sent] == [json.loads(body)] * 2
