"""The spool under a crash, or a power cut, between any two file operations: every job is answered once all the same.

Single jobs, batches and attachments. A recovery that is cut off itself has its place in test_recovery.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from inboxd.daemon.batch import Batch
from inboxd.daemon.names import Claim
from inboxd.daemon.recovery import recover
from tests.crashkit import Crash
from tests.spoolkit import Asked, Bench, CrashingDisk

FUSES = st.one_of(st.none(), st.integers(0, 20))
# How many operations on names a power cut leaves; None is a crash of the process alone.
CUTS = st.one_of(st.none(), st.just(sys.maxsize), st.integers(0, 10))
KINDS = st.lists(st.sampled_from(["good", "failing", "bad", "binary", "attached", "failing-attached"]), max_size=4)
STATUS = {"bad": "rejected", "failing": "failed", "failing-attached": "failed"}
BINARY = b"\xff\x00\xfe"


class SpoolMachine(RuleBasedStateMachine):
    """Drops jobs, answers them, commits, takes answers away, and crashes at any operation."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.bench = Bench(Path(self.folder.name))
        self.batches: list[Batch] = []
        # What was dropped, and how it must end: NAME for a job, NAME:LINE for a line of a batch.
        self.expected: dict[str, str] = {}
        self.dropped_batches: dict[str, list[str]] = {}
        self.answers: Counter[str] = Counter()
        self.statuses: dict[str, str] = {}
        # The id under which a call was made that nobody got an answer to.
        self.called: dict[str, str] = {}
        self.number = 0

    @property
    def disk(self) -> CrashingDisk:
        assert isinstance(self.bench.disk, CrashingDisk)
        return self.bench.disk

    # -- crashes ------------------------------------------------------------------------------------------------

    def _do(self, work: Callable[[], None], fuse: int | None, cut: int | None) -> None:
        self.disk.fuse = fuse
        try:
            work()
        except Crash:
            self._crash(cut)
        self.disk.fuse = None

    def _crash(self, cut: int | None) -> None:
        """Go on as the next daemon would; whoever waits for answers does not stop to look meanwhile."""
        if cut is None:
            self.user_takes_answers()
        else:
            self.disk.cut_power(cut)
        old = self.bench
        # A power cut may undo the claim itself, and with it the token; that is not synced before the call.
        self.called.clear()
        if cut is None:
            self.called = {name_of(asked): asked.errand.id or "" for asked in old.client.asked}
        self._close_batches()
        self.bench = Bench(old.root, clock=old.clock)
        for claim in sorted(recover(self.bench.spool), key=lambda claim: claim.name):
            self._set_to_work(claim)

    def _close_batches(self) -> None:
        """Let go of the handles, as the end of a process does."""
        for batch in self.batches:
            batch._lines.close()
        self.batches = []

    def _set_to_work(self, claim: Claim | None) -> None:
        assert claim is not None
        if claim.kind == ".jsonl":
            self.batches.append(Batch(self.bench.worker, claim))
        else:
            self.bench.worker.take(claim, self.bench.clock.wall())

    # -- the world ------------------------------------------------------------------------------------------------

    def _job(self, kind: str, name: str) -> str:
        self.expected[name] = STATUS.get(kind, "done")
        job = {"url": f"http://api.test/{kind}/{name}"}
        if "attached" in kind:
            job["file"] = f"{name.partition(':')[0]}.csv"
        return "{" if kind == "bad" else json.dumps(job)

    def _drop(self, filename: str, text: str, kinds: list[str]) -> None:
        name = filename.partition(".")[0]
        if any("attached" in kind for kind in kinds):
            self.bench.drop(f"{name}.csv", name)
        self.bench.drop(filename, text)

    @rule(kinds=KINDS)
    def drop(self, kinds: list[str]) -> None:
        for kind in kinds:
            self.number += 1
            name = f"job{self.number}"
            self._drop(f"{name}.json", self._job(kind, name), [kind])

    @rule(kinds=KINDS)
    def drop_batch(self, kinds: list[str]) -> None:
        self.number += 1
        name = f"batch{self.number}"
        self.dropped_batches[name] = kinds
        lines = [self._job(kind, f"{name}:{number}") for number, kind in enumerate(kinds, 1)]
        self._drop(f"{name}.jsonl", "\n".join(lines), kinds)

    @precondition(lambda self: self.bench.names("inbox"))
    @rule(fuse=FUSES, cut=CUTS)
    def take(self, fuse: int | None, cut: int | None) -> None:
        self._do(self._take, fuse, cut)

    def _take(self) -> None:
        for filename in self.bench.names("inbox"):
            if not filename.endswith(".csv"):
                self._set_to_work(self.bench.spool.claim(filename))

    @precondition(lambda self: self.batches)
    @rule(fuse=FUSES, cut=CUTS, most=st.integers(1, 4))
    def read_batches(self, fuse: int | None, cut: int | None, most: int) -> None:
        self._do(lambda: self._read_batches(most), fuse, cut)

    def _read_batches(self, most: int) -> None:
        # The end of a file is believed when it has been quiet for a while.
        self.bench.clock.advance(1.0)
        for batch in self.batches:
            batch.turn(self.bench.clock.wall(), most)

    @precondition(lambda self: self.bench.client.asked)
    @rule(postpone=st.sampled_from([False, False, False, True]), which=st.integers(0, 9))
    def answer(self, postpone: bool, which: int) -> None:
        self._answer(self.bench.client.asked[which % len(self.bench.client.asked)], postpone)

    def _answer(self, asked: Asked, postpone: bool = False) -> None:
        for attachment in asked.job.attachments:
            with asked.errand.open_file(attachment) as file:
                assert file.read().decode() + ".csv" == attachment
        if postpone:
            self.bench.client.postpone(asked, 60.0)
            self.bench.clock.advance(61.0)
        elif "/failing" in asked.job.url:
            self.bench.client.answer(asked, "failed")
        else:
            self.bench.client.answer(asked, body=BINARY if "/binary/" in asked.job.url else b"{}")

    @precondition(lambda self: self.bench.outbox.waiting)
    @rule(fuse=FUSES, cut=CUTS)
    def commit(self, fuse: int | None, cut: int | None) -> None:
        self._do(self._commit, fuse, cut)

    def _commit(self) -> None:
        self.bench.outbox.commit()
        self.batches = [batch for batch in self.batches if not batch.finished]

    @precondition(lambda self: self.bench.names("deferred"))
    @rule(fuse=FUSES, cut=CUTS)
    def wake_deferred(self, fuse: int | None, cut: int | None) -> None:
        self._do(self._reclaim, fuse, cut)

    def _reclaim(self) -> None:
        for filename in self.bench.names("deferred"):
            self._set_to_work(self.bench.spool.reclaim(filename))

    @rule(fuse=FUSES, cut=CUTS)
    def stop_in_order(self, fuse: int | None, cut: int | None) -> None:
        self._do(self._stop, fuse, cut)

    def _stop(self) -> None:
        for asked in list(self.bench.client.asked):
            self.bench.client.postpone(asked, 0.0, stopped=True, attempts=[])
        self._commit()
        for batch in self.batches:
            batch.stop()
        self.batches = []
        claims = [filename for filename in self.bench.names("active") if not filename.startswith("~")]
        assert claims == []

    @rule()
    def user_takes_answers(self) -> None:
        """Whoever waits for an answer reads it and takes it away, as soon as it is there."""
        self.disk.settle_down()
        outbox = Path(self.bench.spool.outbox)
        for path in sorted(outbox.glob("[!.]*.json*")):
            if path.name.endswith(".summary.json"):
                continue
            for line in path.read_bytes().splitlines():
                self._read_answer(outbox, json.loads(line))
            if path.name.endswith(".jsonl"):
                self._read_summary(path)
            path.unlink()

    def _read_answer(self, outbox: Path, answer: dict[str, object]) -> None:
        name = f"{answer['name']}:{answer['line']}" if "line" in answer else str(answer["name"])
        self.answers[name] += 1
        self.statuses[name] = str(answer["status"])
        response = answer.get("response")
        if isinstance(response, dict) and "file" in response:
            body = outbox / response["file"]
            assert body.read_bytes() == BINARY
            body.unlink()

    def _read_summary(self, answers: Path) -> None:
        name = answers.name.removesuffix(".jsonl")
        summary = json.loads(answers.with_name(f"{name}.summary.json").read_bytes())
        assert summary["statuses"] == Counter(STATUS.get(kind, "done") for kind in self.dropped_batches.pop(name))
        answers.with_name(f"{name}.summary.json").unlink()

    # -- what must hold -----------------------------------------------------------------------------------------

    @invariant()
    def nobody_is_answered_twice(self) -> None:
        assert all(count == 1 for count in self.answers.values())

    @invariant()
    def no_answered_job_is_called_again(self) -> None:
        if hasattr(self, "bench"):
            assert not {name_of(asked) for asked in self.bench.client.asked} & set(self.answers)

    @invariant()
    def a_call_is_repeated_under_its_own_id(self) -> None:
        if hasattr(self, "bench"):
            for asked in self.bench.client.asked:
                assert self.called.get(name_of(asked)) in {None, asked.errand.id}

    def teardown(self) -> None:
        if not hasattr(self, "bench"):
            return
        try:
            self._end()
        finally:
            self._close_batches()
            self.folder.cleanup()

    def _end(self) -> None:
        self.disk.fuse = None
        for _ in range(4):
            self._take()
            self._reclaim()
            self._read_batches(100)
            for asked in list(self.bench.client.asked):
                self._answer(asked)
            self._commit()
        self.user_takes_answers()
        assert self.statuses == self.expected
        assert self.dropped_batches == {}
        assert all(count == 1 for count in self.answers.values())
        for folder in ("inbox", "active", "deferred", "outbox", "state/staged"):
            assert self.bench.names(folder) == [], folder
        self._look_into_failed()

    def _look_into_failed(self) -> None:
        failed = Path(self.bench.spool.failed)
        found = {path.name.partition(".")[0]: path for path in failed.glob("*.json*") if path.suffix != ".csv"}
        assert set(found) == {name.partition(":")[0] for name, status in self.expected.items() if status != "done"}
        for name, path in found.items():
            if path.suffix == ".jsonl":
                wrong = [
                    key for key, status in self.expected.items() if key.startswith(f"{name}:") and status != "done"
                ]
                assert len(path.read_bytes().splitlines()) == len(wrong)
            if b'"file"' in path.read_bytes():
                # A batch's lines go to failed/ as they were dropped; a single job asks for its own attachment.
                attached = f"{name}.csv" if path.suffix == ".jsonl" else json.loads(path.read_bytes())["file"]
                assert (failed / attached).read_text() == name


def name_of(asked: Asked) -> str:
    return asked.job.url.rpartition("/")[2]


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
