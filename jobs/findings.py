"""What is wrong with a value that people wrote: pydantic's findings as places and sentences.

The one rule: each mistake is told once, at the key the person wrote, with what was expected there. Texts are never
repeated, for they may be secrets, but where only a few words are allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from inboxd.jobs.slips import meant

Steps = tuple[str | int, ...]

# What the types of decoded values are called in JSON.
JSON: Mapping[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


# Mistakes about keys, whatever their values may come to.
_CERTAIN = frozenset({"missing", "extra_forbidden"})


class Finding(NamedTuple):
    """One mistake: the steps that lead to it, and a sentence."""

    steps: Steps
    text: str

    def __str__(self) -> str:
        path = ".".join(map(str, self.steps))
        return f"{path}: {self.text}" if path else self.text


def findings(
    error: ValidationError,
    written: Any,
    model: type[BaseModel],
    words: Mapping[type, str] = JSON,
    is_open: Callable[[Any], object] = lambda _: False,
) -> list[Finding]:
    """Read what pydantic found in `written` for `model`; several findings at one key become one.

    A value that `is_open` may yet become a good one, and nothing is said of it; but a key stays unknown.
    """
    told: dict[Steps, list[str]] = {}
    for detail in error.errors(include_url=False):
        if detail["loc"] and detail["type"] not in _CERTAIN and is_open(detail["input"]):
            continue
        steps = _written(detail, written)
        texts = told.setdefault(steps, [])
        text = _text(detail, steps, model, words)
        # What the other branches of a union expected goes on with the first one's sentence.
        texts.append(text.rpartition("expected ")[2] if texts else text)
    return [Finding(steps, " or ".join(texts)) for steps, texts in told.items()]


def _written(detail: ErrorDetails, written: Any) -> Steps:
    """Leave out the steps that nobody wrote: branches of unions, and what a shorthand stands for."""
    steps: list[str | int] = []
    for step in detail["loc"]:
        match written:
            case dict() if step in written:
                written = written[step]
            case list() if isinstance(step, int):
                written = written[step]
            case _:
                continue
        steps.append(step)
    if detail["type"] == "missing":
        steps.append(detail["loc"][-1])
    return tuple(steps)


def _text(detail: ErrorDetails, steps: Steps, model: type[BaseModel], words: Mapping[type, str]) -> str:
    found = detail["input"]
    expected = re.sub(r"^Input should be (a valid )?", "", detail["msg"]).replace("String should", "a string that must")
    match detail["type"]:
        case "missing":
            return "this key is missing"
        case "extra_forbidden":
            return "unknown key" + meant(str(steps[-1]), _known(model, steps[:-1]))
        case "value_error":
            return str(detail["ctx"]["error"])
        case "model_type" | "dict_type":
            expected = words[dict]
        case "list_type":
            expected = words[list]
        case "bool_type" | "string_type" | "int_type" | "float_type":
            expected = f"a {expected}" if expected[0] not in "aeiou" else f"an {expected}"
    plain = {int, float, str} if detail["type"] == "literal_error" else {int, float}
    return f"found {repr(found) if type(found) in plain else _kind(found, words)}; expected {expected}"


def _kind(value: Any, words: Mapping[type, str]) -> str:
    return words.get(type(value), f"a {type(value).__name__}")


def _known(model: Any, steps: Steps) -> list[str]:
    return [field.alias or name for at in _models(model, steps) for name, field in at.model_fields.items()]


def _models(model: Any, steps: Steps) -> Iterator[type[BaseModel]]:
    """Find the models that `steps` may lead to, through tables, lists and alternatives."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        if not steps:
            yield model
            return
        for name, field in model.model_fields.items():
            if steps[0] in {name, field.alias}:
                yield from _models(field.annotation, steps[1:])
    elif get_origin(model) in {dict, list}:
        if steps:
            yield from _models(get_args(model)[-1], steps[1:])
    else:
        for inner in get_args(model):
            yield from _models(inner, steps)
