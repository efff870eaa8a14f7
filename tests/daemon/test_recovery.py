"""What a start finds after a crash."""

import json
from itertools import count
from pathlib import Path

import pytest

from inboxd.daemon.batch import Batch
from inboxd.daemon.batches import Batches
from inboxd.daemon.names import Claim
from inboxd.daemon.recovery import recover
from tests.crashkit import Crash
from tests.spoolkit import Bench, CrashingDisk

JOB = '{"url": "http://api.test/x"}'


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def disk_of(bench: Bench) -> CrashingDisk:
    assert isinstance(bench.disk, CrashingDisk)
    return bench.disk


def test_after_a_clean_stop_there_is_nothing_to_do(bench: Bench) -> None:
    assert recover(bench.spool) == []


def test_what_was_at_work_goes_back_to_work_under_its_token(bench: Bench) -> None:
    claim = bench.claim("a.json", JOB)
    assert recover(bench.spool) == [claim]


@pytest.mark.parametrize(
    "leftover", ["TOKEN.json", "TOKEN.body", "TOKEN.json.failed", "TOKEN.deferred", "TOKEN.summary.json", "TOKEN.jsonl"]
)
def test_torn_leftovers_are_swept(bench: Bench, leftover: str) -> None:
    claim = bench.claim("a.json", JOB)
    staged = Path(bench.spool.staged, leftover.replace("TOKEN", claim.token))
    for content in (b"", b'{"status": "do', b'{"status": "done"}', b"\0\0\n"):
        staged.write_bytes(content)
        assert recover(bench.spool) == [claim]
        assert bench.names("state/staged") == bench.names("outbox") == []


def test_a_foreign_file_in_our_folders_harms_nobody(bench: Bench) -> None:
    Path(bench.spool.staged, "readme").touch()
    Path(bench.spool.active, "readme").touch()
    assert recover(bench.spool) == []


def test_a_job_that_is_deferred_already_is_not_at_work(bench: Bench) -> None:
    claim = bench.claim("a.json", JOB)
    Path(bench.spool.deferred, claim.filename).write_text(JOB)
    assert recover(bench.spool) == []
    assert bench.names("active") == []


def test_a_job_whose_answer_is_out_already_is_not_called_again(bench: Bench) -> None:
    """A power cut may undo the removal of the job but not what came after."""
    claim = bench.claim("a.json", JOB)
    Path(bench.spool.outbox, "a.json").write_text('{"id":"other","name":"a","claim":"other"}')
    Path(bench.spool.outbox, "a~r2.json").write_text(f'{{"id":"x","name":"a","claim":"{claim.token}"}}')
    assert recover(bench.spool) == []
    assert bench.names("active") == []


def test_of_an_array_and_its_batch_only_the_batch_goes_on(bench: Bench) -> None:
    claim = bench.claim("a.json", "[]")
    bench.spool.stage_lines(claim, ".jsonl", [b"{}\n"])
    batch = bench.spool.to_batch(claim, ".jsonl")
    Path(bench.spool.path(claim)).write_text("[]")
    assert recover(bench.spool) == [batch]
    assert bench.names("active") == [batch.filename]


def prepare(bench: Bench, kind: str) -> None:
    """Bring one dropped file so far that the next commit ends it."""
    filename = "a.jsonl" if "batch" in kind else "a.json"
    content = f'{{"url": "http://api.test/{kind}", "file": "a.csv"}}'
    bench.drop("a.csv", "1;2")
    claim = bench.claim(filename, "{" if kind.startswith("rejected") else content)
    if kind == "rejected-batch":
        # A link that nobody follows: the whole file is refused.
        Path(bench.spool.path(claim)).unlink()
        Path(bench.spool.path(claim)).symlink_to("nowhere")
        Path(bench.spool.inbox, "a.csv").unlink()
    go_on(bench)
    disk_of(bench).settle_down()


