"""The end of a sentence about a name that nobody knows: what was probably meant by it."""

from __future__ import annotations

from collections.abc import Iterable


def meant(name: str, known: Iterable[str]) -> str:
    """Give `; did you mean "…"?` with the nearest name that is known, or nothing when none is near."""
    from difflib import get_close_matches  # noqa: PLC0415  # takes long to load, and is needed after a slip only

    near = get_close_matches(name, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """Give the same, or where none is near all that there are."""
    names = sorted(known)
    return meant(name, names) or (f"; there are {', '.join(names)}" if names else "")
