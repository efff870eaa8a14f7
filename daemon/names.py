"""What files are called: jobs as they are dropped, claims in active/ and deferred/, attachments, parts of answers.

`~` is kept for the names that we make: NAME~ID.json is a claimed job, ~ID@FILE its attachment, NAME~r2 a second answer
of the same name. A dropped name that holds one is refused, so that none of ours can be forged.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from inboxd.jobs.ids import time_of, uuid7

# What editors and uploads call a file that is not finished.
UNFINISHED = (".tmp", ".part", "~", ".swp")
# NAME~ID.jsonl must fit into the 255 bytes of a file name.
LONGEST_NAME = 200
# Of a folder for sheets, which leaves at least 50 to theirs.
LONGEST_CALL = 150
SHEET = ".csv"
TILDE = 'the name holds a "~", which is kept for the names that inboxd makes; rename the file'

TOKEN = r"(?P<token>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
# What came over HTTP is called so, and whatever follows from it begins with its name: so the name tells, across
# restarts and in failed/ too, which jobs have fewer rights than those of people who may write files.
POSTED = "http-"
# The id of a job that shares a file with others: that of the file, and the line in it.
SHARED = re.compile(rf"{TOKEN}:(?P<line>\d{{1,9}})")
_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,149}")
# What the name of a job that follows others has after that of its tree's first job.
_IN_TREE = re.compile(r"(?:~(?:[1-9]\d*(?:\.[1-9]\d*)?|callback))+\Z")
# A sheet's kind holds the name of its call, so that nothing but the file's own name has to survive a crash.
_CLAIMED = re.compile(rf"(?P<name>.+)~{TOKEN}(?P<kind>\.jsonl?|~[^~]+\.csv)(?P<lines>)", re.DOTALL)
_ATTACHED = re.compile(rf"~{TOKEN}@(?P<name>.+)", re.DOTALL)
_PART = re.compile(rf"\.(?P<name>.+)~{TOKEN}(?P<kind>~[^~]+\.csv)?(?P<lines>\.jsonl)\.part", re.DOTALL)
# The name under which a job that failed a second time lies in failed/; dropped again, it is NAME once more.
_RETRIED = re.compile(r"(?P<name>.+)~r\d+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Claim:
    """A job file that is ours: its name, the token that tells it from all others, and its kind.

    That is .json, .jsonl, or ~CALL.csv of a sheet for a named call.

    `trouble` says what is wrong with its name; such a file is answered and not read. `fresh` tells that it came out of
    the inbox just now and nobody knows the token yet, so that it can go back there without it.
    """

    name: str
    token: str
    kind: str
    trouble: str | None = None
    fresh: bool = field(default=False, compare=False)

    @property
    def filename(self) -> str:
        """What the file is called in active/ and deferred/."""
        return f"{self.name}~{self.token}{self.kind}"

    @property
    def call(self) -> str | None:
        """The call that each row of a sheet makes."""
        return self.kind[1:].removesuffix(SHEET) if self.kind.endswith(SHEET) else None

    @property
    def many(self) -> bool:
        """Tell whether it holds many jobs."""
        return self.kind != ".json"

    @property
    def dropped(self) -> str:
        """Where it was dropped, as seen from the inbox; and where it lies in failed/."""
        return f"{self.name}{self.kind}" if self.call is None else f"{self.call}/{self.name}{SHEET}"


def is_job(filename: str) -> bool:
    """Tell whether a file of this name in the inbox is a job; all others wait there as attachments."""
    return (
        filename.lower().endswith((".json", ".jsonl"))
        and not filename.startswith(".")
        and not filename.endswith(UNFINISHED)
    )


def is_sheet(filename: str) -> bool:
    """Tell whether a file of this name in the folder of a call is a CSV file that is finished."""
    return filename.lower().endswith(SHEET) and not filename.startswith(".")


def is_for_sheets(folder: str) -> bool:
    """Tell whether a folder of this name takes sheets: it is called like a call, API.CALL."""
    plain = "." in folder and "~" not in folder and not folder.startswith(".") and folder.isprintable()
    return plain and len(os.fsencode(folder)) <= LONGEST_CALL


def new_claim(filename: str, call: str | None = None) -> Claim:
    """Make the claim of a file that lies in the inbox, or in its folder for sheets of a `call`."""
    name, kind = os.path.splitext(filename)
    name, kind = bare(name), kind.lower()
    if call is None:
        return Claim(_storable(name), uuid7(), kind, trouble(name, in_tree=kind == ".json"), fresh=True)
    longest = LONGEST_NAME - len(os.fsencode(call))
    kind = f"~{call}{SHEET}"
    return Claim(_storable(name, longest), uuid7(), kind, trouble(name, longest), fresh=True)


def is_posted(name: str) -> bool:
    """Tell whether a job of this name came over HTTP, or follows from one that did."""
    return name.startswith(POSTED)


def of_posted(identifier: str) -> str:
    """Give the name of a job that came over HTTP: its id where a file can be called so, else a digest of it."""
    if _PLAIN_ID.fullmatch(identifier):
        return POSTED + identifier
    from hashlib import sha256  # noqa: PLC0415  # loads OpenSSL, for which `inboxd drop` has no time

    return POSTED + sha256(identifier.encode()).hexdigest()[:40]


def place_of(name: str, line: int | None) -> str:
    """Give what tells a job from all others that came over HTTP: its file's name, and its line if it shares that."""
    return name if line is None else f"{name}:{line}"


