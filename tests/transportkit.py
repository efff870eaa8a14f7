"""What the tests of the transport share: a call in one line."""

from typing import Any

import requests

from inboxd.jobs.guard import Guard
from inboxd.jobs.transport import Bounds, CurlAdapter, CurlResponse

GENEROUS = Bounds(20.0)


def adapter(**options: Any) -> CurlAdapter:
    return CurlAdapter(options.pop("guard", Guard()), **options)


def call(
    through: CurlAdapter, url: str, method: str = "GET", *, bounds: Bounds = GENEROUS, **request: Any
) -> CurlResponse:
    return through.send(requests.Request(method, url, **request).prepare(), bounds=bounds)
