"""`${…}` in parsed JSON, and selected values: how data gets into a request and out of an answer.

The one rule: data is never read as anything else. Filling happens in the string leaves of JSON that is parsed already
and is done once, so no text that is filled in is looked at again. `${secret:NAME}` is not data and stays as it is. All
failures are `TemplateError`s that say where.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from inboxd.jobs.expression import Expression, expression
from inboxd.jobs.findings import JSON
from inboxd.jobs.slips import nearest

# A reference to a credential, which only the config may hold.
SECRET = re.compile(r"\$\{secret:([A-Za-z0-9_.-]{1,200})\}")
# Longer texts with `${` in them are rare, and would fill the memory if each was remembered.
_USUAL_LENGTH = 1000

_OPENING = re.compile(r"\$?\$\{")
# What a closing brace may hide in: JMESPath's three kinds of quotes, and inner braces.
_INSIDE = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`(?:\\.|[^`\\])*`|[{}]", re.DOTALL)


class TemplateError(ValueError):
    """A template that is none, or that cannot be filled; `steps` lead to the leaf."""

    def __init__(self, message: str, steps: tuple[str | int, ...] = ()) -> None:
        path = ".".join(map(str, steps))
        super().__init__(f"{path}: {message}" if path else message)
        self.message = message
        self.steps = steps

    def under(self, step: str | int) -> TemplateError:
        """Give the same error seen from one level up."""
        return TemplateError(self.message, (step, *self.steps))


def fill(value: Any, scope: Mapping[str, Any]) -> Any:
    """Fill `${expression}` in every string of a JSON value; keys stay as they are.

    A string that is nothing but one `${…}` becomes what the expression gives, whatever its type; within a longer text
    stand only texts, numbers and booleans. The expression is JMESPath on `scope`; its first names must be there, and
    what is missing further down is null. `$${` stands for `${`. Raises `TemplateError`.
    """
    try:
        return _fill(value, scope)
    except RecursionError:
        raise TemplateError("nested too deeply to be filled") from None


def names(value: Any) -> set[str]:
    """Give the first names of all expressions in a JSON value, and so check them; raises `TemplateError`."""
    return {name for parts in _leaves(value) for part in parts if isinstance(part, Expression) for name in part.names}


def secrets(value: Any) -> set[str]:
    """Give the names of the credentials that a JSON value refers to."""
    if isinstance(value, str):
        return set(SECRET.findall(value)) if "${secret:" in value else set()
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set().union(*map(secrets, inner))


def _fill(value: Any, scope: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        return _filled(value, scope) if "${" in value else value
    step: str | int = ""
    filled: list[Any] = []
    try:
        if isinstance(value, dict):
            for step, inner in value.items():  # noqa: B007  # the handler below says where it stopped
                filled.append(_fill(inner, scope))
            return dict(zip(value, filled, strict=True))
        if isinstance(value, list):
            for step, inner in enumerate(value):  # noqa: B007  # the same
                filled.append(_fill(inner, scope))
            return filled
    except TemplateError as error:
        raise error.under(step) from None
    return value


def _leaves(value: Any) -> Iterator[tuple[str | Expression, ...]]:
    """Give the parts of each string with `${` in it."""
    if isinstance(value, str):
        if "${" in value:
            yield _parts(value)
        return
    inner: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for step, one in inner:
        try:
            yield from _leaves(one)
        except TemplateError as error:
            raise error.under(step) from None


def _filled(text: str, scope: Mapping[str, Any]) -> Any:
    parts = _parts(text)
    if len(parts) == 1 and isinstance(parts[0], Expression):
        return _value(parts[0], scope)
    return "".join(part if isinstance(part, str) else _text(part, scope) for part in parts)


def _value(part: Expression, scope: Mapping[str, Any]) -> Any:
    for name in part.names:
        if name not in scope:
            raise TemplateError(f'${{{part.text}}}: there is no "{name}" here{nearest(name, scope)}')
    try:
        return part.search(scope)
    except ValueError as error:
        raise TemplateError(str(error)) from None


def _text(part: Expression, scope: Mapping[str, Any]) -> str:
    value = _value(part, scope)
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return number(value)
    kind = JSON.get(type(value), "something else")
    raise TemplateError(f"${{{part.text}}}: found {kind}; within a text stands a text, a number or a boolean")


def number(value: float) -> str:
    """Write a number or a boolean as JSON does; `json.dumps` takes ten times as long for an integer."""
    return str(value) if type(value) is int else json.dumps(value)


def _parts(text: str) -> tuple[str | Expression, ...]:
    return _remembered(text) if len(text) <= _USUAL_LENGTH else _read(text)


def _read(text: str) -> tuple[str | Expression, ...]:
    """Take a text apart into what stands there literally and what is looked up."""
    parts: list[str | Expression] = []
    literal, at = "", 0
    while (opening := _OPENING.search(text, at)) is not None:
        literal += text[at : opening.start()]
        secret = SECRET.match(text, opening.start())
        if opening[0] == "$${":
            literal, at = literal + "${", opening.end()
        elif secret is not None:
            literal, at = literal + secret[0], secret.end()
        else:
            end = _closing(text, opening.end())
            if literal:
                parts.append(literal)
            parts.append(_expression(text[opening.end() : end]))
            literal, at = "", end + 1
    literal += text[at:]
    return (*parts, literal) if literal or not parts else tuple(parts)


_remembered = lru_cache(maxsize=1024)(_read)


def _closing(text: str, at: int) -> int:
    depth = 1
    for token in _INSIDE.finditer(text, at):
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        if not depth:
            return token.start()
    raise TemplateError("a ${ is never closed; write $${ where you mean the characters themselves")


def _expression(text: str) -> Expression:
    if text.lstrip().startswith("secret:"):
        raise TemplateError("${secret:…}: expected a name of letters, digits, dots, underscores and hyphens")
    try:
        return expression(text.strip())
    except ValueError as error:
        raise TemplateError(str(error)) from None


def select(text: str, value: Any) -> Any:
    """Evaluate a JMESPath expression on a JSON value; what is not there is None. Raises `TemplateError`."""
    try:
        return expression(text).search(value)
    except ValueError as error:
        raise TemplateError(str(error)) from None


def checked_expression(text: Any) -> Any:
    """Check that `text` is an expression for `select`; raises ValueError."""
    if not isinstance(text, str):
        raise TemplateError('expected a JMESPath expression such as "items[].name"')
    try:
        expression(text)
    except ValueError as error:
        raise TemplateError(str(error)) from None
    return text
