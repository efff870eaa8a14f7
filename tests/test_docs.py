"""The reference pages say what the models say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from inboxd.daemon.config import ConfigError, parse, sample
from inboxd.daemon.schemas import schema_of
from inboxd.jobs.job import parse as parse_job

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize("what", ["job", "answer", "config"])
def test_the_schema_in_docs_is_that_of_the_models(what: str) -> None:
    """If not: make docs."""
    assert json.loads((DOCS / f"{what}.schema.json").read_text()) == schema_of(what)


def test_the_sample_config_in_docs_is_that_of_the_models() -> None:
    """If not: make docs."""
    assert (DOCS / "inboxd.toml").read_text() == sample()


def auths() -> list[str]:
    return [line for line in (DOCS / "calls.md").read_text().splitlines() if line.startswith("auth = ")]


@pytest.mark.parametrize("auth", auths())
def test_each_way_to_authenticate_in_docs_is_one(auth: str) -> None:
    try:
        (api,) = parse(f'[api.shop]\nbase_url = "https://shop.example"\n{auth}\n', "inboxd.toml").apis
        assert api.auth is not None
    except ConfigError as error:
        # The plugin of the example is not among what the tests need.
        assert "No module named 'requests_aws4auth'" in str(error)  # noqa: PT017  # one of the two is right


def test_the_jobs_in_docs_are_jobs() -> None:
    blocks = re.findall(r"```json\n(.*?)```", (DOCS / "trees.md").read_text(), re.DOTALL)
    assert [parse_job(block.encode()).id for block in blocks if '"url"' in block] == ["order-17", "r-1"]
