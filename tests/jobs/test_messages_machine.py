"""A queue under everything at once: two processes, crashes and power cuts between any two file operations, a shell."""

from __future__ import annotations

import os
import shutil
import tempfile

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from inboxd.jobs.clock import FakeClock
from inboxd.jobs.message import Draft, decode
from inboxd.jobs.messages import Message, MessageQueue, NotHeld
from inboxd.jobs.queuesettings import QueueSettings
from tests.crashkit import Crash
from tests.queuekit import CrashingFiles

LEASE = 30.0
PROCESSES = st.integers(0, 1)
FUSES = st.none() | st.none() | st.integers(0, 12)


class Queue(RuleBasedStateMachine):
    """What was published for sure is there until it was confirmed; what was confirmed for sure never comes again."""

    received = Bundle("received")

    @initialize(per_file=st.sampled_from([1, 3, 1000]), max_receives=st.sampled_from([0, 2]))
    def begin(self, per_file: int, max_receives: int) -> None:
        self.folder = tempfile.mkdtemp()
        self.clock = FakeClock()
        self.files = CrashingFiles()
        self.settings = QueueSettings(lease=LEASE, per_file=per_file, max_receives=max_receives)
        self.queues = [self.open(), self.open()]
        self.bodies = 0
        # By body: those there must be, those that may be, those gone for good, and until when one is leased.
        self.sure: set[int] = set()
        self.perhaps: set[int] = set()
        self.gone: set[int] = set()
        self.leases: dict[int, float] = {}

    def open(self) -> MessageQueue:
        return MessageQueue(os.path.join(self.folder, "q"), self.settings, clock=self.clock, files=self.files)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.everything_comes()
            shutil.rmtree(self.folder)

    def crashed(self, process: int) -> None:
        self.files.fuse = None
        self.queues[process].close()
        self.queues[process] = self.open()
        # The first thing that it does, whatever that is, mends what was left.
        self.queues[process].counts()

    # -- what processes do ----------------------------------------------------------------------------------------

    @rule(process=PROCESSES, count=st.integers(1, 5), priority=st.sampled_from([0, 0, 0, 7]), fuse=FUSES, how=st.data())
    def publish(self, process: int, count: int, priority: int, fuse: int | None, how: st.DataObject) -> None:
        bodies = list(range(self.bodies, self.bodies + count))
        self.bodies += count
        delay = how.draw(st.sampled_from([0.0, 0.0, 5.0]))
        key = how.draw(st.sampled_from([None, None, f"key{bodies[0]}"]))
        drafts = [Draft(n, priority, delay, key=key and f"{key}.{n}") for n in bodies]
        self.files.fuse = fuse
        try:
            self.queues[process].publish_many(drafts)
        except Crash:
            self.crashed(process)
            if key is None:
                self.perhaps.update(bodies)
                return
            # Who was cut off publishes again, under the same key, and that must not make a second one.
            self.queues[process].publish_many(drafts)
        self.files.fuse = None
        self.sure.update(bodies)
        if key is not None:
            self.queues[process].publish_many(drafts)

    @rule(target=received, process=PROCESSES, most=st.integers(1, 4), fuse=FUSES)
    def receive(self, process: int, most: int, fuse: int | None) -> list[Message]:
        self.files.fuse = fuse
        try:
            found = self.queues[process].receive(most)
        except Crash:
            self.crashed(process)
            # It may have leased some that nobody got.
            self.leases = dict.fromkeys(self.leases, 0.0) | {
                body: until for body, until in self.leases.items() if until > self.clock.wall()
            }
            return []
        self.files.fuse = None
        for message in found:
            self.came(message)
            self.leases[message.body] = message.until or 0.0
        return found

    def came(self, message: Message) -> None:
        assert message.body in self.sure | self.perhaps, "nobody published it, or it was confirmed"
        assert message.body not in self.gone
        assert self.leases.get(message.body, 0.0) <= self.clock.wall(), "somebody else has it"

    @rule(process=PROCESSES, messages=received, fuse=FUSES)
    def confirm(self, process: int, messages: list[Message], fuse: int | None) -> None:
        for message in messages:
            assert message.receipt is not None
            self.files.fuse = fuse
            try:
                self.queues[process].confirm(message.receipt)
            except NotHeld:
                self.files.fuse = None
                continue
            except Crash:
                self.crashed(process)
                if message.body in self.sure:
                    self.sure.discard(message.body)
                    self.perhaps.add(message.body)
                continue
            self.files.fuse = None
            assert self.leases.get(message.body, message.until) == message.until, "the lease was somebody else's"
            self.sure.discard(message.body)
            self.perhaps.discard(message.body)
            self.gone.add(message.body)

    @rule(process=PROCESSES, messages=received, lease=st.sampled_from([0.0, 10.0, 60.0]))
    def extend(self, process: int, messages: list[Message], lease: float) -> None:
        for message in messages:
            assert message.receipt is not None
            try:
                until = self.queues[process].extend(message.receipt, lease)
            except NotHeld:
                continue
            self.leases[message.body] = until
            # Who extended it holds it under the same receipt; the model only knows the times.
            object.__setattr__(message, "until", until)

    @rule(process=PROCESSES, fuse=FUSES)
    def housekeeping(self, process: int, fuse: int | None) -> None:
        self.files.fuse = fuse
        try:
            self.queues[process].turn(self.clock.wall())
        except Crash:
            self.crashed(process)
        self.files.fuse = None

    @rule(process=PROCESSES, fuse=FUSES)
    def redrive(self, process: int, fuse: int | None) -> None:
        self.files.fuse = fuse
        try:
            self.queues[process].redrive()
        except Crash:
            self.crashed(process)
        self.files.fuse = None

    @rule(seconds=st.sampled_from([1.5, 20.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    # -- what else may happen ---------------------------------------------------------------------------------------

    @rule(kept=st.integers(0, 6))
    def power_cut(self, kept: int) -> None:
        """Leases and receive counts may be forgotten, so a message may be leased to two; nothing else may happen."""
        for queue in self.queues:
            queue.close()
        self.files.cut_power(kept)
        self.leases.clear()
        self.queues = [self.open(), self.open()]

    @rule(which=st.integers(0, 3))
    def shell_takes(self, which: int) -> None:
        ready = os.path.join(self.folder, "q", "ready")
        names = sorted(name for name in os.listdir(ready) if not name.startswith("."))
        if not names:
            return
        name = names[which % len(names)]
        taken = os.path.join(self.folder, f"taken-{name}")
        self.files.rename(os.path.join(ready, name), taken)
        self.files.sync_folder(ready)
        with open(taken, "rb") as file:
            for line in file.read().splitlines():
                message = decode(line, 0, 1)
                assert message.body in self.sure | self.perhaps
                self.sure.discard(message.body)
                self.perhaps.discard(message.body)
                self.gone.add(message.body)

    @rule(lines=st.booleans())
    def shell_puts(self, lines: bool) -> None:
        bodies = [self.bodies, self.bodies + 1] if lines else [self.bodies]
        self.bodies += len(bodies)
        name = f"from-shell-{bodies[0]}.json{'l' if lines else ''}"
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write("".join(f"{body}\n" for body in bodies))
        os.utime(path, (1_700_000_000 + self.bodies, 1_700_000_000 + self.bodies))
        target = os.path.join(self.folder, "q", "ready", name)
        self.files.rename(path, target)
        self.files.sync_folder(os.path.dirname(target))
        self.sure.update(bodies)

    @invariant()
    def counts_are_right(self) -> None:
        if not hasattr(self, "queues"):
            return
        counts = self.queues[0].counts()
        there = counts.ready + counts.leased + counts.delayed + counts.dead
        # Two lines of a file that a shell put there count as one message until it is opened.
        unread = sum("shell" in name for name in os.listdir(os.path.join(self.folder, "q", "ready")))
        assert len(self.sure) - unread <= there <= len(self.sure | self.perhaps)

    def everything_comes(self) -> None:
        """In the end each message that was not confirmed comes exactly once."""
        queue = self.open()
        self.clock.advance(1000.0)
        queue.counts()
        queue.redrive()
        bodies = [message.body for message in queue.receive(1000)]
        assert len(bodies) == len(set(bodies)), "a message came twice"
        assert self.sure <= set(bodies) <= self.sure | self.perhaps
        queue.close()


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=40, stateful_step_count=30, deadline=None, report_multiple_bugs=False)
