"""How many further processes a daemon has, by what was asked for and what the machine has."""

from typing import Literal

import pytest

from inboxd.daemon.cores import mates


@pytest.mark.parametrize(
    ("processes", "threads", "cores", "wanted"),
    [
        ("auto", 16, 1, 0),
        ("auto", 16, 2, 2),
        ("auto", 16, 64, 4),
        ("auto", 8, 64, 2),
        ("auto", 4, 64, 0),
        (1, 16, 64, 0),
        (2, 1, 1, 2),
        (8, 16, 2, 8),
    ],
)
def test_each_core_has_a_process_unless_another_number_is_asked_for(
    processes: int | Literal["auto"], threads: int, cores: int, wanted: int
) -> None:
    assert mates(processes, threads, cores) == wanted
