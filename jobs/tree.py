"""What follows what, with which values, and what a failure means for the rest.

`follow` gets a job and its answer and gives all that comes of it at once: jobs to be carried out, filled and checked,
and answers for those that will never run. It does no I/O and always gives the same for the same, so that whoever
crashed between the answer and the children makes just these children again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inboxd.jobs.faults import Invalid
from inboxd.jobs.findings import JSON
from inboxd.jobs.followers import LATER, MOST_ITEMS, Callback
from inboxd.jobs.job import Job, parse_object
from inboxd.jobs.result import Problem, Status
from inboxd.jobs.template import TemplateError, fill, names, select

# Statuses after which `otherwise` runs; a job that was skipped or cancelled never had its chance.
FAILURES = frozenset({"failed", "rejected", "expired"})
CALLBACK = "~callback"
LONGEST_ID = 200

Answer = Mapping[str, Any]
Spec = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Child:
    """One that follows: a `job` to be carried out, or, without one, the end that it has come to already.

    `suffix` is what its name has after its parent's: ~2 for the second of `then`, ~2.17 for the seventeenth item of its
    `for_each`, ~2~1 for a child of a child, ~callback.
    """

    suffix: str
    id: str | None
    job: dict[str, Any] | None = None
    status: Status = "skipped"
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class _Parent:
    """A job that has ended, as its children see it."""

    id: str
    root: str
    # What gaps may be filled with: parent, root, and item within a for_each.
    scope: Mapping[str, Any] = field(default_factory=dict)


def follow(job: Job, answer: Answer) -> Iterator[Child]:
    """Give everything that follows from `answer`, the JSON of the job's answer file."""
    if "repeats" in answer:
        # All that follows has followed already, from the answer that is given here again.
        return
    then, otherwise = job.then or [], job.otherwise or []
    shown, tree = document(answer), job.tree
    root = tree.root if tree is not None else answer["claim"]
    known = dict(tree.known) if tree is not None else {"root": shown}
    parent = _Parent(answer["id"], root, {**known, "parent": shown})
    if answer["status"] == "done":
        yield from _run(then, 1, parent)
    else:
        yield from _skip(then, "", answer["id"], _reason(answer))
        if answer["status"] in FAILURES:
            yield from _run(otherwise, len(then) + 1, parent)
    if job.callback is not None:
        yield Child(CALLBACK, answer["id"], _callback(job.callback, answer, root))


def has_followers(job: Job) -> bool:
    """Tell whether anything follows from the end of a job."""
    return bool(job.then or job.otherwise or job.callback)


def longest_suffix(job: Job) -> int:
    """Say how many characters the longest name in the tree below a job has more than its own."""
    return _longest({"then": job.then, "otherwise": job.otherwise, "callback": job.callback})


def _longest(spec: Spec) -> int:
    lengths = [len(CALLBACK) if spec.get("callback") else 0]
    for number, below in enumerate([*(spec.get("then") or ()), *(spec.get("otherwise") or ())], 1):
        count = f".{MOST_ITEMS}" if "for_each" in below else ""
        lengths.append(len(f"~{number}{count}") + _longest(below))
    return max(lengths)


def named_calls(job: Job) -> Iterator[tuple[str, Collection[str]]]:
    """Give the named calls in the tree below a job, with the names of their arguments, as far as they are known."""
    below = [*(job.then or ()), *(job.otherwise or ())]
    while below:
        spec = below.pop()
        below += [*(spec.get("then") or ()), *(spec.get("otherwise") or ())]
        name, arguments = spec.get("call"), spec.get("with", {})
        if isinstance(name, str) and isinstance(arguments, dict) and not names(name):
            yield name, arguments.keys()


def alone(job: Job) -> Job:
    """Give the job back if it neither follows nor is followed by others; raises Invalid with the reason else."""
    for key in ("then", "otherwise", "after", "callback"):
        if getattr(job, key):
            raise Invalid(f"{key}: only a job with a file of its own in an inbox can have this; drop it as one")
    return job


def document(answer: Answer) -> dict[str, Any]:
    """Give an answer as gaps see it: as in its file, with what they mostly ask for at the top, as in `parent.json.id`.

    What the answer says itself goes before what is taken out of its response.
    """
    response = answer.get("response") or {}
    return {"json": None, "text": None, **{key: value for key, value in response.items() if key != "status"}, **answer}


# -- children that run ------------------------------------------------------------------------------------------


def _run(specs: Sequence[Spec], first: int, parent: _Parent) -> Iterator[Child]:
    for number, spec in enumerate(specs, first):
        suffix = f"~{number}"
        if "for_each" not in spec:
            yield from _born(spec, suffix, parent)
            continue
        try:
            items = _items(spec["for_each"], parent)
        except (Invalid, TemplateError) as error:
            yield from _unborn(spec, suffix, parent, f"for_each: {error}")
            continue
        for count, item in enumerate(items, 1):
            yield from _born(spec, f"{suffix}.{count}", _Parent(parent.id, parent.root, {**parent.scope, "item": item}))
        if not items:
            why = _problem("skipped", f"for_each: {spec['for_each']!r} gave no items")
            yield from _skip([spec], "", parent.id, why, first=number)


