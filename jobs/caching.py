"""The cache as tasks see it: an answer that is known already, or somebody who is asking for it just now.

A hit takes no permit, no attempt and no worker. Of equal tasks that miss, one leads and calls; the others follow and
share its answer if it is good, or else try themselves, one by one.
"""

from __future__ import annotations

from collections.abc import Mapping

from inboxd.cache.entry import Entry
from inboxd.cache.flight import Flight
from inboxd.cache.key import key
from inboxd.cache.store import Store
from inboxd.jobs.exchange import Call
from inboxd.jobs.result import Answer, Response
from inboxd.jobs.task import Task


class Caching:
    """The store and the flights of one client; with no store, nothing is ever known."""

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._flight: Flight[Task] = Flight()

    def look_up(self, task: Task, now: float) -> Response | None:
        """Give the known response of a task that wants one, if it is fresh at `now` (wall time)."""
        rule = task.job.cache
        if self._store is None or rule is None or not isinstance(task.call, Call) or not self.keeps(task):
            return None
        request = task.call.request
        body = request.body if isinstance(request.body, bytes) else None
        task.cache_key = key(task.call.method, task.call.url, body=body, headers=_who(task.call), vary=rule.vary)
        entry = self._store.get(task.cache_key, now)
        return None if entry is None else Response(entry.status, entry.headers, entry.body, size=len(entry.body))

    def keeps(self, task: Task) -> bool:
        """Tell whether the answer of a task that wants it may be kept at all."""
        return self._store is not None and isinstance(task.call, Call) and task.call.segments is None

    def lead(self, task: Task) -> bool:
        """Say whether `task` is to make the call; if not, it will be among the followers of the one that does."""
        return task.cache_key is None or self._flight.join(task.cache_key, task)

    def land(self, task: Task, answer: Answer | None, now: float) -> list[Task]:
        """Keep the leader's answer if it is a good one, and give those who waited for it."""
        if task.cache_key is None:
            return []
        rule, response = task.job.cache, answer.response if answer is not None and answer.ok else None
        if self._store is not None and rule is not None and response is not None and response.side is None:
            headers = dict(response.headers)
            entry = Entry(now, now + rule.ttl, task.asked, response.status, headers, response.body)
            self._store.put(task.cache_key, entry)
        return self._flight.land(task.cache_key)


def _who(call: Call) -> Mapping[str, str]:
    """Give the headers of a call, and a digest of the credentials that it will be sent with."""
    headers: Mapping[str, str] = call.request.headers
    return headers if call.credentials is None else {**headers, "credentials": call.credentials.identity()}
