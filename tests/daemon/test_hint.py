"""Whose word it was that brought a file to light."""

from inboxd.daemon.hint import Hint


def test_files_that_only_the_clock_brought_are_counted() -> None:
    hint = Hint()
    hint.set_by_clock()
    hint.take()
    hint.found()
    hint.found()
    assert hint.found_by_clock == 2


def test_files_of_which_somebody_told_are_not() -> None:
    hint = Hint()
    for by in (
        (hint.set,),
        (hint.set, hint.set_by_clock),
        (hint.set_by_clock, hint.set),
    ):
        for call in by:
            call()
        assert hint.is_set()
        hint.take()
        assert not hint.is_set()
        hint.found()
    assert hint.found_by_clock == 0
