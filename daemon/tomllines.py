"""In which line of a TOML text a key stands, so that a wrong value can be told with its line.

tomli tells lines only of texts that it cannot read. This is given texts that it did read, so it needs no more than
to tell strings, comments, brackets and keys apart. Keys inside a value, as in an inline table, are not looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import tomli

# Strings of all four kinds, comments, signs, and bare words; white space but the newline separates.
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:\\.|[^"\\])*"|' + r"'[^']*'|"
    r"#[^\n]*|[\[\]{}=.,\n]|[^\s\[\]{}=.,\"'#]+",
    re.DOTALL,
)
_OPEN, _CLOSE = frozenset("[{"), frozenset("]}")

Key = tuple[str, ...]


def lines(text: str) -> dict[Key, int]:
    """Give the line, from 1, of every table and key that is written as a statement, and of what holds it."""
    found: dict[Key, int] = {}
    table: Key = ()
    for number, tokens in _statements(text):
        if tokens[0] == "[":
            table = key = _key(part for part in tokens if part not in {"[", "]"})
        else:
            key = table + _key(iter(tokens[: tokens.index("=")]))
        for length in range(1, len(key) + 1):
            found.setdefault(key[:length], number)
    return found


def _statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Give each header and each key with its value as tokens, with the line it begins in."""
    number, begun, depth = 1, 1, 0
    tokens: list[str] = []
    for match in _TOKEN.finditer(text + "\n"):
        part = match[0]
        if part == "\n" and depth == 0 and tokens:
            yield begun, tokens
            tokens = []
        elif part[0] not in "#\n":
            begun = begun if tokens else number
            tokens.append(part)
            depth += (part in _OPEN) - (part in _CLOSE)
        number += part.count("\n")


def _key(tokens: Iterator[str]) -> Key:
    parts = (part for part in tokens if part != ".")
    return tuple(str(tomli.loads(f"k = {part}")["k"]) if part[0] in "\"'" else part for part in parts)
