"""The folders as one spool: made, locked, and still ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inboxd.daemon.spool import Spool, SpoolError, Unfit
from tests.spoolkit import Bench

JOB = '{"url": "http://api.test/x"}'


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# -- the folders and the lock ---------------------------------------------------------------------------------


def test_folders_that_cannot_be_made_are_told(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(SpoolError, match="cannot make the spool's folder"):
        Spool(str(tmp_path / "spool")).make()


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second filesystem")
def test_a_spool_on_two_filesystems_is_refused(tmp_path: Path) -> None:
    if os.stat("/dev/shm").st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("needs a second filesystem")
    (tmp_path / "outbox").symlink_to("/dev/shm")
    with pytest.raises(SpoolError, match="outbox and active lie on different filesystems"):
        Spool(str(tmp_path)).make()


def test_one_daemon_at_a_time(bench: Bench) -> None:
    other = Spool(bench.spool.root)
    assert not other.is_served()
    bench.spool.lock()
    assert other.is_served()
    with pytest.raises(SpoolError, match=f"another inboxd \\(process {os.getpid()}\\)"):
        other.lock()
    bench.spool.unlock()
    assert not other.is_served()
    other.lock()
    other.unlock()


def test_the_lock_dies_with_its_process(bench: Bench) -> None:
    code = f"from inboxd.daemon.spool import Spool; import os; Spool({bench.spool.root!r}).lock(); os._exit(1)"
    subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2])
    assert Path(bench.spool.state("lock")).exists()
    bench.spool.lock()
    bench.spool.unlock()


def test_a_spool_that_was_replaced_is_not_ours(bench: Bench) -> None:
    assert not bench.spool.is_ours()
    bench.spool.lock()
    assert bench.spool.is_ours()
    Path(bench.spool.state("lock")).unlink()
    assert not bench.spool.is_ours()
    Path(bench.spool.state("lock")).touch()
    assert not bench.spool.is_ours()
    bench.spool.unlock()


# -- the way in and back --------------------------------------------------------------------------------------


def test_a_file_is_claimed_once(bench: Bench) -> None:
    bench.drop("a.json", JOB)
    assert bench.spool.claim("a.json") is not None
    assert bench.spool.claim("a.json") is None


def test_a_parked_job_is_reclaimed_by_its_name(bench: Bench) -> None:
    claim = bench.claim("a.json")
    bench.spool.park(claim, 5000.0)
    assert os.stat(Path(bench.spool.deferred, claim.filename)).st_mtime == 5000.0
    assert bench.spool.is_deferred(claim)
    assert bench.spool.reclaim(claim.filename) == claim
    assert bench.spool.reclaim(claim.filename) is None
    assert bench.spool.reclaim("foreign.json") is None


def test_a_claim_is_undone(bench: Bench) -> None:
    claim = bench.claim("a.json", JOB)
    bench.spool.give_back(claim, (), 0.0)
    assert Path(bench.spool.inbox, "a.json").read_text() == JOB
    assert bench.names("active") == []


def test_what_came_meanwhile_is_not_replaced(bench: Bench) -> None:
    claim = bench.claim("a.json", "old")
    bench.drop("a.json", "new")
    bench.spool.give_back(claim, (), 0.0)
    assert Path(bench.spool.inbox, "a.json").read_text() == "new"
    assert Path(bench.spool.deferred, claim.filename).read_text() == "old"


@pytest.mark.parametrize("taken", ["a.json", "x.csv", "y.csv"])
def test_a_job_goes_back_with_all_its_attachments_or_not_at_all(bench: Bench, taken: str) -> None:
    """Half of it in the inbox would leave its attachment to another job, or give it the attachment of another."""
    for name in ("x.csv", "y.csv"):
        bench.drop(name, "old")
    claim = bench.claim("a.json")
    assert all(bench.spool.attach(claim, name) for name in ("x.csv", "y.csv"))
    bench.drop(taken, "new")
    bench.spool.give_back(claim, ("x.csv", "y.csv", "x.csv"), 0.0)
    assert bench.names("inbox") == [taken]
    assert Path(bench.spool.inbox, taken).read_text() == "new"
    assert bench.names("deferred") == [claim.filename]
    assert sorted(bench.spool.attachments_of(claim.token)) == ["x.csv", "y.csv"]


def test_a_job_whose_token_may_have_been_used_keeps_it(bench: Bench) -> None:
    """After a crash nobody knows whether the call was made; a new token would mean a new Idempotency-Key."""
    bench.claim("a.json")
    (again,) = bench.spool.claims()
    bench.spool.give_back(again, (), 0.0)
    assert bench.names("inbox") == []
    assert bench.names("deferred") == [again.filename]


def test_what_somebody_took_away_is_not_missed(bench: Bench) -> None:
    claim = bench.claim("a.json")
    Path(bench.spool.path(claim)).unlink()
    bench.spool.give_back(claim, ("none.csv",), 0.0)
    bench.spool.park(claim, 0.0)
    bench.spool.remove(claim)
    bench.spool.set_aside(claim, ".x")
    for folder in ("inbox", "active", "deferred"):
        assert bench.names(folder) == []


def test_a_second_look_at_a_file_that_became_a_link_is_refused(bench: Bench) -> None:
    claim = bench.claim("a.json")
    Path(bench.spool.path(claim)).unlink()
    Path(bench.spool.path(claim)).symlink_to("/etc/passwd")
    with pytest.raises(Unfit, match="symbolic link"):
        bench.spool.open(claim)
    with pytest.raises(Unfit, match="symbolic link"):
        bench.spool.read(claim, 10)


# -- the way out ----------------------------------------------------------------------------------------------


def test_publishing_twice_is_publishing_once(bench: Bench) -> None:
    claim = bench.claim("a.json")
    staged = bench.spool.stage(claim, ".json", b"{}")
    assert bench.spool.publish(staged, bench.spool.outbox, "a", ".json") == "a.json"
    assert bench.spool.publish(staged, bench.spool.outbox, "a", ".json") is None
    staged = bench.spool.stage(claim, ".json", b"{}")
    assert bench.spool.publish(staged, bench.spool.outbox, "a", ".json") == "a~r2.json"


def test_a_promised_name_is_not_promised_again_until_it_is_kept(bench: Bench) -> None:
    spool = bench.spool
    assert [spool.promise("a", ".body", ".json") for _ in range(2)] == ["a.body", "a~r2.body"]
    staged = spool.stage(bench.claim("a.json"), ".body", b"x")
    spool.publish(staged, spool.outbox, "a", ".body")
    Path(spool.outbox, "a.body").unlink()
    assert spool.promise("a", ".body", ".json") == "a.body"


def test_what_a_failed_append_left_is_cut_off(bench: Bench) -> None:
    claim = bench.claim("a.jsonl")
    path = Path(bench.spool.part(claim, ".part"))
    path.write_bytes(b"left over from another time")
    bench.spool.append_part(claim, ".part", b"one\n", 0)
    with path.open("ab") as torn:
        torn.write(b"tw")
    bench.spool.append_part(claim, ".part", b"two\n", 4)
    assert list(bench.spool.read_part(claim, ".part")) == [b"one\n", b"two\n"]


def test_a_body_that_could_not_be_flushed_is_flushed_again(bench: Bench) -> None:
    class Full:
        closed = False
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1
            if self.flushed == 1:
                raise OSError(28, "No space left on device")

        def close(self) -> None:
            assert self.flushed > 1
            self.closed = True

    claim, side = bench.claim("a.jsonl"), Full()
    with pytest.raises(OSError, match="No space"):
        bench.spool.publish_body(claim, 1, side, b"")  # type: ignore[arg-type]  # as much of a file as is used
    assert not side.closed
    for _ in range(2):
        bench.spool.publish_body(claim, 1, side, b"")  # type: ignore[arg-type]  # as above
    assert side.flushed == 2


def test_a_drop_from_within_never_replaces(bench: Bench) -> None:
    bench.spool.drop("a.json", b"1")
    with pytest.raises(FileExistsError):
        bench.spool.drop("a.json", b"2")
    assert bench.names("inbox") == ["a.json"]
    assert Path(bench.spool.inbox, "a.json").read_bytes() == b"1"


def test_free_bytes_are_those_that_we_may_use(bench: Bench) -> None:
    figures = os.statvfs(bench.spool.root)
    assert bench.spool.free_bytes() == pytest.approx(figures.f_bavail * figures.f_frsize, rel=0.2)
