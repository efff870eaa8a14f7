"""What a config names by its import path: `package.module:name`, or `package.module:Class.method`."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

_PATH = re.compile(r"[\w.]+:[\w.]+")


def is_path(text: str) -> bool:
    """Tell whether `text` can be an import path."""
    return _PATH.fullmatch(text) is not None


def imported(path: str) -> Any:
    """Import what `path` names; raises whatever its module raises, and AttributeError when that has no such name."""
    module, _, name = path.partition(":")
    found: Any = import_module(module)
    for step in name.split("."):
        found = getattr(found, step)
    return found
