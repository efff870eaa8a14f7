"""Until when a file may still be growing."""

import os
from math import inf

import pytest

from inboxd.daemon.growing import Renamed, whole_at

NOW = 1_000_000.0


def status(*, mtime: float, ctime: float) -> os.stat_result:
    return os.stat_result((0, 0, 0, 0, 0, 0, 0, 0, mtime, ctime))


@pytest.mark.parametrize(
    ("mtime", "ctime", "whole"),
    [
        pytest.param(NOW - 0.6, NOW - 0.6, -inf, id="written to a while ago"),
        pytest.param(NOW - 0.2, NOW - 0.2, NOW + 0.3, id="written to just now"),
        pytest.param(NOW - 3600, NOW - 0.2, -inf, id="an old file that was moved here"),
        pytest.param(NOW + 0.1, NOW + 0.1, NOW + 0.6, id="written to since somebody looked at the clock"),
        pytest.param(NOW + 3600, NOW - 0.2, NOW + 0.3, id="a copy dated by a clock that is fast"),
        pytest.param(NOW + 3600, NOW - 0.6, -inf, id="the same a while ago"),
        pytest.param(NOW + 3600, NOW + 3600, -inf, id="written to before the clock was set back"),
    ],
)
def test_a_file_is_whole_when_nobody_has_written_to_it_for_a_while(mtime: float, ctime: float, whole: float) -> None:
    assert whole_at(status(mtime=mtime, ctime=ctime), NOW, 0.5) == whole


@pytest.mark.parametrize(
    ("ctime", "held"),
    [
        pytest.param(NOW - 0.001, True, id="renamed in, and nothing since"),
        pytest.param(NOW + 0.001, False, id="written to, or another file of that name, since"),
    ],
)
def test_what_was_renamed_in_is_known_until_it_is_touched(ctime: float, held: bool) -> None:
    renamed = Renamed(2)
    renamed.note("a.jsonl", NOW)
    assert renamed.holds("a.jsonl", status(mtime=ctime, ctime=ctime)) == held
    assert not renamed.holds("b.jsonl", status(mtime=ctime, ctime=ctime))


def test_only_so_many_renamed_files_are_remembered() -> None:
    renamed = Renamed(2)
    for name in ("a", "b", "c"):
        renamed.note(name, NOW)
    assert [name for name in "abc" if renamed.holds(name, status(mtime=NOW, ctime=NOW))] == ["c"]
