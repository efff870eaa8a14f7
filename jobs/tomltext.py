"""Values and tables as TOML text: what people can read, edit and give to the daemon."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

from pydantic import BaseModel

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def table(path: tuple[str, ...], values: Mapping[str, Any]) -> str:
    """Give a table with its header; inner tables are written inline. Raises ValueError for what TOML cannot say."""
    lines = [f"[{'.'.join(map(_key, path))}]"]
    for name, value in values.items():
        try:
            lines.append(f"{_key(name)} = {inline(value)}")
        except ValueError as error:
            raise ValueError(f"{'.'.join((*path, name))}: {error}") from None
    return "\n".join([*lines, ""])


def inline(value: Any) -> str:
    """Give a value on one line."""
    match value:
        case BaseModel():
            return inline(value.model_dump(by_alias=True, exclude_unset=True))
        case Mapping():
            inner = ", ".join(f"{_key(key)} = {inline(one)}" for key, one in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case list() | tuple():
            return f"[{', '.join(map(inline, value))}]"
        case bool() | int() | str():
            # The strings and numbers of JSON are TOML's as well, but for one character.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case float() if isfinite(value):
            return repr(value)
    raise ValueError("TOML has no null" if value is None else f"TOML has no word for {value!r}")


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else inline(name)
