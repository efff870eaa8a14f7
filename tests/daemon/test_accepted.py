"""What the desk remembers of the jobs that it accepted."""

import asyncio

import pytest

from inboxd.daemon import accepted
from inboxd.daemon.accepted import Backlog, Known
from inboxd.daemon.postbox import Letter


def letters(count: int, lane: str = "a", start: int = 0) -> list[Letter]:
    return [Letter(b"{}", lane, place=f"http-{lane}-{number}") for number in range(start, start + count)]


def test_one_api_leaves_as_many_places_as_it_takes() -> None:
    backlog = Backlog(10)
    backlog.add(letters(5))
    assert not backlog.has_room(letters(1))
    assert backlog.has_room(letters(5, "b"))


def test_an_answer_makes_room() -> None:
    backlog = Backlog(2)
    backlog.add(letters(1))
    assert not backlog.has_room(letters(1, start=1))
    backlog.remove("http-a-0")
    assert (len(backlog), backlog.has_room(letters(1))) == (0, True)


def test_an_empty_desk_takes_a_list_of_any_length() -> None:
    assert Backlog(2).has_room(letters(100))


def test_an_answer_that_comes_before_its_job_is_known_leaves_no_place_taken() -> None:
    """The outbox and the postbox are two threads; a job from the cache is answered within a millisecond."""
    backlog = Backlog(10)
    backlog.remove("http-a-0")
    backlog.add(letters(1))
    assert len(backlog) == 0


def test_answers_of_others_are_forgotten_in_time() -> None:
    backlog = Backlog(10)
    for number in range(2 * accepted.EARLY):
        backlog.remove(f"http-{number}")
    assert len(backlog._early) == accepted.EARLY


def test_a_known_job_takes_no_place() -> None:
    backlog, (one,) = Backlog(10), letters(1)
    one.known = True
    backlog.add([one])
    assert len(backlog) == 0


def test_all_who_ask_while_a_look_is_under_way_share_the_next() -> None:
    looks: list[frozenset[str]] = []

    async def ask() -> list[set[str]]:
        looked, going = asyncio.Event(), asyncio.Event()

        async def look(wanted: frozenset[str]) -> set[str]:
            looks.append(wanted)
            looked.set()
            await going.wait()
            return {"x1", "x3"} & wanted

        known = Known(look)
        asking = [asyncio.create_task(known.among({name})) for name in ("x1", "x2", "x3")]
        await looked.wait()
        going.set()
        return list(await asyncio.gather(*asking))

    assert asyncio.run(ask()) == [{"x1"}, set(), {"x3"}]
    assert [sorted(look) for look in looks] in ([["x1"], ["x2", "x3"]], [["x1", "x2", "x3"]])


def test_a_look_that_fails_is_told_to_all_who_asked() -> None:
    async def ask() -> None:
        async def look(_: frozenset[str]) -> set[str]:
            raise OSError("refused")

        await Known(look).among({"x"})

    with pytest.raises(OSError, match="refused"):
        asyncio.run(ask())
