"""Drop a file, the call gets made: an HTTP call spool with limits, retries, cache and answers.

The same engine as a library:

    from inboxd import ApiClient

    with ApiClient(threads=8, attempts=5, rate="50/s") as api:
        futures = [api.submit({"url": url}) for url in urls]

Names are loaded when they are first used, so that `inboxd drop` starts without loading the engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inboxd.jobs.api import Api
    from inboxd.jobs.client import ApiClient
    from inboxd.jobs.faults import Fault, TryAgain
    from inboxd.jobs.handlers import Handler
    from inboxd.jobs.job import Job
    from inboxd.jobs.message import Draft, Message
    from inboxd.jobs.messages import MessageQueue
    from inboxd.jobs.patience import Backoff
    from inboxd.jobs.queueerrors import NotHeld
    from inboxd.jobs.queuesettings import QueueSettings
    from inboxd.jobs.result import Answer, Problem, Response
    from inboxd.jobs.service import ApiCall, Service

__all__ = [
    "Answer",
    "Api",
    "ApiCall",
    "ApiClient",
    "Backoff",
    "Draft",
    "Fault",
    "Handler",
    "Job",
    "Message",
    "MessageQueue",
    "NotHeld",
    "Problem",
    "QueueSettings",
    "Response",
    "Service",
    "TryAgain",
]
__version__ = "0.1.0"

_HOMES = {
    "Answer": "result",
    "Api": "api",
    "ApiCall": "service",
    "ApiClient": "client",
    "Backoff": "patience",
    "Draft": "message",
    "Fault": "faults",
    "Handler": "handlers",
    "Job": "job",
    "Message": "message",
    "MessageQueue": "messages",
    "NotHeld": "queueerrors",
    "Problem": "result",
    "QueueSettings": "queuesettings",
    "Response": "result",
    "Service": "service",
    "TryAgain": "faults",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'inboxd' has no attribute {name!r}")
    return getattr(import_module(f"inboxd.jobs.{_HOMES[name]}"), name)
