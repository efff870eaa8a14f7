"""The reference pages say what the models say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inboxd.daemon.config import sample
from inboxd.daemon.schemas import schema_of

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize("what", ["job", "answer", "config"])
def test_the_schema_in_docs_is_that_of_the_models(what: str) -> None:
    """If not: make docs."""
    assert json.loads((DOCS / f"{what}.schema.json").read_text()) == schema_of(what)


def test_the_sample_config_in_docs_is_that_of_the_models() -> None:
    """If not: make docs."""
    assert (DOCS / "inboxd.toml").read_text() == sample()
