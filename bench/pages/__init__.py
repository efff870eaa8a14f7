"""The pages of the bench: one module each.

A page is a module here with `PLACE` (its place in the report), `measure(field: Field) -> Page`, and perhaps
`ALONE = True` when it is only run by name. Nothing else needs to know of it.
"""

import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType

from bench.field import Field
from bench.report import Page

Measure = Callable[[Field], Page]


def find() -> dict[str, ModuleType]:
    """Return the pages by name, in the order of the report."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    return {module.__name__.rpartition(".")[2]: module for module in sorted(modules, key=lambda module: module.PLACE)}
