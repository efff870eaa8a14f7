"""What a job may say of the jobs that follow it: followers, written inside it under `then` and `otherwise`.

A follower is a job with gaps, `${parent.…}`, which are filled when its parent has ended. All that can be known before
is checked when the first of its ancestors comes in, so that a slip of the pen is told at once and not in the night.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from inboxd.jobs.faults import Invalid
from inboxd.jobs.fields import Headers, Url
from inboxd.jobs.findings import findings
from inboxd.jobs.patience import Reprocess
from inboxd.jobs.slips import nearest
from inboxd.jobs.template import TemplateError, checked_expression, names
from inboxd.jobs.units import Duration

# Levels of a tree below its root. Each lengthens the names of its files, and no file name is longer than 255 bytes.
DEEPEST = 8
# Of one `for_each`: its children are written at once, and everybody's answers wait meanwhile.
MOST_ITEMS = 1000
# In bytes, as a file's.
LONGEST_NAME = 255
# The names that gaps may begin with; `item` only within a `for_each`.
KIN = frozenset({"parent", "root"})
ITEM = "item"
# What of a follower is not filled with the rest of it: the first two have gaps of their own time, the third is no text.
LATER = frozenset({"then", "otherwise", "for_each"})
# What only the daemon writes.
_OURS = frozenset({"tree", "trace"})


class Tree(BaseModel):
    """Where a job stands: the claim of its tree's root, and the values that its own followers will ask for."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    root: str = Field(pattern=r"^[0-9a-f-]{36}$")
    known: dict[str, Any] = {}


class Callback(BaseModel):
    """Whom to tell how a job has ended: the URL gets a POST, in its own time and with its own attempts."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    url: Url
    headers: Headers = {}
    attempts: int | None = Field(None, ge=1, le=1000)
    timeout: Duration | None = Field(None, gt=0)
    reprocess: Reprocess | None = None


def _followers(value: Any) -> Any:
    if not isinstance(value, list) or not all(isinstance(spec, dict) for spec in value):
        raise ValueError("expected a list of jobs")
    if _height(value) > DEEPEST:
        raise ValueError(f"expected a tree of at most {DEEPEST} levels below its root")
    return value


def _height(value: Any) -> int:
    """Count the levels of followers, up to one more than there may be."""
    level, height = [value], 0
    while level and height <= DEEPEST:
        level = [below for specs in level for spec in specs for below in _below(spec)]
        height += 1
    return height


def _below(spec: Any) -> Iterator[list[Any]]:
    for key in ("then", "otherwise"):
        specs = spec.get(key) if isinstance(spec, dict) else None
        if isinstance(specs, list):
            yield specs


def _callback(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


Followers = Annotated[
    list[dict[str, Any]],
    BeforeValidator(_followers),
    WithJsonSchema({"type": "array", "items": {"type": "object"}}),
]
Expression = Annotated[str, BeforeValidator(checked_expression), WithJsonSchema({"type": "string"})]
CallbackField = Annotated[Callback, BeforeValidator(_callback)]


def _plain(name: str) -> str:
    if not name.isprintable() or name.startswith(".") or "/" in name or not 0 < len(name.encode()) <= LONGEST_NAME:
        raise ValueError("expected names of jobs, as their files are called without the ending")
    return name


Names = Annotated[list[Annotated[str, AfterValidator(_plain)]], Field(max_length=1000)]


def check_first(job: Mapping[str, Any], model: type[BaseModel], tree: Tree | None) -> None:
    """Check a job that is no follower in another any more, and those below it; raises Invalid."""
    if "for_each" in job:
        raise Invalid("for_each: expected only in a job within then or otherwise, for it speaks of a parent's answer")
    check_followers(job, model, KIN.union(tree.known) if tree is not None else KIN)


def check_followers(job: Mapping[str, Any], model: type[BaseModel], known: frozenset[str]) -> None:
    """Check the followers in a job, and theirs, as far as that goes before their gaps are filled; raises Invalid."""
    for key in ("then", "otherwise"):
        for number, spec in enumerate(job.get(key) or ()):
            try:
                _check(spec, model, known)
            except (Invalid, TemplateError) as error:
                raise Invalid(f"{key}.{number}: {error}") from None


def _check(spec: Mapping[str, Any], model: type[BaseModel], known: frozenset[str]) -> None:
    if ours := _OURS & spec.keys():
        raise Invalid(f"{min(ours)}: this key is written by the daemon; leave it out")
    if "for_each" in spec:
        known |= {ITEM}
    for key, value in spec.items():
        for name in sorted((names({key: value}) if key not in LATER else set()) - known):
            raise Invalid(f'{key}: there is no "{name}" here{nearest(name, known)}')
    try:
        model.model_validate(spec)
    except ValidationError as error:
        mistakes = findings(error, spec, model, is_open=names)
        if mistakes:
            raise Invalid(". ".join(map(str, mistakes))) from None
    check_followers(spec, model, known)
