"""Sheets on their way through the folders: claimed out of that of their call, and back into one when they fail."""

import os
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from inboxd.daemon import names
from inboxd.daemon.batches import Batches
from inboxd.daemon.deferred import Deferred
from inboxd.daemon.intake import Intake
from inboxd.daemon.recovery import recover
from inboxd.daemon.retry import retry_all
from inboxd.jobs.api import Api, Apis
from inboxd.jobs.clock import FakeClock
from tests.crashkit import Crash
from tests.spoolkit import Bench, CrashingDisk

CALL = "shop.close"
SHOP = {"name": "shop", "base_url": "http://shop.test", "calls": {"close": {"method": "POST", "path": "/{id}"}}}
TOKEN = "01932c4e-7b1a-7000-8000-0123456789ab"


def new_bench(root: Path, clock: FakeClock | None = None) -> Bench:
    bench = Bench(root, clock=clock or FakeClock(wall=time.time()))
    bench.client.apis = Apis([Api.model_validate(SHOP)])
    return bench


def drop(bench: Bench, content: str = "id\n1\n2\n", *, call: str = CALL, filename: str = "a.csv") -> None:
    Path(bench.spool.inbox, call).mkdir(exist_ok=True)
    bench.drop(f"{call}/{filename}", content)


class Yard:
    """An intake whose turns the test makes."""

    def __init__(self, root: Path) -> None:
        self.bench = new_bench(root)
        self.intake = Intake(
            self.bench.spool, self.bench.worker, Deferred(self.bench.spool), (), rescan=2.0, min_free=0
        )

    def settle(self) -> None:
        for _ in range(50):
            now = self.bench.clock.wall()
            if self.intake.turn(now) > now:
                break
        self.bench.outbox.commit()


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    made = Yard(tmp_path)
    yield made
    made.intake.watch.stop()
    made.intake.batches.stop()


@pytest.mark.parametrize("filename", [f"a~{TOKEN}~{CALL}.csv", f"a.b~{TOKEN}~a.b.c.csv"])
def test_a_claimed_sheet_is_known_again_with_its_call(filename: str) -> None:
    claim = names.parse(filename)
    assert claim is not None
    assert claim.filename == filename
    assert names.parse_part(names.part(claim, ".jsonl.part")) == claim
    assert claim.dropped == f"{claim.call}/{claim.name}.csv"


@pytest.mark.parametrize(
    ("folder", "takes"),
    [
        ("shop.close", True),
        ("my.shop.close", True),
        ("shop", False),
        (".shop.close", False),
        ("shop.cl~ose", False),
        ("a." + "b" * 200, False),
        ("a.\n", False),
    ],
)
def test_a_folder_called_like_a_call_takes_sheets(folder: str, takes: bool) -> None:
    assert names.is_for_sheets(folder) is takes


@pytest.mark.parametrize("name", ["x" * 250, "x" * 191, "a~b", "tab\t"])
def test_a_sheet_whose_name_is_no_good_is_rejected_under_one_that_is(yard: Yard, name: str) -> None:
    """The longest name that the disk takes must leave room for what is added to it."""
    drop(yard.bench, filename=f"{name}.csv")
    yard.settle()
    (answer,) = yard.bench.names("outbox")
    assert yard.bench.read("outbox", answer)["status"] == "rejected"
    assert len(yard.bench.names(f"failed/{CALL}")) == 1


def test_each_row_becomes_a_call(yard: Yard) -> None:
    drop(yard.bench)
    yard.settle()
    assert yard.bench.client.calls == ["http://shop.test/1", "http://shop.test/2"]
    assert yard.bench.names(f"inbox/{CALL}") == []


def test_other_folders_and_files_are_left_alone(yard: Yard) -> None:
    drop(yard.bench, call="photos")
    drop(yard.bench, filename=".a.csv")
    drop(yard.bench, filename="a.xlsx")
    drop(yard.bench, filename="a.csv.part")
    yard.settle()
    assert yard.bench.client.calls == yard.bench.names("active") == []


def test_a_sheet_that_is_being_written_is_not_taken(yard: Yard) -> None:
    drop(yard.bench)
    path = Path(yard.bench.spool.inbox, CALL, "a.csv")
    os.utime(path, (yard.bench.clock.wall(), yard.bench.clock.wall()))
    yard.settle()
    assert yard.bench.names("active") == []
    yard.bench.clock.advance(1)
    yard.settle()
    assert yard.bench.names("active") != []


def test_a_sheet_that_did_not_begin_goes_back_to_its_folder(tmp_path: Path) -> None:
    bench = new_bench(tmp_path)
    drop(bench)
    claim = bench.spool.claim("a.csv", CALL)
    assert claim is not None
    bench.worker.give_back(claim)
    assert bench.names(f"inbox/{CALL}") == ["a.csv"]


def test_a_sheet_in_failed_is_dropped_again_by_its_name(tmp_path: Path) -> None:
    bench = new_bench(tmp_path)
    Path(bench.spool.failed, CALL).mkdir()
    Path(bench.spool.failed, CALL, "a.csv").write_text("id\n1\n")
    assert retry_all(str(tmp_path), None) == ([f"{CALL}/a.csv"], [])
    assert bench.names(f"inbox/{CALL}") == ["a.csv"]


CONTENTS = {
    "done": ("id\n1\n2\n", {"a.jsonl", "a.summary.json"}, None),
    "failed": ("id\n1\n13\n2\n", {"a.jsonl", "a.summary.json"}, "id\n13\n"),
    "rejected": ("nr\n1\n", {"a.json"}, "nr\n1\n"),
}


@pytest.mark.parametrize("cut", [None, 0, 1, 2, 5])
@pytest.mark.parametrize("kind", CONTENTS)
def test_the_end_of_a_sheet_may_be_cut_off_anywhere(tmp_path: Path, kind: str, cut: int | None) -> None:
    content, outbox, failed = CONTENTS[kind]
    for fuse in count():
        bench = new_bench(tmp_path / str(fuse))
        drop(bench, content)
        bench.spool.claim("a.csv", CALL)
        opened = [go_on(bench)]
        disk = bench.disk
        assert isinstance(disk, CrashingDisk)
        disk.settle_down()
        disk.fuse = fuse
        crashed = False
        try:
            bench.outbox.commit()
        except Crash:
            crashed = True
            disk.fuse = None
            if cut is not None:
                disk.cut_power(cut)
        bench = new_bench(bench.root, bench.clock)
        recover(bench.spool)
        opened.append(go_on(bench))
        bench.outbox.commit()
        assert set(bench.names("outbox")) == outbox
        back = Path(bench.spool.failed, CALL, "a.csv")
        assert (back.read_text() if back.exists() else None) == failed
        assert bench.names("active") == bench.names("state/staged") == []
        for batches in opened:
            batches.stop()
        if not crashed:
            return


def go_on(bench: Bench) -> Batches:
    """Set what is in active/ to work, and answer it: order 13 fails."""
    batches = Batches(bench.worker)
    now = bench.clock.wall()
    bench.clock.advance(10)
    for claim in list(bench.spool.claims()):
        batches.open(claim, now)
    batches.turn(now, 10)
    for asked in list(bench.client.asked):
        bench.client.answer(asked, "failed" if asked.job.url.endswith("/13") else "done")
    return batches
