"""What the cache knows of a task's call: the key it is known by, the entry that is there, the answer made of it.

The one rule: an answer is only for a task that would have got the same from the server, and that wants none fresher.
So the task's own rule counts beside that of the task whose call it was, and the headers that the server says it
looked at (Vary) must be the same. What goes wrong with a file or its body is not known, and asked for again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, BinaryIO

from inboxd.cache.entry import Entry, Side
from inboxd.cache.key import key, varied
from inboxd.cache.store import Store
from inboxd.jobs.cacherule import CacheRule
from inboxd.jobs.clock import Clock
from inboxd.jobs.exchange import Call
from inboxd.jobs.faults import of_status
from inboxd.jobs.result import Answer, CacheUse, Response
from inboxd.jobs.task import Task
from inboxd.jobs.units import statuses

# Request headers that make another call of it, whether the server says so or not.
ALWAYS_VARY = ("accept", "accept-language", "content-type", "origin")
# With one of these the answer is about something that only the job knows, or is a part.
_CONDITIONAL = frozenset({"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"})
# Seconds for which an expired answer is kept if the server can be asked about it.
KEPT_TO_ASK = 7 * 86400.0


class Known:
    """The entries of one store, as answers to tasks. Bodies over `inline` bytes go to a file, if the errand has one."""

    def __init__(self, store: Store, clock: Clock, inline: int) -> None:
        self._store = store
        self._clock = clock
        self._inline = inline

    def identify(self, task: Task, rule: CacheRule) -> bool:
        """Give a task its key; False when its answer may not be kept for others at all."""
        call, given = task.call, [*task.job.headers, *task.api.headers]
        if not isinstance(call, Call) or call.segments is not None or call.method not in rule.methods:
            return False
        if given and not _CONDITIONAL.isdisjoint(name.lower() for name in given):
            return False
        body: Any = call.request.body
        headers: Mapping[str, str] = call.request.headers
        if call.credentials is not None:
            # They are put on the call when it is sent; a digest of them stands for them here.
            headers = {**headers, "credentials": call.credentials.identity()}
        task.asked = call
        task.cache_key = key(
            # Who may not call private addresses must not read, either, what others got from there.
            f"public {call.method}" if task.errand.public else call.method,
            call.url,
            body=body if isinstance(body, bytes) else None,
            headers=headers,
            vary=(*ALWAYS_VARY, *rule.vary),
            query=rule.key,
        )
        return True

    def fresh(self, task: Task, use: CacheUse) -> Answer | None:
        """Give the answer that may be served as it is."""
        now = self._clock.wall()
        entry = self._find(task, now)
        if entry is not None and now < _expiry(task, entry):
            return self._answer(task, entry, use)
        if entry is not None:
            self._recollect(task, entry)
        return None

    def _recollect(self, task: Task, entry: Entry) -> None:
        """Remember an old answer that may do if the call fails, or that it can ask about."""
        rule = task.job.cache
        if rule is not None and entry.status in statuses(task.ok) and (entry.conditions or rule.stale_if_error):
            task.known = entry

    def stale(self, task: Task) -> Answer | None:
        """Give the old answer to a task whose API fails, if there is one that may be used."""
        entry, rule = task.known, task.job.cache
        if entry is None or rule is None or not rule.stale_if_error:
            return None
        if not entry.stored_at <= self._clock.wall() < _expiry(task, entry) + rule.stale_if_error:
            return None
        return self._answer(task, entry, "stale")

    def ask(self, task: Task) -> None:
        """Let a task's call ask whether the old answer still holds."""
        if task.asked is not None and task.known is not None and task.known.conditions:
            request = task.asked.request.copy()
            request.headers.update(task.known.conditions)
            task.call = dataclasses.replace(task.asked, request=request)

    def renewed(self, task: Task, response: Response) -> Answer | None:
        """Give the answer to a task that was told that the old one still holds; None if that is gone meanwhile.

        In either case the task's call asks for nothing any more.
        """
        entry, rule, now = task.known, task.job.cache, self._clock.wall()
        if entry is None or rule is None or task.asked is None:
            return None
        task.known, task.call = None, task.asked
        entry = entry.renewed(now, now + rule.ttl, response.headers)
        answer = self._answer(task, entry, "revalidated")
        if answer is not None:
            self._store.put(task.cache_key or "", entry, keep=_keep(entry, rule))
        return answer

    def shared(self, leader: Task, follower: Task, response: Response) -> Answer | None:
        """Give a follower the response of its leader, if it would have got the same."""
        digest = _varied(leader, response.headers)
        if response.status not in statuses(follower.ok) or digest is None:
            return None
        if digest != _varied(follower, response.headers):
            return None
        follower.cache_use = "shared"
        return follower.answer("done", self._clock.wall(), response)

    def keep(self, task: Task, answer: Answer) -> None:
        """Store what a call brought, if the task's rule says so."""
        response, rule, now = answer.response, task.job.cache, self._clock.wall()
        if response is None or rule is None or task.asked is None:
            return
        lifetime, digest = rule.lifetime(response.status, task.ok), _varied(task, response.headers)
        # A failure with a status that is none was told by something else, such as the answer's CORS headers.
        if lifetime is None or digest is None or answer.ok != (response.status in statuses(task.ok)):
            return
        entry = Entry(
            stored_at=now,
            expires_at=now + lifetime,
            request={"api": task.api.name, "method": task.asked.method, "url": task.asked.shown},
            status=response.status,
            headers=dict(response.headers),
            body=response.body,
            varied=digest,
        )
        if response.side is None:
            self._store.put(task.cache_key or "", entry, keep=_keep(entry, rule))
            return
        entry = entry._replace(side=Side(response.size, response.sha256 or ""))
        # The side file is open for writing only; a disk that cannot read it back just keeps nothing.
        with suppress(OSError), open(response.side.name, "rb") as body:
            self._store.put(task.cache_key or "", entry, body, keep=_keep(entry, rule))

    def _find(self, task: Task, now: float) -> Entry | None:
        """Give the entry to a task's key that a request like its own has made, however old."""
        entry = self._store.find(task.cache_key or "", now)
        if entry is not None and entry.varied and entry.varied != _varied(task, entry.headers):
            return None
        return entry

    def _answer(self, task: Task, entry: Entry, use: CacheUse) -> Answer | None:
        """Make the answer of an entry; None when its body is not there any more."""
        response = self._response(task, entry)
        if response is None:
            return None
        task.cache_use = use
        now = self._clock.wall()
        if response.status in statuses(task.ok):
            return task.answer("done", now, response)
        return task.answer("failed", now, response, fault=of_status(response.status, response.headers, now))

    def _response(self, task: Task, entry: Entry) -> Response | None:
        side, spill = entry.side, task.errand.spill
        if spill is None or entry.size <= self._inline:
            body = entry.body if side is None else self._store.body(task.cache_key or "", side)
            return None if body is None else Response(entry.status, entry.headers, body, size=len(body))
        out = None
        # Without room for the file nothing is known; the call will say so, or find that there is room again.
        with suppress(OSError):
            out = spill()
            if self._pour(task.cache_key or "", entry, out):
                return Response(
                    entry.status, entry.headers, side=out, size=entry.size, sha256=side.sha256 if side else None
                )
        if out is not None:
            with suppress(OSError):
                out.close()
        return None

    def _pour(self, name: str, entry: Entry, out: BinaryIO) -> bool:
        if entry.side is not None and not self._store.copy_body(name, entry.side, out):
            return False
        out.write(entry.body)
        out.flush()
        return True


def _expiry(task: Task, entry: Entry) -> float:
    """Say until when an entry is fresh for a task, which may want it fresher than the one that stored it."""
    lifetime = task.job.cache.lifetime(entry.status, task.ok) if task.job.cache else None
    return entry.stored_at if lifetime is None else min(entry.expires_at, entry.stored_at + lifetime)


def _keep(entry: Entry, rule: CacheRule) -> float:
    """Say for how many seconds past its end an entry is of use."""
    return max(rule.stale_if_error, KEPT_TO_ASK if entry.conditions else 0.0)


def _varied(task: Task, headers: Mapping[str, str]) -> str | None:
    vary = next((value for name, value in headers.items() if name.lower() == "vary"), "")
    return varied(task.asked.request.headers, vary) if vary and task.asked is not None else ""
