"""Dropping failed jobs again: what `mv failed/NAME.json inbox/` does, with the attachments it needs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from inboxd.daemon import names
from inboxd.daemon.drop import NO_SPOOL
from inboxd.daemon.spool import Spool
from inboxd.jobs.api import Apis
from inboxd.jobs.calls import plain
from inboxd.jobs.faults import Invalid
from inboxd.jobs.job import parse
from inboxd.jobs.units import duration


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of all failed jobs: those for the API `api`, as `apis` knows them, and since `after` (wall time)."""

    api: str | None = None
    apis: Apis | None = None
    after: float | None = None

    def has(self, spool: Spool, filename: str) -> bool:
        """Tell whether a file in failed/ is among them. Of a batch one line is enough."""
        if self.after is not None and spool.failed_at(filename) < self.after:
            return False
        if self.apis is None:
            return True
        return any(self._is_for(line) for line in spool.failed_lines(filename))

    def _is_for(self, line: bytes) -> bool:
        assert self.apis is not None
        try:
            return self.apis.of(plain(parse(line), self.apis).url).name == self.api
        except Invalid:
            return False


ALL = Wanted()


def moment(text: str, now: float) -> float:
    """Read a time that has been: an age as `2h`, or an instant, local unless it says otherwise. Raises ValueError."""
    with suppress(ValueError):
        return now - duration(text)
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise ValueError(
            f'"{text}" is no time; expected an age as 2h or 7d, or an instant as 2026-11-22T08:00'
        ) from None


def retry_all(folder: str, wanted: Iterable[str] | None, among: Wanted = ALL) -> tuple[list[str], list[str]]:
    """Move the jobs named, or all that are `among`, back into the inbox; gives the files moved, and what went wrong."""
    spool = Spool(folder)
    moved: list[str] = []
    problems: list[str] = []
    try:
        filenames = [name for name in spool.failures() if names.is_job(name) and among.has(spool, name)]
    except FileNotFoundError:
        return [], [f"{folder}: {NO_SPOOL}"]
    except OSError as error:
        return [], [f"{error.filename}: cannot be looked at: {error.strerror}"]
    for want in sorted(filenames) if wanted is None else wanted:
        chosen = _chosen(want, filenames)
        if not chosen:
            problems.append(f"{want}: not in failed/")
        for filename in chosen:
            if (problem := _retry(spool, filename)) is not None:
                problems.append(problem)
            else:
                moved.append(filename)
    return moved, problems


def _chosen(want: str, filenames: list[str]) -> list[str]:
    """Give the file of that name, or else, of the tree of that name, all that failed and none that will follow them."""
    for name in (want, f"{want}.json", f"{want}.jsonl"):
        if name in filenames:
            return [name]
    below = {filename: names.bare(os.path.splitext(filename)[0]) for filename in filenames}
    below = {filename: name for filename, name in below.items() if names.is_below(name, want)}
    return sorted(
        filename for filename, name in below.items() if not any(names.is_below(name, other) for other in below.values())
    )


def _retry(spool: Spool, filename: str) -> str | None:
    """Move one job, after its attachments; gives what went wrong, and then nothing has moved."""
    try:
        attachments = sorted(set(_attachments(spool, filename)))
        present = set(spool.failures())
        for each in (*attachments, filename):
            # What lies in the inbox under the same name belongs to another job.
            if each in present and os.path.lexists(os.path.join(spool.inbox, each)):
                return f"{filename}: another {each} waits in the inbox; try again when it is gone"
        for attachment in attachments:
            # Whoever dropped a job without its attachment puts it into the inbox himself.
            with suppress(FileNotFoundError):
                spool.drop_again(attachment)
        spool.drop_again(filename)
    except OSError as error:
        return f"{filename}: {error.strerror}"
    return None


def _attachments(spool: Spool, filename: str) -> Iterator[str]:
    present = set(spool.failures())
    for line in spool.failed_lines(filename):
        # What never was a job has no attachments, and is answered as such once more.
        with suppress(Invalid):
            job = parse(line)
            yield from job.attachments
            # Which argument of a call names a file, only the config knows; what lies there and is no job must be it.
            given = [value for value in (job.arguments or {}).values() if isinstance(value, str)]
            yield from (value for value in given if not names.is_job(value) and value in present)