def places(identifier: str) -> tuple[str, ...]:
    """Give the places that a job may have that is asked for by this id: as posted, and as a file dropped by hand."""
    shared = SHARED.fullmatch(identifier)
    return (POSTED + identifier,) if shared else (of_posted(identifier), identifier)


def id_first(identifier: str) -> bytes:
    """Give the beginning of the line of a job, or of its answer, by which it is known among others in a file."""
    return b'{"id":' + json.dumps(identifier).encode()


def parse(filename: str) -> Claim | None:
    """Read the name of a file in active/ or deferred/; None when it is not one of ours."""
    return _claim(_CLAIMED.fullmatch(filename))


def parse_part(filename: str) -> Claim | None:
    """Read the name of a batch's unfinished answers; None when it is not one of ours."""
    return _claim(_PART.fullmatch(filename))


def _claim(match: re.Match[str] | None) -> Claim | None:
    if match is None:
        return None
    name, kind = match["name"], match["kind"] or match["lines"]
    return Claim(name, match["token"], kind, trouble(name, in_tree=kind == ".json"))


def claimed_at(token: str) -> float:
    """Say when a job was claimed (wall time), to the millisecond."""
    return time_of(token)


def part(claim: Claim, suffix: str) -> str:
    """Give the name of a batch's unfinished answers."""
    return f".{claim.name}~{claim.token}{claim.kind if claim.call else ''}{suffix}"


def body_of_line(name: str, token: str) -> str:
    """Give the name of the body of a batch's line, which no other batch can have; `token` is the line's."""
    return f"{name}~{token.replace(':', '.')}.body"


def attached(claim: Claim, name: str) -> str:
    """Give the name in active/ of an attachment."""
    return f"~{claim.token}@{name}"


def parse_attached(filename: str) -> tuple[str, str] | None:
    """Read the name of an attachment in active/ as token and name; None when it is not one."""
    match = _ATTACHED.fullmatch(filename)
    return None if match is None else (match["token"], match["name"])


def stems(name: str, start: int = 2) -> Iterator[str]:
    """Give NAME, then NAME~r`start` and so on."""
    yield name
    number = start
    while True:
        yield f"{name}~r{number}"
        number += 1


def trouble(name: str, longest: int = LONGEST_NAME, *, in_tree: bool = False) -> str | None:
    """Say what is wrong with a dropped name; None when it is fine. One `in_tree` may be that of a follower."""
    if "~" in (root(name) if in_tree else name):
        return TILDE
    if len(os.fsencode(name)) > longest:
        return f"the name is longer than {longest} bytes; rename the file"
    if not name.isprintable():
        return "the name is not printable UTF-8; rename the file"
    return None


def bare(stem: str) -> str:
    """Give NAME for NAME~r2, which is what a second answer or a second failure of NAME is called."""
    retried = _RETRIED.fullmatch(stem) if "~" in stem else None
    return retried["name"] if retried else stem


def and_above(name: str) -> Iterator[str]:
    """Give the name of a job, and those of the jobs above it in its tree."""
    yield name
    while name != root(name):
        name = name.rpartition("~")[0]
        yield name


def is_below(name: str, above: str) -> bool:
    """Tell whether a job of this name stands in the tree below one that is called `above`."""
    return name.startswith(f"{above}~") and _IN_TREE.fullmatch(name, len(above)) is not None


def root(name: str) -> str:
    """Give the name of the first job of the tree that a job of this name stands in."""
    return _IN_TREE.sub("", name) if "~" in name else name


def _storable(name: str, longest: int = LONGEST_NAME) -> str:
    """Bring a name to what an answer can be called: UTF-8, and short enough."""
    if name.isascii() and name.isprintable() and len(name) <= longest:
        return name
    text = os.fsencode(name).decode("utf-8", "replace")
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return os.fsencode(text)[:longest].decode("utf-8", "ignore")
