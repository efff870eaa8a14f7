"""Why a job is where it is, in one sentence: what it waits for, since when, how long still, and what to do about it.

`look` gathers what can be seen from outside: the folders, the job's own file, what the daemon last wrote about itself.
`reason` decides from that alone, or from what the daemon sees of itself (`whereabouts`). What goes wrong: from outside
the daemon's own words are up to a second old.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from inboxd.daemon import names
from inboxd.daemon.aside import WAY, find, nearest
from inboxd.daemon.config import Config
from inboxd.daemon.inflight import Page
from inboxd.daemon.names import Claim
from inboxd.daemon.spool import Spool
from inboxd.daemon.status import SILENT, STANDS, silence
from inboxd.jobs.api import Api, Apis
from inboxd.jobs.calls import plain
from inboxd.jobs.faults import Invalid
from inboxd.jobs.ids import time_of
from inboxd.jobs.job import Job, parse

# A name that is none of a job's, but that people would take for one.
OTHER_FILES = ".json or .jsonl"


@dataclass(slots=True)
class Seen:
    """What can be seen of one job. Times are wall times; `daemon` is what status.json says, {} when none runs."""

    folder: str
    filename: str
    name: str
    claim: Claim | None = None
    mtime: float = 0.0
    runs: bool = False
    daemon: dict[str, Any] = field(default_factory=dict)
    job: Job | None = None
    api: Api | None = None
    paused: bool = False
    called: bool = False
    unwanted: bool = False
    # Jobs of the same API in memory that came before it; files in the inbox; attachments that are not there yet.
    ahead: int = 0
    beside: int = 0
    missing: tuple[str, ...] = ()
    # Of the jobs that it comes after, those that nobody has dropped.
    unknown: tuple[str, ...] = ()
    # For how many seconds a daemon that runs has said nothing.
    silent: float = 0.0
    answer: dict[str, Any] | None = None


def look(spool: Spool, want: str, config: Config) -> list[Seen]:
    """See what there is of the jobs called `want`; raises FileNotFoundError where there is no spool."""
    found = [
        Seen(place.folder, place.filename, place.name, place.claim) for place in find(spool, want, (*WAY, "failed"))
    ]
    answers = [Seen("outbox", f"{want}.json", want, answer=answer) for answer in _answers(spool, want)]
    waiting = [seen for seen in found if seen.folder != "failed"]
    if not waiting and not answers and os.path.lexists(os.path.join(spool.inbox, want)):
        waiting = [Seen("inbox", want, want)]
    seen = waiting or answers[-1:] or found
    for one in seen:
        _look_closer(spool, one, config)
    return seen


def _answers(spool: Spool, name: str) -> list[dict[str, Any]]:
    found = []
    for batch in (False, True):
        for data in spool.answers(name, batch=batch):
            with suppress(ValueError):
                found.append(json.loads(data))
    return found


def _look_closer(spool: Spool, seen: Seen, config: Config) -> None:
    path = os.path.join(spool.folder(seen.folder), seen.filename)
    with suppress(OSError):
        seen.mtime = os.stat(path).st_mtime
    seen.runs = spool.is_served()
    if seen.runs:
        with suppress(OSError, ValueError), open(spool.state("status.json"), "rb") as file:
            seen.daemon = json.load(file)
        seen.silent = silence(seen.daemon, time.time())
    seen.beside = len(os.listdir(spool.inbox))
    if seen.claim is not None:
        seen.called = seen.runs and is_called(spool, seen.claim.token)
        seen.unwanted = seen.filename in spool.wishes("cancel")
    apis = Apis(config.apis, config.defaults)
    seen.job, seen.api = job_of(path, apis)
    if seen.api is not None:
        seen.paused = seen.api.name in map(unquote, spool.wishes("paused"))
    if seen.job is not None and seen.folder == "deferred":
        seen.unknown = tuple(name for name in seen.job.after or () if not _is_known(spool, name))
    if seen.job is not None and seen.claim is not None and seen.folder == "active":
        taken = spool.attachments_of(seen.claim.token)
        seen.missing = tuple(name for name in seen.job.attachments if name not in taken)
        seen.ahead = _ahead(spool, seen.claim, seen.api, apis)


def _is_known(spool: Spool, name: str) -> bool:
    return bool(find(spool, name)) or spool.is_answered(name)


def is_called(spool: Spool, token: str) -> bool:
    """Tell whether a process is calling a job just now, as its page says."""
    pages = [name for name in os.listdir(spool.folder("state")) if name.startswith("inflight")]
    return any(token in Page(spool.state(page)).under_way() for page in pages)


def job_of(path: str, apis: Apis) -> tuple[Job | None, Api | None]:
    """Read a single job and the API that it is for; nothing for a batch, or for what is no job."""
    if path.endswith(".jsonl"):
        return None, None
    try:
        with open(path, "rb") as file:
            job = plain(parse(file.read()), apis)
    except (OSError, Invalid):
        return None, None
    return job, apis.of(job.url)


def _ahead(spool: Spool, claim: Claim, api: Api | None, apis: Apis) -> int:
    """Count the jobs in memory that were claimed before; there are not more of them than the window holds."""
    count = 0
    for other in spool.claims():
        if other.token < claim.token and other.kind == ".json":
            _, theirs = job_of(spool.path(other), apis)
            count += theirs is not None and api is not None and theirs.name == api.name
    return count


# -- deciding ---------------------------------------------------------------------------------------------------


def reason(seen: Seen, now: float) -> str:  # noqa: PLR0911  # a list of cases reads best as one
    """Say in one sentence why the job is where it is at `now`."""
    if seen.folder == "outbox":
        return _answered(seen.answer or {})
    if seen.folder == "hold":
        return f"put aside in hold/; `inboxd release {seen.name}` lets it go on"
    if seen.folder == "failed":
        return f"it did not end well, and its answer is gone; `inboxd retry {seen.name}` tries again"
    if seen.unwanted:
        return "it is being taken back" + ("" if seen.runs else ", as soon as a daemon runs")
    since = time_of(seen.claim.token) if seen.claim is not None else seen.mtime
    waiting = f"waiting {span(now - since)}: "
    if not seen.runs:
        return waiting + "no daemon is running; start one with `inboxd run`"
    if seen.silent > SILENT:
        return f"{waiting}the daemon has said nothing for {span(seen.silent)}; {STANDS}"
    if seen.folder == "inbox":
        return waiting + _in_inbox(seen, now)
    return waiting + _paused_or(seen, _deferred(seen, now) if seen.folder == "deferred" else _active(seen, now))


def _answered(answer: dict[str, Any]) -> str:
    if "statuses" in answer:
        counts = ", ".join(f"{count} {status}" for status, count in answer["statuses"].items())
        return f"the batch is answered: {counts}"
    tries = len(answer.get("attempts", ()))
    times = "1 attempt" if tries == 1 else f"{tries} attempts"
    text = f"answered {answer.get('status', '?')} at {answer.get('finished', '?')} after {times}"
    error = answer.get("error")
    return f"{text}: {error['kind']}: {error['message']}" if error else text


def _in_inbox(seen: Seen, now: float) -> str:
    if not names.is_job(seen.filename):
        if seen.filename.startswith(".") or seen.filename.endswith(names.UNFINISHED):
            return "it is no job by its name, which says that it is not finished; rename it when it is"
        return f"it is no job by its name, which should end in {OTHER_FILES}; a job may name it as its attachment"
    trouble = seen.daemon.get("trouble") or ()
    if trouble:
        return f"nothing is claimed: {'; '.join(trouble)}"
    if 0 <= now - seen.mtime < 1.0:
        return "it was written to just now, and may not be finished"
    window = seen.daemon.get("window", {})
    held = f"{window.get('held', '?')} of {window.get('of', '?')} jobs are in memory"
    return f"{held}, and {seen.beside} files in the inbox; it is claimed as there is room"


def _paused_or(seen: Seen, otherwise: str) -> str:
    if seen.paused and seen.api is not None and not seen.called:
        return f"{seen.api.name} is paused; `inboxd resume {seen.api.name}` lets it go on"
    return otherwise


def _deferred(seen: Seen, now: float) -> str:
    due = f"{clock(seen.mtime, now)}, in {span(seen.mtime - now)}"
    job, trace = seen.job, seen.job.trace if seen.job is not None else None
    if seen.mtime <= now:
        return f"its time has come; it is taken up as there is room{_room(seen)}"
    if job is not None and job.not_before is not None and job.not_before >= seen.mtime - 1:
        return f"it asked for not_before: {due}"
    last = trace.attempts[-1] if trace is not None and trace.attempts else None
    if last is not None and last.get("fault"):
        assert trace is not None
        return f"{_attempt(seen, trace.tried)} failed ({last['fault']}); the next is at {due}"
    if job is not None and job.after:
        missing = f"; nobody has dropped {' or '.join(seen.unknown)} yet" if seen.unknown else ""
        return f"it comes after {' and '.join(job.after)}, which must be done before{missing}"
    if job is not None and job.delay:
        return f"it asked for a delay of {span(job.delay)}: {due}"
    where = f"{seen.api.name} has its share of the jobs in memory" if seen.api else "there is no room in memory"
    return f"{where}; it is looked at again at {due} at the latest"


def _room(seen: Seen) -> str:
    """Say for which API there is no room, and who has it."""
    if seen.api is None:
        return ""
    lane, window = seen.daemon.get("lanes", {}).get(seen.api.name), seen.daemon.get("window")
    if lane is None or window is None:
        return f" for {seen.api.name}"
    has = lane["running"] + lane["waiting"]
    return f" for {seen.api.name}, which has {has} of the {window['of']} jobs that memory may hold"


def _attempt(seen: Seen, tried: int) -> str:
    """Name the last attempt; they are counted over all rounds."""
    given = seen.job.attempts if seen.job is not None else None
    of = given if given is not None else seen.api.attempts if seen.api is not None else None
    if of is None or tried <= of:
        return f"attempt {tried} of {of or '?'}"
    return f"attempt {(tried - 1) % of + 1} of {of} in round {(tried - 1) // of + 1}"


def _active(seen: Seen, now: float) -> str:  # noqa: PLR0911  # a list of cases reads best as one
    if seen.called:
        return "it is being called just now"
    if seen.claim is not None and seen.claim.many and seen.job is None:
        return _batch(seen)
    if seen.missing:
        return f'its attachment "{seen.missing[0]}" is not in the inbox yet'
    if seen.api is None:
        return "it is not readable as a job yet; it may still be being written"
    api = seen.api
    lane = seen.daemon.get("lanes", {}).get(api.name, {})
    rests, ahead = lane.get("rests_for", 0.0), f"{seen.ahead} job{'' if seen.ahead == 1 else 's'} ahead"
    if rests > 0:
        why = f"after {lane['faults']} faults in a row" if lane.get("trips") else "because its server said so"
        return f"{api.name} rests until {clock(now + rests, now)} {why}; {ahead}"
    if lane.get("trips"):
        return (
            f"{api.name} failed {lane['faults']} times in a row, and one job is on its way to see whether it still does"
        )
    if api.concurrency is not None and lane.get("running", 0) >= api.concurrency:
        calls = "one call" if api.concurrency == 1 else f"{api.concurrency} calls"
        return f"{api.name} has its {calls} at a time under way; {ahead}"
    if api.rate is not None:
        takes = seen.ahead / api.rate.per_second
        return f"{api.name} is at {api.rate.calls:g}/{_period(api.rate.period)}, {ahead}, some {span(takes)}"
    return f"the threads are busy with other calls; {ahead}"


def _batch(seen: Seen) -> str:
    for batch in seen.daemon.get("batches", ()):
        if batch["name"] == seen.name and batch.get("put_aside"):
            return f"{batch['answered']} lines are answered; it goes to hold/ when the calls under way have ended"
        if batch["name"] == seen.name:
            return f"the batch is under way, {batch['answered']} lines are answered"
    return "the batch is one of many; it is read as soon as another one is through"


def _period(seconds: float) -> str:
    return {1.0: "s", 60.0: "min", 3600.0: "h"}.get(seconds, f"{seconds:g} s")


def span(seconds: float) -> str:
    """Say how long something takes: 12 s, 4 m 10 s, 3 h 5 m, 2 d 4 h."""
    whole = max(int(seconds), 0)
    for above, unit, below, lower in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= above:
            return f"{whole // above} {unit} {whole % above // below} {lower}"
    return f"{whole} s"


def clock(moment: float, now: float) -> str:
    """Say when, as the clock on the wall does; with the date when that is not today's."""
    at = time.localtime(moment)
    today = at[:3] == time.localtime(now)[:3]
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", at)


def sentence(spool: Spool, want: str, seen: list[Seen], now: float) -> str:
    """Say it of all that were seen, one a line, or that there is none."""
    if not seen:
        raise LookupError(f"{want}: no job of that name or id{nearest(spool, want, (*WAY, 'failed', 'outbox'))}")
    return "\n".join(f"{one.folder}/{one.filename}: {reason(one, now)}" for one in seen)