def _items(expression: str, parent: _Parent) -> list[Any]:
    found = select(expression, parent.scope["parent"])
    if not isinstance(found, list):
        raise Invalid(f"{expression!r} gave {JSON.get(type(found), 'something else')}; expected a list")
    if len(found) > MOST_ITEMS:
        raise Invalid(f"{expression!r} gave {len(found)} items; at most {MOST_ITEMS} are allowed")
    return found


def _born(spec: Spec, suffix: str, parent: _Parent) -> Iterator[Child]:
    """Give the child that a spec comes to when its gaps are filled."""
    later = {key: spec[key] for key in ("then", "otherwise") if key in spec}
    try:
        job = fill({key: value for key, value in spec.items() if key not in LATER}, parent.scope) | later
        identifier = job.setdefault("id", _id(parent.id, suffix))
        if identifier is None:
            del job["id"]
        job["tree"] = {"root": parent.root, "known": _asked_for(later, parent.scope)}
        parse_object(job)
    except (Invalid, TemplateError) as error:
        yield from _unborn(spec, suffix, parent, str(error))
    else:
        yield Child(suffix, identifier, job)


def _asked_for(later: Mapping[str, Any], scope: Mapping[str, Any]) -> dict[str, Any]:
    """Give of a scope what the followers of a child may ask for; the rest need not be carried along."""
    text = json.dumps(later)
    return {name: value for name, value in scope.items() if name != "parent" and name in text}


def _unborn(spec: Spec, suffix: str, parent: _Parent, message: str) -> Iterator[Child]:
    """Give the end of a child that could not be made, and of those below it."""
    yield Child(suffix, _id(parent.id, suffix), status="rejected", problem=_problem("invalid", message))
    why = _problem("skipped", f"its parent was rejected: {message}")
    yield from _skip(spec.get("then") or (), suffix, parent.id, why)


# -- children that do not ---------------------------------------------------------------------------------------


def _skip(specs: Sequence[Spec], above: str, identifier: str, why: Problem, first: int = 1) -> Iterator[Child]:
    """Give the ends of all that would have run if all had gone well."""
    for number, spec in enumerate(specs, first):
        suffix = f"{above}~{number}"
        yield Child(suffix, _id(identifier, suffix), problem=why)
        yield from _skip(spec.get("then") or (), suffix, identifier, why)


def _reason(answer: Answer) -> Problem:
    """Say why those below a job that did not end well are skipped; those below a skipped one for the same reason."""
    error = answer.get("error") or {}
    message = error.get("message", "")
    if answer["status"] == "skipped":
        return Problem("skipped", message)
    return Problem("skipped", f"{answer.get('name', answer['id'])} {_ENDED[answer['status']]}: {message}")


_ENDED = {"failed": "failed", "rejected": "was rejected", "expired": "expired", "cancelled": "was cancelled"}


def _problem(kind: str, message: str) -> Problem:
    """Make a problem of words that strangers may have had a hand in; a fault's are fit for an answer."""
    return Problem(kind, Invalid(message).message)


def _id(parent: str, suffix: str) -> str | None:
    """Give the request id of a child, so that a search for its root's finds it; None when that would be too long."""
    identifier = parent + suffix
    return identifier if len(identifier) <= LONGEST_ID else None


# -- callbacks --------------------------------------------------------------------------------------------------


def _callback(callback: Callback, answer: Answer, root: str) -> dict[str, Any]:
    """Make the job that tells `callback` of an answer. It has the same id, which is the one in everybody's log."""
    # The server's own eyes must not take it for the job it speaks of.
    headers = {"Idempotency-Key": f"{answer['id']}{CALLBACK}", **callback.headers}
    job = {"id": answer["id"], "method": "POST", "url": callback.url, "headers": headers, "json": _told(answer)}
    chosen = callback.model_dump(include={"attempts", "timeout", "reprocess"}, exclude_none=True)
    return {**job, **chosen, "tree": {"root": root}}


def _told(answer: Answer) -> dict[str, Any]:
    """Give what a callback says: `data` is the value that the job selected, or what the server sent."""
    told: dict[str, Any] = {"requestId": answer["id"], "data": None}
    if answer["status"] == "done":
        response = answer.get("response") or {}
        files = {key: response[key] for key in ("file", "bytes", "sha256") if key in response}
        told["data"] = answer.get("value", response.get("json", response.get("text", files or None)))
    else:
        told["error"] = answer.get("error")
    return told
