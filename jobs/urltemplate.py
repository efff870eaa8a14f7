"""URI templates (RFC 6570), as a named call has one for its path.

The one rule: an argument stays in its place. It is percent-encoded, and in a path it is neither empty nor a way to
another folder. All failures are `TemplateError`s that say where.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import uritemplate

from inboxd.jobs.findings import JSON
from inboxd.jobs.template import TemplateError, number

# RFC 6570 without the operators + and #, which would let an argument write path and query as it likes.
_VARIABLE = re.compile(
    r"\{([./;?&]?)((?:[A-Za-z0-9_]+(?:\*|:[1-9]\d{0,3})?)(?:,[A-Za-z0-9_]+(?:\*|:[1-9]\d{0,3})?)*)\}"
)
_IN_QUERY = frozenset("?&")
_LITERAL = re.compile(r"[^\s{}#\\\x00-\x1f\x7f]*")
_DOT = re.compile(r"(?:\.|%2e){1,2}", re.IGNORECASE)


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
    text = value if isinstance(value, str) else number(value)
    if in_path and not text:
        raise TemplateError("found an empty text; the path needs something here")
    # Servers that decode %2F before they look at the path exist, so this is refused and not just encoded.
    if in_path and any(part in {".", ".."} for part in re.split(r"[/\\]", text)):
        raise TemplateError('"." and ".." cannot stand as a segment of a path')
    return text
