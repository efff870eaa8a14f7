"""What the page shows, gathered once a second at most however many people look, and not at all when nobody does.

Folders are counted by reading them, which a million files make slow; so the time that takes is kept below a twentieth
of all time. Everything else is in memory already.
"""

from __future__ import annotations

import heapq
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from inboxd.daemon import names
from inboxd.daemon.folders import SHOWN
from inboxd.daemon.inside import Inside
from inboxd.daemon.log import Logs
from inboxd.daemon.news import News, item_of
from inboxd.daemon.whereabouts import Whereabouts
from inboxd.jobs.faults import Invalid
from inboxd.jobs.job import load
from inboxd.jobs.result import isotime

# Failed jobs and log lines that are shown, and jobs that a failed batch's file is read for.
FAILURES = 30
LOG_LINES = 120
# Counting and the like is given this share of the time.
SHARE = 20
LARGEST_READ = 256 * 1024


class PageData:
    """The facts behind the page. Everything here may be called by one thread at a time."""

    def __init__(self, inside: Inside, news: News, whereabouts: Whereabouts) -> None:
        self._inside = inside
        self._spool = inside.spool
        self._news = news
        self._whereabouts = whereabouts
        self._folders: list[dict[str, Any]] = []
        self._count_at = 0.0
        self._failed: list[dict[str, Any]] = []
        self._failed_seen = 0

    def gather(self) -> dict[str, Any]:
        """Give all that is shown at this moment."""
        now = self._inside.clock.wall()
        status = self._inside.status(now)
        return {
            "now": isotime(now),
            "status": status,
            "folders": self._counted(),
            "lanes": self._lanes(status["lanes"], now),
            "answers": self._news.last()[:20],
            "failures": self._failures(),
            "queues": self._queues(),
            "log": self.log_lines(),
            "points": self._news.points(),
        }

    # -- folders ------------------------------------------------------------------------------------------------

    def _counted(self) -> list[dict[str, Any]]:
        began = time.monotonic()
        if began >= self._count_at:
            self._folders = [{"name": name, "count": _count(self._spool.folder(name))} for name in SHOWN]
            took = time.monotonic() - began
            self._count_at = began + max(1.0, SHARE * took)
        return self._folders

    # -- lanes --------------------------------------------------------------------------------------------------

    def _lanes(self, states: dict[str, dict[str, Any]], now: float) -> list[dict[str, Any]]:
        apis, rates = self._inside.worker.client.apis, self._news.rates()
        lanes = []
        for name in sorted({*apis.named, *states, *filter(None, rates)}):
            state = states.get(name, {})
            api = apis.find(name)
            limit = api.rate.per_second if api is not None and api.rate is not None else None
            rests = state.get("rests_for", 0.0)
            lanes.append(
                {
                    "name": name,
                    "rate": rates.get(name, 0.0),
                    "limit": limit,
                    "used": min(rates.get(name, 0.0) / limit, 1.0) if limit else None,
                    "waiting": state.get("waiting", 0),
                    "running": state.get("running", 0),
                    "until": isotime(now + rests) if rests > 0 else None,
                    "why": _why_it_rests(state),
                }
            )
        return lanes

    # -- failures -----------------------------------------------------------------------------------------------

    def _failures(self) -> list[dict[str, Any]]:
        """Give the newest files of failed/ with what went wrong; looked at again when the folder has changed."""
        with suppress(OSError):
            seen = os.stat(self._spool.failed).st_mtime_ns
            if seen != self._failed_seen:
                self._failed = [self._failure(*entry) for entry in self._newest_failed()]
                self._failed_seen = seen
        return self._failed

    def _newest_failed(self) -> list[tuple[float, str]]:
        with os.scandir(self._spool.failed) as entries:
            jobs = ((entry.stat().st_mtime, entry.name) for entry in entries if names.is_job(entry.name))
            return heapq.nlargest(FAILURES, jobs)

    def _failure(self, at: float, filename: str) -> dict[str, Any]:
        stem = os.path.splitext(filename)[0]
        # A second failure lies in failed/ as NAME~r2; its answer may have another number.
        name = stem.partition("~r")[0]
        shown: dict[str, Any] = {"filename": filename, "name": stem, "at": isotime(at), "kind": "", "why": ""}
        answer = self._json(self._whereabouts.answer(name))
        if "first_errors" in answer:
            failed = sum(count for status, count in answer.get("statuses", {}).items() if status != "done")
            first = (answer["first_errors"] or [{}])[0]
            shown["many"] = failed
            answer = first
        error = answer.get("error") or {}
        shown["status"] = answer.get("status", "")
        return shown | {"kind": error.get("kind", ""), "why": error.get("message", "")}

    @staticmethod
    def _json(data: bytes | None) -> dict[str, Any]:
        with suppress(ValueError):
            found = json.loads(data or b"{}")
            return found if isinstance(found, dict) else {}
        return {}

    # -- queues, log --------------------------------------------------------------------------------------------

    def _queues(self) -> list[dict[str, Any]]:
        queues = self._inside.queues
        found = []
        for name in queues.names():
            with suppress(Exception):
                found.append({"name": name, **asdict(queues.get(name).counts())})
        return found

    @staticmethod
    def log_lines(match: str = "") -> list[dict[str, str]]:
        """Give the last lines of the log, those that hold `match`."""
        logs = next((one for one in logging.getLogger().handlers if isinstance(one, Logs)), None)
        lines = list(logs.tail) if logs is not None else []
        return [{"text": line, "level": _level(line)} for line in lines if match in line][-LOG_LINES:]

    # -- one job --------------------------------------------------------------------------------------------------

    def story(self, identifier: str) -> dict[str, Any] | None:
        """Give all that is known of one job: where it is, every attempt, its answer, and its lines of the log."""
        found = self._whereabouts.find(identifier)
        if found is None:
            return None
        answer = self._json(found.answer)
        trace = answer if found.answer else self._trace(found.name)
        return {
            "found": found,
            "due": isotime(found.due) if found.due is not None else None,
            "answer": answer,
            "item": item_of(found.name, None, answer) if found.answer else None,
            "attempts": trace.get("attempts") or [],
            "received": trace.get("received"),
            "text": json.dumps(answer, indent=2, ensure_ascii=False)[:LARGEST_READ] if found.answer else "",
            "log": self.log_lines(answer.get("id") or identifier),
            "retry": next(self._failed_files(found.name), None),
            "cancel": found.answer is None and found.state != "running",
        }

    def _trace(self, name: str) -> dict[str, Any]:
        """Give what a deferred job's file says of its past."""
        with suppress(OSError, Invalid, AttributeError):
            claim = self._spool.claim_of(self._spool.deferred, name)
            if claim is not None:
                path = os.path.join(self._spool.deferred, claim.filename)
                data = self._spool.disk.read_regular(path, LARGEST_READ)[1]
                return dict(load(data).get("trace") or {})
        return {}

    def _failed_files(self, name: str) -> Iterator[str]:
        for kind in (".json", ".jsonl"):
            if os.path.lexists(os.path.join(self._spool.failed, name + kind)):
                yield name + kind


def _count(folder: str) -> int:
    with suppress(OSError), os.scandir(folder) as entries:
        return sum(not entry.name.startswith(".") for entry in entries)
    return 0


def _why_it_rests(state: dict[str, Any]) -> str:
    if not state.get("rests_for"):
        return ""
    return f"after {state['faults']} faults in a row" if state.get("trips") else "because the server said so"


def _level(line: str) -> str:
    head = line[:80]
    return next((level for level in ("error", "warning", "critical") if level in head), "info")
