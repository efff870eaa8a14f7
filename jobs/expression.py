"""JMESPath expressions that strangers may write: read once, bounded, giving nothing but JSON.

The one rule: an expression can neither run code nor make much more of a value than was there. JMESPath has no loops,
but `[@,@]|[@,@]|…` doubles with every step, so what an expression could multiply is counted when it is read.
All failures are ValueErrors with a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import jmespath
from jmespath import functions
from jmespath.exceptions import JMESPathError
from jmespath.visitor import TreeInterpreter

# In characters. What people write is far shorter, and each is remembered.
LONGEST = 1000
# How many times its input an expression's outcome may be.
MOST_GROWTH = 1000
# In characters, of one joined text: a separator as long as the list has items would square the size.
LONGEST_JOIN = 16 * 1024 * 1024

Node = Mapping[str, Any]
# Nodes whose first child sees the value at hand, and whose others see what the first one gave.
_CHAINS = frozenset(
    {"subexpression", "index_expression", "pipe", "projection", "value_projection", "filter_projection", "flatten"}
)
_TAKES_EXPRESSION = frozenset({"map", "max_by", "min_by", "sort_by"})
# JSON within JSON escapes its quotes again with each turn.
_GROWTH = {"to_string": 3}


class _Functions(functions.Functions):
    """JMESPath's own functions, of which one is bounded."""

    @functions.signature({"types": ["string"]}, {"types": ["array-string"]})
    def _func_join(self, separator: str, texts: list[str]) -> str:
        if len(separator) * len(texts) > LONGEST_JOIN:
            raise ValueError(f"join() makes a text of more than {LONGEST_JOIN} characters")
        return separator.join(texts)


_FUNCTIONS = _Functions()
# It has no state but for what it remembers of its own methods.
_INTERPRETER: Any = TreeInterpreter(jmespath.Options(custom_functions=_FUNCTIONS))


class Expression:
    """One expression. `names` are the first names it looks up."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise ValueError(f"expected an expression of at most {LONGEST} characters")
        self.text = text
        try:
            root: Node = jmespath.compile(text).parsed
            _check(root)
            growth = _growth(root)
            self.names = frozenset(_names(root))
            self._root = root
            # Most expressions are a name, and looking it up needs no interpreter.
            self._name = root["value"] if root["type"] == "field" else None
        except JMESPathError as error:
            reason = str(error).splitlines()[0].partition(", for expression")[0].rstrip(":")
            raise ValueError(f"{text!r} is not a JMESPath expression: {reason}") from None
        except RecursionError:
            raise ValueError("the expression is nested too deeply") from None
        if growth > MOST_GROWTH:
            raise ValueError(
                f"the expression could make {growth:.0f} times its input; at most {MOST_GROWTH} are allowed"
            )

    def search(self, value: Any) -> Any:
        """Evaluate on a JSON value; what is not there is None. Raises ValueError where a function gets a wrong type."""
        if self._name is not None:
            return value.get(self._name) if isinstance(value, Mapping) else None
        try:
            return _INTERPRETER.visit(self._root, value)
        except (JMESPathError, TypeError, ValueError, ArithmeticError) as error:
            raise ValueError(f"{self.text!r} cannot be evaluated: {str(error).splitlines()[0]}") from None
        except RecursionError:
            raise ValueError(f"{self.text!r} cannot be evaluated: the value is nested too deeply") from None


expression: Callable[[str], Expression] = lru_cache(maxsize=1024)(Expression)


def _check(node: Node, *, inside: str = "") -> None:
    """Refuse what would give something else than JSON, and functions that there are not."""
    if node["type"] == "expref" and inside not in _TAKES_EXPRESSION:
        raise ValueError(f"&… stands only in {', '.join(sorted(_TAKES_EXPRESSION))}")
    name = node["value"] if node["type"] == "function_expression" else ""
    if name and name not in _FUNCTIONS.FUNCTION_TABLE:
        raise ValueError(f"there is no function {name}()")
    for child in _children(node):
        _check(child, inside=name)


def _names(node: Node) -> Iterator[str]:
    """Find the names that are looked up in the value the whole expression is given."""
    if node["type"] == "field":
        yield node["value"]
    elif node["type"] == "function_expression" and node["value"] in _TAKES_EXPRESSION:
        for child in _children(node):
            if child["type"] != "expref":
                yield from _names(child)
    else:
        children = _children(node)
        for child in children[:1] if node["type"] in _CHAINS else children:
            yield from _names(child)


def _growth(node: Node) -> float:
    """Bound how many times the value it is given an expression can make: sums side by side, products in a row."""
    below = [_growth(child) for child in _children(node)]
    if node["type"] in _CHAINS or (node["type"] == "function_expression" and node["value"] in _TAKES_EXPRESSION):
        growth = 1.0
        for factor in below:
            growth *= max(factor, 1.0)
        return growth
    return max(sum(below), 1.0) * _GROWTH.get(str(node.get("value")), 1)


def _children(node: Node) -> list[Node]:
    return [child for child in node["children"] if isinstance(child, Mapping)]
