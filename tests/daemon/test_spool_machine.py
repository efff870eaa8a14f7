"""The spool under a crash or a power cut between any two file operations: every job is answered just once."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from inboxd.daemon.recovery import recover
from tests.spoolkit import Bench, Crash, CrashingDisk

FUSES = st.one_of(st.none(), st.integers(0, 14))
KINDS = st.lists(st.sampled_from(["good", "failing", "bad", "binary"]), min_size=1, max_size=3)


class SpoolMachine(RuleBasedStateMachine):
    """Drops jobs, answers them, commits, takes answers away, and crashes at any operation."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.bench = Bench(Path(self.folder.name))
        self.dropped: dict[str, str] = {}
        self.answers: Counter[str] = Counter()
        self.statuses: dict[str, str] = {}
        self.number = 0

    def _crash(self, power_cut: bool) -> None:
        """Go on as the next daemon would; whoever waits for answers does not stop to look meanwhile."""
        disk = self.bench.disk
        assert isinstance(disk, CrashingDisk)
        if power_cut:
            disk.cut_power()
        else:
            self.user_takes_answers()
        old = self.bench
        self.bench = Bench(old.root, clock=old.clock)
        self.bench.client.calls = old.client.calls
        for claim in recover(self.bench.spool):
            self.bench.worker.take(claim, self.bench.clock.wall())

    def _do(self, work: object, fuse: int | None, power_cut: bool) -> None:
        assert callable(work)
        disk = self.bench.disk
        assert isinstance(disk, CrashingDisk)
        disk.fuse = fuse
        try:
            work()
            disk.fuse = None
        except Crash:
            self._crash(power_cut)

    @rule(kinds=KINDS)
    def drop(self, kinds: list[str]) -> None:
        for kind in kinds:
            self.number += 1
            name = f"job{self.number}"
            self.dropped[name] = kind
            job = {"url": f"http://api.test/{kind}/{name}", "json": {"n": self.number}}
            self.bench.drop(f"{name}.json", "{" if kind == "bad" else json.dumps(job))

    @precondition(lambda self: self.bench.names("inbox"))
    @rule(fuse=FUSES, power_cut=st.booleans())
    def take(self, fuse: int | None, power_cut: bool) -> None:
        self._do(self.bench.take_all, fuse, power_cut)

    @precondition(lambda self: self.bench.client.asked)
    @rule(postpone=st.sampled_from([False, False, False, True]))
    def answer(self, postpone: bool) -> None:
        asked = self.bench.client.asked[0]
        if postpone:
            self.bench.client.postpone(asked, 60.0)
        elif "/failing/" in asked.job.url:
            self.bench.client.answer(asked, "failed")
        elif "/binary/" in asked.job.url:
            self.bench.client.answer(asked, body=b"\xff\x00\xfe")
        else:
            self.bench.client.answer(asked)

    @precondition(lambda self: self.bench.outbox.waiting)
    @rule(fuse=FUSES, power_cut=st.booleans())
    def commit(self, fuse: int | None, power_cut: bool) -> None:
        self._do(self.bench.outbox.commit, fuse, power_cut)

    @precondition(lambda self: self.bench.names("deferred"))
    @rule(fuse=FUSES, power_cut=st.booleans())
    def wake_deferred(self, fuse: int | None, power_cut: bool) -> None:
        self._do(self._reclaim, fuse, power_cut)

    def _reclaim(self) -> None:
        for filename in self.bench.names("deferred"):
            claim = self.bench.spool.reclaim(filename)
            assert claim is not None
            self.bench.worker.take(claim, self.bench.clock.wall())

    @precondition(lambda self: self.bench.client.asked)
    @rule(fuse=FUSES)
    def stop_in_order(self, fuse: int | None) -> None:
        self._do(self._stop, fuse, False)

    def _stop(self) -> None:
        for asked in list(self.bench.client.asked):
            self.bench.client.postpone(asked, 0.0, stopped=True, attempts=[])
        self.bench.outbox.commit()

    @precondition(lambda self: self.bench.names("outbox"))
    @rule()
    def user_takes_answers(self) -> None:
        """Whoever waits for an answer reads it and takes it away, as soon as it is there."""
        outbox = self.bench.spool.outbox
        for filename in os.listdir(outbox):
            path = Path(outbox, filename)
            if filename.endswith(".json"):
                answer = json.loads(path.read_bytes())
                self.answers[answer["name"]] += 1
                self.statuses[answer["name"]] = answer["status"]
                if "file" in answer.get("response", {}):
                    assert Path(outbox, answer["response"]["file"]).read_bytes() == b"\xff\x00\xfe"
                path.unlink()

    @invariant()
    def nobody_is_answered_twice(self) -> None:
        assert all(count == 1 for count in self.answers.values())

    @invariant()
    def no_answered_job_is_called_again(self) -> None:
        if hasattr(self, "bench"):
            pending = {asked.job.url.rpartition("/")[2] for asked in self.bench.client.asked}
            assert not pending & set(self.answers)

    def teardown(self) -> None:
        if not hasattr(self, "bench"):
            return
        disk = self.bench.disk
        assert isinstance(disk, CrashingDisk)
        disk.fuse = None
        for _ in range(3):
            self.bench.take_all()
            self._reclaim()
            for asked in list(self.bench.client.asked):
                self.bench.client.answer(asked, "failed" if "/failing/" in asked.job.url else "done")
            self.bench.outbox.commit()
        self.user_takes_answers()
        expected = {"good": "done", "binary": "done", "failing": "failed", "bad": "rejected"}
        assert self.statuses == {name: expected[kind] for name, kind in self.dropped.items()}
        assert all(count == 1 for count in self.answers.values())
        for folder in ("inbox", "active", "deferred", "state/staged"):
            assert self.bench.names(folder) == [], folder
        failed = {name for name, kind in self.dropped.items() if kind in {"failing", "bad"}}
        assert {filename.removesuffix(".json") for filename in self.bench.names("failed")} == failed
        self.folder.cleanup()


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
