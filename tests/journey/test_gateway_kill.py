"""The daemon is killed while clients use a queue over HTTP; `bench.acceptance messages` does it at full size."""

from pathlib import Path

import pytest

from bench.leases import killed

pytestmark = pytest.mark.journey


def test_a_kill_loses_no_message_brings_no_confirmed_one_back_and_ends_no_lease(tmp_path: Path) -> None:
    outcome = killed(tmp_path, 400, 2)
    assert outcome.passed, outcome.figures
