"""What a page of the bench works with: the server, the peers, a folder on the disk, and sides run in turn."""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from bench import peers
from bench.kit import Kit
from bench.measure import Figures, Sample, medians
from bench.rig import Late
from bench.servers import Nginx, Process, RabbitMQ, Redis
from bench.work import Work


class Side(Protocol):
    """Whoever can make the calls of a work: inboxd in some way, or a peer."""

    name: str
    says: str
    keeps: str

    def __call__(self, work: Work, folder: Path, server: list[int]) -> Sample:
        """Make all calls once; raises Late when it cannot."""
        ...


class HasName(Protocol):
    """Whatever can be named in a table."""

    @property
    def name(self) -> str:
        """What it is called there."""
        ...


Named = TypeVar("Named", bound=HasName)


class Options(NamedTuple):
    """How much is done: rounds, the share of the full size, and the longest backlog."""

    rounds: int = 3
    scale: float = 1.0
    most: int = 100_000


class Field:
    """One page's surroundings: a folder, the server, and whatever is asked for; in `stack` lies what must be ended."""

    def __init__(self, folder: Path, kit: Kit, options: Options, server: Nginx, stack: ExitStack) -> None:
        self.folder, self.kit, self.options, self.server = folder, kit, options, server
        self._stack = stack
        self._brokers: dict[type, Process] = {}
        self.missing: dict[str, str] = {}

    def size(self, full: int, least: int = 50) -> int:
        """Return how many of something are to be done, instead of `full`."""
        return max(least, int(full * self.options.scale))

    def peers(self, *names: str) -> list[Side]:
        """Return the peers of these names that can be set up; `missing` then says why not the others."""
        found, missing = peers.set_up(list(names), self.kit, self._broker)
        self.missing |= missing
        return [*found]

    def _broker(self, kind: type[Redis | RabbitMQ]) -> Process:
        if kind not in self._brokers:
            self._brokers[kind] = self._stack.enter_context(kind(self.kit, self.folder / kind.name))
        return self._brokers[kind]

    def in_turn(self, sides: Sequence[Side], work: Work) -> dict[str, Figures]:
        """Let all sides do a work, as `by_rounds` does."""
        return self.by_rounds(sides, work.title, lambda side: self.run(side, work))

    def by_rounds(self, sides: Sequence[Named], title: str, run: Callable[[Named], Sample]) -> dict[str, Figures]:
        """Run all sides one after the other, round by round; who fails is named as missing, and not run again."""
        samples: dict[str, list[Sample]] = {side.name: [] for side in sides}
        for number in range(self.options.rounds):
            for side in sides:
                if side.name in self.missing:
                    continue
                try:
                    sample = run(side)
                except Late as late:
                    self.missing[side.name] = f"{title}: {late}"
                    tell(f"{side.name}: {late}")
                    continue
                samples[side.name].append(sample)
                tell(
                    f"{title} {number + 1}/{self.options.rounds}  {side.name:<24} {sample.rate:8,.0f}/s  "
                    f"CPU {sample.cost:6.3f} s/1,000  foreign {sample.foreign:.0%}"
                )
        return {name: medians(found) for name, found in samples.items() if name not in self.missing}

    def run(self, side: Side, work: Work) -> Sample:
        """Run one side once; raises Late, too, when the server was not called as often as it should have been."""
        with self.scratch() as folder:
            before = self.server.requests()
            sample = side(work, folder, self.server.pids)
            called = self.server.requests() - before
        if called < work.size:
            raise Late(f"the server saw {called} calls, not {work.size}")
        return sample

    def scratch(self) -> "Scratch":
        """Return a folder for one run."""
        return Scratch(self.folder / "run")


@dataclasses.dataclass
class Scratch:
    """A folder that is empty at the beginning of a `with` block, and gone after it."""

    folder: Path

    def __enter__(self) -> Path:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        return self.folder

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def tell(text: str) -> None:
    """Say how far it has come."""
    print(f"  {text}", flush=True)
