"""What the gateway sees of the daemon: the parts that it drops through, reads from and asks how it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from inboxd.daemon.config import Config
from inboxd.daemon.intake import Intake
from inboxd.daemon.outbox import Outbox
from inboxd.daemon.spool import Spool
from inboxd.daemon.worker import Worker
from inboxd.jobs.clock import Clock
from inboxd.jobs.queues import Queues


@dataclass(frozen=True, slots=True)
class Inside:
    """What the gateway sees of the daemon. `status` says how it goes, at a wall time."""

    config: Config
    spool: Spool
    intake: Intake
    worker: Worker
    outbox: Outbox
    queues: Queues
    clock: Clock
    status: Callable[[float], dict[str, Any]]
    # The metrics as Prometheus reads them, if they are counted.
    metrics: Callable[[], bytes] | None = None
