"""A tree drawn from its files."""

import json
from pathlib import Path
from typing import Any

import pytest

from inboxd.daemon.family import draw, gather
from tests.spoolkit import Bench

GOOD, BAD = "http://api.test/good", "http://api.test/failing"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def drop(bench: Bench, name: str, job: dict[str, Any]) -> None:
    bench.drop(f"{name}.json", json.dumps(job))
    bench.take_all()


def go_on(bench: Bench) -> None:
    """Answer what was asked, and take up what follows from it."""
    for asked in list(bench.client.asked):
        bench.client.answer(asked, "failed" if "failing" in asked.job.url else "done", b'{"ids": [1, 2]}')
    bench.outbox.commit()
    for filename in bench.names("deferred"):
        claim = bench.spool.reclaim(filename)
        assert claim is not None
        bench.worker.take(claim, bench.clock.wall())


def drawn(bench: Bench, name: str) -> list[str]:
    return [line.rstrip() for line in draw(gather(bench.spool, name)).splitlines()]


TREE = {
    "url": GOOD,
    "callback": GOOD,
    "then": [
        {"url": GOOD, "for_each": "json.ids"},
        {"url": BAD, "then": [{"url": GOOD}], "otherwise": [{"url": GOOD}]},
    ],
}


def test_before_anything_has_ended_all_else_is_to_come(bench: Bench) -> None:
    drop(bench, "a", TREE)
    assert drawn(bench, "a") == [
        "a            active",
        "├─ a~1       to come   for each of json.ids",
        "└─ a~2       to come",
        "   ├─ a~2~1  to come",
        "   └─ a~2~2  to come   if the one above does not end well",
    ]


def test_each_job_is_drawn_below_its_parent_with_its_state(bench: Bench) -> None:
    drop(bench, "a", TREE)
    go_on(bench)
    go_on(bench)
    assert drawn(bench, "a") == [
        "a              done      0 attempts",
        "├─ a~1.1       done      0 attempts",
        "├─ a~1.2       done      0 attempts",
        "├─ a~2         failed    the server answered 404",
        "│  ├─ a~2~1    skipped   a~2 failed: the server answered 404",
        "│  └─ a~2~2    active",
        "└─ a~callback  done      0 attempts",
    ]
    assert drawn(bench, "a~2")[0].split() == ["a~2", "failed", "the", "server", "answered", "404"]
    assert len(drawn(bench, "a~2")) == 3


def test_a_branch_that_was_tried_again_stands_as_it_ended_then_and_another_tree_of_the_name_does_not(
    bench: Bench,
) -> None:
    drop(bench, "a", {"url": BAD})
    go_on(bench)
    drop(bench, "a", TREE)
    go_on(bench)
    go_on(bench)
    go_on(bench)
    job = bench.read("failed", "a~2.json") | {"url": GOOD}
    Path(bench.spool.failed, "a~2.json").unlink()
    drop(bench, "a~2", job)
    go_on(bench)
    go_on(bench)
    states = {node.name: node.state for node in gather(bench.spool, "a")}
    assert states == dict.fromkeys(("a", "a~1.1", "a~1.2", "a~2", "a~2~1", "a~2~2", "a~callback"), "done")


def test_an_answer_that_was_taken_away_leaves_its_place(bench: Bench) -> None:
    drop(bench, "a", TREE)
    go_on(bench)
    go_on(bench)
    Path(bench.spool.outbox, "a.json").unlink()
    Path(bench.spool.outbox, "a~2.json").unlink()
    states = {node.name: node.state for node in gather(bench.spool, "a")}
    assert (states["a"], states["a~2"], states["a~2~1"]) == ("gone", "gone", "skipped")


def test_what_waits_says_for_what(bench: Bench) -> None:
    drop(bench, "a", {"url": GOOD, "after": ["b", "c"]})
    assert drawn(bench, "a") == ["a  waits     for b, c"]


def test_nothing_is_drawn_of_nothing_and_strangers_files_do_no_harm(bench: Bench) -> None:
    for folder in ("outbox", "active", "deferred"):
        Path(bench.spool.folder(folder), "a.json").write_text("[1")
        Path(bench.spool.folder(folder), "a~1.json").write_text('{"claim": 7, "then": [1]}')
    assert [node.name for node in gather(bench.spool, "b")] == []
    assert draw(gather(bench.spool, "a")).splitlines()[0].startswith("a ")
