"""`ApiClient`: the engine. Jobs go in, futures of answers come out; folders are somebody else's business.

A `ThreadPoolExecutor` serves one `LaneQueue`; each worker takes a task, makes the lane's decorated call and decides
with the lane what follows. A worker never sleeps for a task: one that must wait goes back to its lane.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from functools import partial
from math import inf
from pathlib import Path
from queue import Empty
from typing import Any, Self

from ratelimit import RateLimitException

from inboxd.cache.store import Store
from inboxd.jobs.api import Api, Apis, Policy
from inboxd.jobs.caching import Caching
from inboxd.jobs.calls import placed
from inboxd.jobs.clock import Clock
from inboxd.jobs.exchange import Call, Redirected
from inboxd.jobs.faults import BadResponse, Blocked, Fault, Internal, Interrupted, Invalid
from inboxd.jobs.handlers import Handler, Handlers, Work
from inboxd.jobs.ids import uuid7
from inboxd.jobs.job import Job, parse_object
from inboxd.jobs.lane import Lane, RetryLater
from inboxd.jobs.lanes import Closed, LaneFull, LaneQueue
from inboxd.jobs.marks import Marks, NoMarks
from inboxd.jobs.put import Bucket
from inboxd.jobs.queuejobs import Deed, QueueJobs
from inboxd.jobs.queues import Queues
from inboxd.jobs.result import Answer, Attempt, Problem
from inboxd.jobs.rotation import workers_for
from inboxd.jobs.sender import Sender
from inboxd.jobs.stream import as_they_come
from inboxd.jobs.task import NOT_MODIFIED, Errand, Postponed, Task
from inboxd.jobs.tree import alone
from inboxd.jobs.vault import Vault
from inboxd.jobs.wires import Wires

log = logging.getLogger("inboxd.jobs")

# Seconds between two looks whether to stop at once; before a body for which the disk had no room is fetched again.
LOOK_UP = 0.05
DISK_FULL_WAIT = 10.0


class ApiClient:
    """Makes calls: limited, retried, cached, many at a time.

    `apis` are named APIs; any other URL belongs to its origin, for which `defaults` hold (the fields of `Policy`:
    attempts, timeout, rate, burst, concurrency, backoff, ok, …). `threads` is how many calls one API may have under way
    (a third more stand by for the others), `window` how many jobs are held in memory before `submit` waits or raises
    LaneFull (0: no bound), `cache` the cache or its folder, `secrets` the path of the secrets file, `allow` patterns of
    hosts that may be called, `handlers` functions for jobs that say `do` (or a `Handler`, for processes), `stores`
    those that `put` may write to, `queues` those of messages. In a `with` block it waits for all answers at the end.
    """

    def __init__(
        self,
        apis: Iterable[Api] = (),
        *,
        threads: int = 16,
        window: int = 0,
        cache: str | Path | Store | None = None,
        secrets: str | None = None,
        allow: Iterable[str] = ("*",),
        private: bool = True,
        handlers: Mapping[str, Handler | Callable[..., Any]] | None = None,
        stores: Mapping[str, Bucket] | None = None,
        queues: Queues | None = None,
        max_body: int = 64 * 1024 * 1024,
        inline: int | None = None,
        clock: Clock | None = None,
        marks: Marks | None = None,
        on_room: Callable[[], None] = lambda: None,
        on_rest: Callable[[str, float], None] = lambda *_: None,
        **defaults: Any,
    ) -> None:
        workers = workers_for(threads)
        self.apis = Apis(apis, policy := Policy.model_validate(defaults))
        self.clock = clock or Clock()
        self._vault = Vault(secrets)
        self._handlers = Handlers(handlers or {}, stores or {}, policy, self._vault)
        self._queue_jobs = QueueJobs(queues, policy)
        self._wires = Wires(self.apis, allow=allow, private=private, vault=self._vault)
        inline = max_body if inline is None else inline
        self._sender = Sender(self._wires, self.clock, max_body=max_body, inline=inline)
        self._marks = marks or NoMarks()
        new_lane = partial(Lane, send=self._sender.attempt, clock=self.clock, on_rest=on_rest)
        self.queue = LaneQueue(new_lane, workers=workers, window=window, clock=self.clock, on_room=on_room)
        self.at_work: dict[int, Task] = {}
        self.caching = Caching(cache, self.clock, self.queue, inline=inline, call=self._queue_up)
        self._closed = False
        self._executors: list[ThreadPoolExecutor] = []
        self._serving: list[Future[None]] = []
        self._hire(range(workers))

    # -- jobs in ------------------------------------------------------------------------------------------

    def submit(self, job: Job | Mapping[str, Any], errand: Errand | None = None) -> Future[Answer]:
        """Take a job; its future gives the answer, whatever it is, or raises `Postponed` if the errand allows that.

        Raises `LaneFull` when the window has no room and the errand does not want to wait. What is attached to the
        future runs on a worker and must not wait for room itself.
        """
        outcome = next(self.take([(job, errand or Errand())]))
        if isinstance(outcome, LaneFull):
            raise outcome
        if isinstance(outcome, Future):
            return outcome
        future: Future[Answer] = Future()
        future.set_result(outcome)
        return future

    def take(
        self, asked: Iterable[tuple[Job | Mapping[str, Any], Errand]]
    ) -> Iterator[Answer | Future[Answer] | LaneFull]:
        """Take jobs as `submit` does; gives of each the answer if it is known at once, its future, or why not.

        Each step is made for all of them before the next, as far as no worker is needed: from one step to another the
        processor forgets so much that a single job costs half as much again.
        """
        if self._closed:
            raise RuntimeError("the client is closed")
        tasks = [self._task_of(job, errand) for job, errand in asked]
        known = [None if isinstance(task, Answer) else self._recall(task) for task in tasks]
        for task, answer in zip(tasks, known, strict=True):
            if isinstance(task, Answer):
                yield task
            elif answer is not None:
                yield answer
            else:
                task.future = Future()
                try:
                    self._take_in(task)
                except LaneFull as full:
                    yield full
                else:
                    yield task.future

    def _task_of(self, job: Job | Mapping[str, Any], errand: Errand) -> Task | Answer:
        now, request_id = self.clock.wall(), errand.id or uuid7()
        try:
            parsed = job if isinstance(job, Job) else alone(parse_object(dict(job)))
            request_id = errand.id or parsed.id or request_id
            parsed, api, call = self._call_of(parsed, request_id, errand.token)
        except (Invalid, Blocked) as fault:
            why, received = Problem(fault.kind, fault.message), errand.received or now
            return Answer(request_id, "rejected", received=received, finished=now, error=why)
        task = Task.of(parsed, request_id, api, call, errand, now, self.clock.mono())
        task.spacing = self.apis.spacings.get(parsed.call) if parsed.call is not None else None
        return task

    def _recall(self, task: Task) -> Answer | None:
        # Who waits for its time looks for a known answer then; until then nobody can follow it.
        if task.job.cache is None or task.due > self.clock.mono():
            return None
        return self.caching.recall(task)

    def _call_of(self, job: Job, request_id: str, token: str) -> tuple[Job, Api, Call | Work | Deed]:
        if job.queue is not None:
            return self._queue_jobs.call_of(job, token)
        return (self._wires if job.do is None else self._handlers).call_of(job, request_id)

    def place(self, job: Job) -> tuple[Job, Api]:
        """Give a job as it would be called, and whose lane it would wait in, without taking it; raises Invalid."""
        if job.do is None and job.queue is None:
            return placed(job, self.apis)
        return self._call_of(job, "", "")[:2]

    def key_of(self, name: str) -> str | None:
        """Say by which key a job asks for what is called so: a named `call`, or a handler, `do`; None for neither."""
        owner, _, call = name.rpartition(".")
        if owner in self.apis.named and call in self.apis.named[owner].calls:
            return "call"
        return "do" if self._handlers.has(name) else None

    def _take_in(self, task: Task) -> None:
        wait = min(task.due, task.expires) - self.clock.mono()
        if wait > task.errand.patience:
            task.resolve(task.postponed(wait))
            return
        block, share = task.errand.block, task.errand.share
        if task.cache_key is None:
            try:
                self.queue.put(task, block, share=share)
            except Closed:
                self._give_up(task, task.postponed(0.0, stopped=True))
        else:
            self.queue.admit(task, block=block, share=share)
            self.caching.enter(task)

    def _queue_up(self, task: Task) -> None:
        if not self.queue.again(task):
            self._give_up(task, task.postponed(0.0, stopped=True))

    def map(self, jobs: Iterable[Job | Mapping[str, Any]]) -> Iterator[Answer]:
        """Give the answers of many jobs as they come; jobs are drawn from `jobs` as there is work for the threads."""
        return as_they_come((self.submit(job) for job in jobs), self.breadth)

    @property
    def breadth(self) -> int:
        """How many jobs are kept under way when many are to be done: work enough for all threads."""
        return 4 * self.queue.workers

    # -- work -----------------------------------------------------------------------------------------------

    def _hire(self, numbers: Sequence[int]) -> None:
        """Have workers of these numbers, in an executor of their own: its threads end with their work."""
        if numbers:
            executor = ThreadPoolExecutor(len(numbers), thread_name_prefix="worker")
            self._serving += [executor.submit(self._serve, number) for number in numbers]
            executor.shutdown(wait=False)
            self._executors.append(executor)

    def _serve(self, worker: int) -> None:
        """Be a worker while one is wanted: carry out tasks, and outlive anything that one of them does."""
        while True:
            try:
                task = self.queue.get(worker=worker)
            except Empty:
                return
            self.at_work[worker] = task
            self._marks.begin(worker, task.errand.token)
            try:
                self._carry_out(task)
            except Exception as error:
                log.exception("internal error", extra={"fields": task.log_fields})
                fault = Internal(f"{type(error).__name__}: {error}")
                self._end(task, task.answer("failed", self.clock.wall(), fault=fault))
            self._marks.clear(worker)
            del self.at_work[worker]

    def _carry_out(self, task: Task) -> None:
        if not task.begin():
            self._give_up(task, None)
            self.queue.returned(task, dismiss=True)
        elif task.put_down is not None:
            self._line_up(task, task.put_down)
        elif self.clock.mono() >= task.expires:
            problem = Problem("expired", f"not done within {task.job.expires:g} s of being received")
            self._end(task, task.answer("expired", self.clock.wall(), problem=problem))
        elif task.job.cache is not None and task.cache_use is None:
            self._look_up_late(task)
        else:
            self._call(task)

    def _look_up_late(self, task: Task) -> None:
        """Do what `submit` left undone for a task whose time had not come."""
        answer = self.caching.recall(task)
        if answer is not None:
            self._end(task, answer)
        elif task.cache_key is None:
            self._call(task)
        else:
            self.queue.returned(task, dismiss=False)
            self.caching.enter(task)

    def _call(self, task: Task) -> None:
        try:
            result = self.queue.lane(task.api).call(task)
        except RateLimitException:
            self._line_up(task, 0.0)
        except RetryLater as later:
            self._line_up(task, later.wait, self.caching.stale(task))
        except Fault as fault:
            old = self.caching.stale(task) if fault.temporary else None
            self._end(task, old or task.answer("failed", self.clock.wall(), fault.response, fault=fault))
        except OSError as error:
            log.error("no room for a body", extra={"fields": {**task.log_fields, "error": error.strerror}})
            self._line_up(task, DISK_FULL_WAIT)
        else:
            if isinstance(result, Redirected):
                self._follow(task, result)
            elif task.known is not None and result.status == NOT_MODIFIED:
                self._line_up(task, 0.0, self.caching.renewed(task, result))
            else:
                self._end(task, task.answer("done", self.clock.wall(), result))

    def _follow(self, task: Task, redirected: Redirected) -> None:
        """Send a task on to where its server said, through the lane of that place; or again, with a new token."""
        task.hops += not redirected.call.renewed
        try:
            if task.hops > task.api.redirects:
                raise BadResponse(f"more than {task.api.redirects} redirects", status=redirected.status)
            self._wires.check(redirected.call.url)
        except Fault as fault:
            self._end(task, task.answer("failed", self.clock.wall(), fault=fault))
            return
        task.call = redirected.call
        self.queue.move(task, task.api if task.call.renewed else self.apis.of(task.call.url))
        self._line_up(task, 0.0)

    def _line_up(self, task: Task, wait: float, known: Answer | None = None) -> None:
        """End a task with a `known` answer, or give it back to its lane, or after all to its owner for a long wait."""
        if known is not None:
            self._end(task, known)
        elif wait > task.errand.patience:
            self._give_up(task, task.postponed(max(min(wait, task.expires - self.clock.mono()), 0.0)))
            self.queue.returned(task, dismiss=True)
        else:
            task.due = self.clock.mono() + wait
            self.queue.returned(task, dismiss=False)
            self._queue_up(task)

    def _end(self, task: Task, answer: Answer) -> None:
        """Answer a task that a worker holds, and let those go on that waited for the same answer."""
        if task.leads:
            self.caching.land(task, answer)
        task.resolve(answer)
        # Last, so that who sees nothing held any more sees every answer as well.
        self.queue.returned(task, dismiss=True)

    def _give_up(self, task: Task, outcome: Postponed | None) -> None:
        """Let go of a task without an answer, and let those go on that waited for it; None: it was cancelled."""
        if task.leads:
            self.caching.land(task, None)
        if outcome is not None:
            task.resolve(outcome)

    # -- the end ----------------------------------------------------------------------------------------------

    def join(self) -> None:
        """Wait until every job that was taken has its answer."""
        self.queue.wait_until_empty()

    def close(self, drain: float = inf, hurry: Callable[[], bool] = lambda: False) -> int:
        """Take nothing more and begin nothing more; calls under way get `drain` seconds to end, until `hurry` is set.

        Jobs that did not begin, and calls that did not end in time, are `Postponed` with `stopped` set; gives the
        number of the latter, whose threads may go on until their deadline.
        """
        self._closed = True
        for task in [*self.caching.stop(), *self.queue.close()]:
            self._give_up(task, task.postponed(0.0, stopped=True))
        until = self.clock.mono() + drain
        while wait_for(self._serving, min(drain, LOOK_UP)).not_done and self.clock.mono() < until and not hurry():
            pass
        cut = list(self.at_work.values())
        for task in cut:
            end = Attempt(self.clock.wall(), 0.0, fault=Interrupted.kind, message="stopped before the call had ended")
            self._give_up(task, task.postponed(0.0, end, stopped=True))
        for executor in self._executors:
            executor.shutdown(wait=not cut)
        self.caching.close()
        self._handlers.close()
        self._wires.close()
        return len(cut)

    def employ(self, threads: int) -> None:
        """Go on with more or fewer threads; one that is too many first ends the call that it makes."""
        self._hire(self.queue.employ(workers_for(threads)))

    def change(self, apis: Iterable[Api], *, allow: Iterable[str], private: bool, **defaults: Any) -> None:
        """Go on with other APIs, limits and hosts; nothing that waits or runs is lost."""
        self.apis = Apis(apis, Policy.model_validate(defaults))
        # Sessions of the old definitions end with the calls that they carry.
        self._wires = self._sender.wires = Wires(self.apis, allow=allow, private=private, vault=self._vault)
        self.queue.change(self.apis.find)

    def restore_lane(self, name: str, state: Mapping[str, Any], elapsed: float) -> None:
        """Let the lane of that name go on where it was `elapsed` seconds ago, when its `state` was taken."""
        if (api := self._handlers.lane(name) or self.apis.find(name)) is not None:
            self.queue.lane(api).restore(dict(state), elapsed, self.clock.mono())

    def rest(self, name: str, seconds: float) -> None:
        """Let the lane of that name rest, because another process that calls the same API was told to."""
        if (api := self.apis.find(name)) is not None:
            self.queue.lane(api).rest(self.clock.mono() + seconds)

    def rests(self, api: Api) -> bool:
        """Tell whether the lane of an API rests, or only probes it."""
        return self.queue.lane(api).rests(self.clock.mono())

    def give_back(self, name: str) -> None:
        """Postpone all that waits in the lane of that name until it will have rested."""
        if (api := self.apis.find(name)) is None:
            return
        wait = max(self.queue.lane(api).rest_until - self.clock.mono(), 0.0)
        for task in self.queue.drain(api):
            self._give_up(task, task.postponed(wait))
            self.queue.dismiss(task)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        if kind is None:
            self.join()
        self.close()