def go_on(bench: Bench) -> None:
    """Set everything in active/ to work, and answer it."""
    now = bench.clock.wall()
    bench.clock.advance(10)
    for claim in list(bench.spool.claims()):
        begin(bench, claim, now)
    for asked in list(bench.client.asked):
        status = "failed" if "failed" in asked.job.url else "done"
        bench.client.answer(asked, status, b"\xff" if "binary" in asked.job.url else b"{}")


def begin(bench: Bench, claim: Claim, now: float) -> None:
    if claim.kind == ".json":
        bench.worker.take(claim, now)
    elif Path(bench.spool.path(claim)).is_symlink():
        Batches(bench.worker).open(claim, now)
    else:
        OPEN.append(Batch(bench.worker, claim))
        OPEN[-1].turn(now, 10)


OPEN: list[Batch] = []
ENDS = {
    "done": ({"a.json"}, set()),
    "binary": ({"a.json", "a.body"}, set()),
    "failed": ({"a.json"}, {"a.json", "a.csv"}),
    "rejected": ({"a.json"}, {"a.json"}),
    "rejected-batch": ({"a.json"}, {"a.jsonl"}),
    "batch": ({"a.jsonl", "a.summary.json"}, set()),
    "failed-batch": ({"a.jsonl", "a.summary.json"}, {"a.jsonl", "a.csv"}),
}


@pytest.mark.parametrize("cut", [None, 0, 1, 2, 3, 5])
@pytest.mark.parametrize("kind", ENDS)
def test_a_commit_and_its_recovery_may_be_cut_off_anywhere(tmp_path: Path, kind: str, cut: int | None) -> None:
    """After the commit was cut off, every recovery is cut off a little later than the one before."""
    outbox, failed = ENDS[kind]
    for fuse in count():
        bench = Bench(tmp_path / str(fuse))
        prepare(bench, kind)
        crashed = crash(bench, bench.outbox.commit, fuse, cut)
        for later in count():
            bench = Bench(bench.root, clock=bench.clock)
            if not crash(bench, lambda bench=bench: recover(bench.spool) and None, later, cut):
                break
        go_on(bench)
        bench.outbox.commit()
        assert set(bench.names("outbox")) == outbox, disk_of(bench).operations
        assert all(Path(bench.spool.outbox, name).read_bytes() for name in outbox)
        assert all(
            Path(bench.spool.failed, name).is_symlink() or bench.read("failed", name)
            for name in failed
            if kind != "rejected" and name != "a.csv"
        )
        attached = {name for name in bench.names("failed") if name.endswith("a.csv")}
        assert set(bench.names("failed")) - attached == failed - {"a.csv"}
        assert [Path(bench.spool.failed, name).read_text() for name in attached] == ["1;2"] * ("a.csv" in failed)
        assert bench.names("active") == bench.names("state/staged") == []
        for batch in OPEN:
            batch._lines.close()
        OPEN.clear()
        if not crashed:
            return


def crash(bench: Bench, work: object, fuse: int, cut: int | None) -> bool:
    """Do the work until the fuse burns; tells whether it did."""
    assert callable(work)
    disk = disk_of(bench)
    disk.fuse = fuse
    try:
        work()
    except Crash:
        disk.fuse = None
        if cut is not None:
            disk.cut_power(cut)
        return True
    disk.fuse = None
    return False


def test_two_rejected_files_of_one_name_stay_two(bench: Bench) -> None:
    for _ in range(2):
        bench.worker.take(bench.claim("a.json", "{"), bench.clock.wall())
    disk_of(bench).fuse = 9
    with pytest.raises(Crash):
        bench.outbox.commit()
    again = Bench(bench.root, clock=bench.clock)
    for claim in recover(again.spool):
        again.worker.take(claim, again.clock.wall())
    again.outbox.commit()
    assert again.names("outbox") == again.names("failed") == ["a.json", "a~r2.json"]
    assert len({json.loads(Path(again.spool.outbox, name).read_text())["claim"] for name in again.names("outbox")}) == 2
