"""Jobs that are Python functions: `{"do": "thumbnail", "with": {…}, "file": "photo.png"}`.

A handler has a lane like any API, so its jobs are limited, retried and answered as calls are. Its function runs on a
thread of its own, or with `process` in a process of the workshop. A thread that does not come back cannot be ended: its
job is answered at the deadline all the same, and after a few such the handler takes no more until one of them is back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from queue import Empty, SimpleQueue
from typing import Annotated, Any, BinaryIO, Protocol

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from inboxd.jobs.api import Api, Policy
from inboxd.jobs.faults import Fault, Invalid, Timeout, TryAgain
from inboxd.jobs.functions import Context, Function, Result, load
from inboxd.jobs.gathering import Gathering
from inboxd.jobs.importing import is_path
from inboxd.jobs.job import Job
from inboxd.jobs.patience import Backoff
from inboxd.jobs.put import Bucket, Stores
from inboxd.jobs.reply import Bounds
from inboxd.jobs.result import Response
from inboxd.jobs.slips import meant
from inboxd.jobs.units import Duration, RateLimit, Size
from inboxd.jobs.vault import Vault
from inboxd.jobs.workshop import CORES, Workshop

ENTRY_POINTS = "inboxd.handlers"
PUT = "put"
# Before the names of lanes, so that a handler and an API may share a name.
LANE = "do:"
# Calls of one handler that may run on behind their deadline, each on a thread that nothing can end.
STRAYS = 8


def _path(use: str) -> str:
    if not is_path(use):
        raise ValueError('expected the path of a function, as "package.module:name"')
    return use


class Handler(BaseModel):
    """One handler. What it leaves out of attempts, timeout and backoff comes from the defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    use: Annotated[str, AfterValidator(_path)] | None = Field(
        None, description='the function, as "package.module:name"; absent: an entry point'
    )
    process: bool = Field(False, description="run it in processes: on all cores, and a crash fails one job alone")
    memory: Size = Field(2 * 2**30, ge=128 * 2**20, description="address space of each of its processes")
    attempts: int | None = Field(None, ge=1, le=1000, description="attempts of a job before it fails")
    timeout: Duration | None = Field(
        None, gt=0, description="one attempt; then the job is answered, its process killed"
    )
    rate: RateLimit | None = Field(None, description="jobs per time; none when absent")
    concurrency: int | None = Field(None, ge=1, description="jobs at a time; absent: of processes one for each core")
    backoff: Backoff | None = Field(None, description="waits between attempts")


def _table(value: Any) -> Any:
    return {"use": value} if isinstance(value, str) else value


# A handler as the config may say it: the path of its function alone, or a table.
Table = BeforeValidator(_table)


class Bench(Api):
    """What the lanes know of a handler: an API in all but the wire."""

    base_url: str = ""


class Runner(Protocol):
    """Runs one handler's function."""

    def check(self, arguments: Mapping[str, Any], *, with_file: bool) -> None:
        """Raise Invalid for arguments that the function does not take, if that is known beforehand."""

    def run(self, arguments: Mapping[str, Any], context: Context, file: BinaryIO | None, body: Gathering) -> str:
        """Call it once; fills `body`, which owns what it has begun, and gives its media type. Takes `file` over."""

    def close(self) -> None:
        """End what can be ended."""


@dataclass(frozen=True, slots=True)
class Work:
    """A call of a function, ready to be made as often as it takes."""

    name: str
    arguments: Mapping[str, Any]
    file: str | None
    id: str
    runner: Runner

    @property
    def request(self) -> dict[str, str]:
        """What the job asks for, as its answer tells it."""
        return {"do": self.name}

    def perform(self, attempt: int, bounds: Bounds, open_file: Callable[[str], BinaryIO]) -> Response:
        """Make attempt number `attempt`; raises a Fault, or the OSError of a disk that has no room for the body."""
        try:
            file = None if self.file is None else open_file(self.file)
        except OSError as error:
            raise Invalid(f"attachment: {error.strerror}") from None
        body = Gathering(bounds)
        try:
            content_type = self.runner.run(self.arguments, Context(self.id, attempt, bounds.deadline), file, body)
        except BaseException:
            body.drop()
            raise
        return body.response(content_type)


