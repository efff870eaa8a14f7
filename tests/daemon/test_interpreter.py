"""How an interpreter is set: seldom does it look for garbage, and yet it does."""

import gc
import sys
import weakref
from collections.abc import Iterator

import pytest

from inboxd.daemon import interpreter


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


@pytest.mark.parametrize("patience", [interpreter.PUNCTUAL, interpreter.BUSY])
def test_threads_hand_the_interpreter_on_after_the_time_that_is_asked_for(patience: float) -> None:
    interpreter.settle(patience)
    assert sys.getswitchinterval() == pytest.approx(patience)


def test_what_is_loaded_is_never_looked_through_again() -> None:
    interpreter.settle(interpreter.BUSY)
    assert gc.get_freeze_count() > len(sys.modules)


def test_cycles_go_when_enough_has_been_made_since() -> None:
    class Ring:
        def __init__(self) -> None:
            self.itself = self

    interpreter.settle(interpreter.BUSY)
    gone = weakref.ref(Ring())
    kept: list[list[None]] = [[] for _ in range(interpreter.GARBAGE // 2)]
    assert gone() is not None
    kept.extend([] for _ in range(interpreter.GARBAGE))
    assert gone() is None
