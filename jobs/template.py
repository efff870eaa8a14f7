"""`${…}` in parsed JSON, URI templates, selected values: how data gets into a request and out of an answer.

The one rule: data is never read as anything else. Filling happens in the string leaves of JSON that is parsed already
and is done once, so no text that is filled in is looked at again; an argument in a URL is percent-encoded and cannot
leave its segment. `${secret:NAME}` is not data and stays as it is. All failures are `TemplateError`s that say where.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import uritemplate

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

# RFC 6570 without the operators + and #, which would let an argument write path and query as it likes.
_VARIABLE = re.compile(
    r"\{([./;?&]?)((?:[A-Za-z0-9_]+(?:\*|:[1-9]\d{0,3})?)(?:,[A-Za-z0-9_]+(?:\*|:[1-9]\d{0,3})?)*)\}"
)
_IN_QUERY = frozenset("?&")
_LITERAL = re.compile(r"[^\s{}#\\\x00-\x1f\x7f]*")
_DOT = re.compile(r"(?:\.|%2e){1,2}", re.IGNORECASE)


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
        return _number(value)
    kind = JSON.get(type(value), "something else")
    raise TemplateError(f"${{{part.text}}}: found {kind}; within a text stands a text, a number or a boolean")


def _number(value: float) -> str:
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


def expand(template: str, values: Mapping[str, Any]) -> str:
    """Expand a URI template (RFC 6570) whose text was checked by `variables`.

    Values are texts, numbers, booleans, or lists of them; None is the same as absent. Whatever is in a value, it stays
    in its place: it is percent-encoded, and in a path it is neither empty nor a way to another folder (`..`).
    Raises `TemplateError`.
    """
    in_path, parsed = _variables(template)
    given: dict[str, Any] = {}
    for name, needed in in_path.items():
        try:
            given[name] = _uri_value(values.get(name), in_path=needed)
        except TemplateError as error:
            raise error.under(name) from None
    try:
        found = parsed.expand(given)
    except UnicodeEncodeError:
        raise TemplateError("a text holds half a character (a lone surrogate), which no URL can carry") from None
    if any(_DOT.fullmatch(segment) for segment in found.partition("?")[0].split("/")):
        raise TemplateError('"." and ".." cannot stand as a segment of a path')
    return found


def variables(template: str) -> dict[str, bool]:
    """Give the variables of a URI template and whether each stands in the path, where it must have a value.

    Raises `TemplateError` for a text that is no template, or that could let a value write more than its own place.
    """
    return dict(_variables(template)[0])


@lru_cache(maxsize=1024)
def _variables(template: str) -> tuple[Mapping[str, bool], uritemplate.URITemplate]:
    found: dict[str, bool] = {}
    at, in_path = 0, True
    for match in [*_VARIABLE.finditer(template), None]:
        literal = template[at : match.start() if match else len(template)]
        if not _LITERAL.fullmatch(literal):
            raise TemplateError(
                f"{template!r}: expected {{name}} for an argument, and {{?name}} in the query; no spaces, no #, "
                "and neither {+name} nor {#name}, which would let an argument write the path"
            )
        in_path = in_path and "?" not in literal
        if match is not None:
            at = match.end()
            in_path = in_path and match[1] not in _IN_QUERY
            if not in_path and match[1] not in ("", *_IN_QUERY):
                raise TemplateError(f"{template!r}: {match[0]} stands behind the query has begun")
            for name in re.findall(r"([A-Za-z0-9_]+)(?:\*|:\d+)?(?:,|$)", match[2]):
                found[name] = found.get(name, False) or in_path
    if any(_DOT.fullmatch(segment) for segment in template.partition("?")[0].split("/")):
        raise TemplateError(f'{template!r}: "." and ".." have no place in the path')
    return found, uritemplate.URITemplate(template)


def _uri_value(value: Any, *, in_path: bool) -> str | list[str] | None:
    if isinstance(value, list):
        if in_path and not value:
            raise TemplateError("found an empty list; the path needs something here")
        return [_uri_text(one, in_path=in_path) for one in value]
    if value is None:
        if in_path:
            raise TemplateError("found nothing; the path needs a value here")
        return None
    return _uri_text(value, in_path=in_path)


def _uri_text(value: Any, *, in_path: bool) -> str:
    if not isinstance(value, str | int | float):
        kind = JSON.get(type(value), "something else")
        raise TemplateError(f"found {kind}; in a URL stands a text, a number, a boolean, or a list of them")
    text = value if isinstance(value, str) else _number(value)
    if in_path and not text:
        raise TemplateError("found an empty text; the path needs something here")
    # Servers that decode %2F before they look at the path exist, so this is refused and not just encoded.
    if in_path and any(part in {".", ".."} for part in re.split(r"[/\\]", text)):
        raise TemplateError('"." and ".." cannot stand as a segment of a path')
    return text


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
