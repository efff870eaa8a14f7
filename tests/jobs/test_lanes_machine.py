"""The queue of lanes: nothing lost, nothing twice, nobody starved: every step in any order, without threads."""

from collections import Counter, defaultdict
from queue import Empty

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from inboxd.jobs.api import Api
from inboxd.jobs.clock import FakeClock
from inboxd.jobs.faults import Server, Throttled
from inboxd.jobs.lane import Lane
from inboxd.jobs.lanes import LaneFull, LaneQueue
from inboxd.jobs.task import Task
from tests.jobskit import api, task

INF = float("inf")


class Machine(RuleBasedStateMachine):
    """Every step that the client can make, in any order, with the queue's promises looked at after each."""

    @initialize(window=st.integers(1, 20), workers=st.integers(1, 12))
    def start(self, window: int, workers: int) -> None:
        self.clock = FakeClock()
        self.window, self.workers = window, workers
        self.queue = LaneQueue(
            lambda of: Lane(of, self.called, self.clock),
            workers=workers,
            window=window,
            clock=self.clock,
            on_room=lambda: None,
        )
        self.apis = [api("a"), api("b", concurrency=2), api("c", rate="2/s"), api("d", trip=2, backoff={"first": "4s"})]
        self.waiting: set[Task] = set()
        self.working: list[Task] = []
        self.aside: list[Task] = []
        self.calls: defaultdict[str, list[float]] = defaultdict(list)

    def called(self, lane: Lane, _task: Task) -> None:
        self.calls[lane.name].append(self.clock.mono())

    def held(self, of: Api) -> int:
        return sum(one.api is of for one in [*self.waiting, *self.working, *self.aside])

    def total(self) -> int:
        return len(self.waiting) + len(self.working) + len(self.aside)

    @rule(
        which=st.integers(0, 3),
        wait=st.sampled_from([0, 0, 0, 3]),
        life=st.sampled_from([INF, INF, 2.0]),
        priority=st.integers(-1, 1),
        share=st.sampled_from([1.0, 0.5]),
        lined_up=st.booleans(),
    )
    def put(self, which: int, wait: float, life: float, priority: int, share: float, lined_up: bool) -> None:
        of, now = self.apis[which], self.clock.mono()
        one = task(of, due=now + wait, expires=now + life, priority=priority)
        room = self.held(of) < share * (self.window - self.total())
        try:
            self.queue.admit(one, block=False, share=share)
        except LaneFull:
            assert not room
            return
        assert room
        if lined_up:
            assert self.queue.again(one)
            self.waiting.add(one)
        else:
            self.aside.append(one)

    @rule()
    def get(self) -> None:
        if len(self.working) == self.workers:
            return
        try:
            one = self.queue.get(block=False)
        except Empty:
            assert not any(self.servable(of) for of in self.apis)
            return
        assert one in self.waiting
        self.waiting.remove(one)
        self.working.append(one)
        now = self.clock.mono()
        if now >= one.expires:
            return
        lane = self.queue.lanes[one.api.name]
        assert one.due <= now
        assert lane.rest_until <= now
        peers = [other for other in self.waiting if other.api is one.api and other.due <= now < other.expires]
        assert all((-one.job.priority, one.seq) <= (-other.job.priority, other.seq) for other in peers)
        lane.call(one)

    def servable(self, of: Api) -> bool:
        """Tell, from what the model knows, whether a lane has a task that could go now."""
        now, lane = self.clock.mono(), self.queue.lanes.get(of.name)
        mine = [one for one in self.waiting if one.api is of]
        if any(one.expires <= now for one in mine):
            return True
        if lane is None or not any(one.due <= now for one in mine) or lane.rest_until > now:
            return False
        running = sum(one.api is of for one in self.working)
        if running >= min(of.concurrency or INF, 3 * (self.workers - len(self.working))) or (lane.trips and running):
            return False
        if running >= max(1, self.workers * 3 // 4):
            return False
        return of.rate is None or not self.calls[of.name] or now - self.calls[of.name][-1] >= 1 / of.rate.per_second

    @precondition(lambda self: self.working)
    @rule(index=st.integers(0, 30), end=st.sampled_from(["done", "again", "failed", "throttled", "moved"]))
    def end(self, index: int, end: str) -> None:
        one = self.working.pop(index % len(self.working))
        lane, now = self.queue.lanes[one.api.name], self.clock.mono()
        if end == "failed":
            lane.failed(Server("no"), one, now)
        elif end == "throttled":
            lane.failed(Throttled("no", retry_after=1.5), one, now)
        else:
            lane.succeeded()
        if end == "moved":
            self.queue.move(one, self.apis[(self.apis.index(one.api) + 1) % 4])
        if end == "done":
            self.queue.returned(one, dismiss=True)
            return
        one.due = now + (0 if end == "moved" else 1)
        self.queue.returned(one, dismiss=False)
        self.queue.again(one)
        self.waiting.add(one)

    @precondition(lambda self: self.aside)
    @rule(lined_up=st.booleans())
    def settle_who_stands_aside(self, lined_up: bool) -> None:
        one = self.aside.pop()
        if lined_up:
            self.queue.again(one)
            self.waiting.add(one)
        else:
            self.queue.dismiss(one)

    @rule(seconds=st.sampled_from([0.01, 0.5, 1.0, 10.0]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def the_counts_agree(self) -> None:
        if not hasattr(self, "queue"):
            return
        assert (self.queue.held, self.queue.running) == (self.total(), len(self.working))
        assert self.queue.held <= self.window + 0
        running = Counter(one.api.name for one in self.working)
        for name, lane in self.queue.lanes.items():
            assert (lane.held, lane.running) == (self.held(lane.api), running[name])

    @invariant()
    def no_lane_takes_more_than_its_part_of_the_workers(self) -> None:
        if hasattr(self, "queue"):
            assert self.queue.running <= self.workers
            for lane in self.queue.lanes.values():
                expired = sum(one.api is lane.api and not one.begun for one in self.working)
                assert lane.running - expired <= max(lane.api.concurrency or 99, 1)

    @invariant()
    def no_lane_calls_faster_than_its_rate(self) -> None:
        if hasattr(self, "queue"):
            calls = self.calls["c"]
            for index in range(len(calls)):
                assert sum(calls[index] <= call < calls[index] + 1.0 for call in calls) <= 1.02 * 2 + 1

    def teardown(self) -> None:
        if not hasattr(self, "queue"):
            return
        for one in self.working:
            self.queue.returned(one, dismiss=True)
        self.working.clear()
        for one in self.aside:
            self.queue.dismiss(one)
        for _ in range(400):
            self.clock.advance(1.0)
            while True:
                try:
                    one = self.queue.get(block=False)
                except Empty:
                    break
                self.waiting.remove(one)
                self.queue.lanes[one.api.name].succeeded()
                self.queue.returned(one, dismiss=True)
            if not self.waiting:
                break
        assert not self.waiting
        assert self.queue.held == self.queue.running == 0


TestQueue = Machine.TestCase
TestQueue.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