class InThread:
    """Runs a function on a thread for each call, so that one which does not come back keeps no worker."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._strays: set[int] = set()

    def check(self, arguments: Mapping[str, Any], *, with_file: bool) -> None:
        """Raise Invalid for arguments that the function does not take."""
        self._function.check(arguments, with_file=with_file)

    def run(self, arguments: Mapping[str, Any], context: Context, file: BinaryIO | None, body: Gathering) -> str:
        """Call the function and wait until its deadline."""
        ended: SimpleQueue[Result | Fault] = SimpleQueue()
        thread = threading.Thread(
            target=self._call, args=(arguments, context, file, ended), name=f"do {self._function.called}", daemon=True
        )
        if len(self._strays) >= STRAYS:
            if file is not None:
                file.close()
            raise TryAgain(f"{STRAYS} calls of it have not come back yet; with process = true they could be ended")
        thread.start()
        try:
            end = ended.get(timeout=context.timeout)
        except Empty:
            with self._lock:
                if ended.empty() and thread.ident is not None:
                    self._strays.add(thread.ident)
            raise Timeout(f"not done within {context.timeout:g} s; it may still be running", uncertain=True) from None
        if isinstance(end, Fault):
            raise end
        body.expect(len(end.body))
        body.write(end.body)
        return end.content_type

    def _call(
        self, arguments: Mapping[str, Any], context: Context, file: BinaryIO | None, ended: SimpleQueue[Result | Fault]
    ) -> None:
        try:
            ended.put(self._function.call(arguments, context, file))
        except Fault as fault:
            ended.put(fault)
        finally:
            if file is not None:
                file.close()
            with self._lock:
                self._strays.discard(threading.get_ident())

    def close(self) -> None:
        """Leave the strays behind; they end with this process at the latest."""


class InProcess:
    """Runs a function in the processes of a workshop, which alone load it."""

    def __init__(self, use: str, memory: int) -> None:
        self._workshop = Workshop(use, memory)

    def check(self, arguments: Mapping[str, Any], *, with_file: bool) -> None:
        """Leave it to the process, which knows the function."""

    def run(self, arguments: Mapping[str, Any], context: Context, file: BinaryIO | None, body: Gathering) -> str:
        """Have it called."""
        facts = {"id": context.id, "attempt": context.attempt, "timeout": context.timeout}
        try:
            return self._workshop.run({"with": arguments, "context": facts}, file, context.timeout, body)
        finally:
            if file is not None:
                file.close()

    def close(self) -> None:
        """End the processes."""
        self._workshop.close()


class Handlers:
    """All handlers of one client: those that are named, `put`, and the entry points of what is installed.

    Raises Invalid when one of those that are named, or one of the stores, cannot be used.
    """

    def __init__(
        self,
        named: Mapping[str, Handler | Callable[..., Any]],
        stores: Mapping[str, Bucket],
        defaults: Policy,
        vault: Vault,
    ) -> None:
        self._put = Stores(stores, vault).put
        self._defaults = defaults.model_dump(include={"attempts", "timeout", "backoff", "trip"}, exclude_unset=True)
        self._known: dict[str, tuple[Api, Runner]] = {}
        for name, one in {PUT: Handler(), **named}.items():
            self._known[name] = self._made(name, one)

    def call_of(self, job: Job, request_id: str) -> tuple[Job, Api, Work]:
        """Give a job that names a handler, its lane and its call; raises Invalid."""
        name, arguments = job.do or "", job.arguments or {}
        api, runner = self._find(name)
        runner.check(arguments, with_file=job.file is not None)
        return job, api, Work(name, arguments, job.file, request_id, runner)

    def has(self, name: str) -> bool:
        """Tell whether there is a handler of that name."""
        return name in self._known or name in entry_points(group=ENTRY_POINTS).names

    def lane(self, name: str) -> Api | None:
        """Give what stands for a handler by the name of its lane."""
        known = self._known.get(name.removeprefix(LANE)) if name.startswith(LANE) else None
        return known[0] if known else None

    def _find(self, name: str) -> tuple[Api, Runner]:
        known = self._known.get(name)
        if known is None:
            if name not in entry_points(group=ENTRY_POINTS).names:
                names = [*self._known, *entry_points(group=ENTRY_POINTS).names]
                raise Invalid(f'do: there is no handler "{name}"{meant(name, names)}')
            # Two threads may both make one; the loser's has begun nothing yet.
            known = self._known.setdefault(name, self._made(name, Handler()))
        return known

    def _made(self, name: str, one: Handler | Callable[..., Any]) -> tuple[Api, Runner]:
        """Make the lane's side and the runner of a handler; raises Invalid when its function cannot be loaded."""
        if not isinstance(one, Handler):
            return self._lane(name, Handler()), InThread(Function(name, one))
        if name == PUT and one.use is None:
            if one.process:
                raise Invalid(f'handler "{PUT}": it is built in and needs no process; leave that out')
            return self._lane(name, one), InThread(Function(PUT, self._put))
        use = one.use or _entry_point(name)
        return self._lane(name, one), InProcess(use, one.memory) if one.process else InThread(load(use))

    def _lane(self, name: str, one: Handler) -> Api:
        limits = one.model_dump(include={"attempts", "timeout", "rate", "concurrency", "backoff"}, exclude_none=True)
        if one.process:
            limits.setdefault("concurrency", len(CORES))
        return Bench.model_validate({"name": LANE + name, **self._defaults, **limits})

    def close(self) -> None:
        """End what can be ended of all handlers."""
        for _, runner in self._known.values():
            runner.close()


def _entry_point(name: str) -> str:
    for point in entry_points(group=ENTRY_POINTS, name=name):
        return point.value
    raise Invalid(f'handler "{name}": use is missing, and no installed package has an entry point of that name')
