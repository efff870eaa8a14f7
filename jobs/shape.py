"""What a call's value becomes in Python: an object of a class, a dataclass or pydantic model, or what a function gives.

The one rule: a value that does not fit is a failed answer and stops nobody else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, get_origin, is_typeddict

from pydantic import BaseModel, TypeAdapter, ValidationError

from inboxd.jobs.result import Answer, Problem


class Shape:
    """Shapes values with `of`: a pydantic model, a dataclass, a type such as `list[Product]`, or any callable.

    A list is shaped item by item, but by a type that has parameters, which says itself what it takes.
    """

    def __init__(self, of: Any) -> None:
        self._whole = get_origin(of) is not None
        if self._whole or is_dataclass(of) or is_typeddict(of) or (isinstance(of, type) and issubclass(of, BaseModel)):
            adapter: TypeAdapter[Any] = TypeAdapter(of)
            self._make: Callable[[Any], Any] = adapter.validate_python
        elif callable(of):
            self._make = of
        else:
            raise TypeError(f"shape: expected a type or a callable, found {of!r}")

    def apply(self, answer: Answer) -> None:
        """Put the shaped value into an answer that is done; one that does not fit makes it a failed one."""
        if not answer.ok or answer.response is None:
            return
        try:
            value = answer.value if answer.selected else answer.response.json()
            each = isinstance(value, list) and not self._whole
            answer.value = [self._make(item) for item in value] if each else self._make(value)
            answer.selected = True
        except Exception as error:  # a stranger's function may raise anything, and harms this answer only
            answer.status, answer.error = "failed", Problem("bad_response", f"shape: {_sentence(error)}")


def _sentence(error: Exception) -> str:
    if isinstance(error, ValidationError):
        # Without the values, which may be anybody's data.
        return ". ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
            for one in error.errors(include_url=False, include_input=False)
        )
    return f"{type(error).__name__}: {error}"
