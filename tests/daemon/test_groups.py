"""Who waits for the disk is taken together."""

import queue

import pytest

from inboxd.daemon.groups import take_all


@pytest.mark.parametrize(
    ("waiting", "taken"),
    [
        (["a"], (["a"], True)),
        (["a", "b", "c"], (["a", "b", "c"], True)),
        (["a", "b", None], (["a", "b"], False)),
        ([None], ([], False)),
    ],
)
def test_all_that_is_there_is_taken_and_an_end_is_told(
    waiting: list[str | None], taken: tuple[list[str], bool]
) -> None:
    items: queue.Queue[str | None] = queue.Queue()
    for item in waiting:
        items.put(item)
    assert take_all(items) == taken
