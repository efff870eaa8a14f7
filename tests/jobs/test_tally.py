"""Counts that several threads make are exact, and there are never more of them than the bound."""

import threading

from inboxd.jobs.tally import OTHERS, Histogram, Tallies, Tally


def test_no_count_is_lost_among_threads() -> None:
    tally = Tally()

    def count() -> None:
        for _ in range(10_000):
            tally.attempt("ok")
            tally.answer("done", "hit")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tally.attempts["ok"], tally.answers["done"], tally.cache["hit"]) == (40_000, 40_000, 40_000)


def test_beyond_the_bound_apis_are_counted_together() -> None:
    tallies = Tallies(2)
    for name in ("a", "b", "c", "d", "a"):
        tallies.of(name).attempt("ok")
    assert {name: tally.attempts["ok"] for name, tally in tallies.all().items()} == {"a": 2, "b": 1, OTHERS: 2}


def test_a_wait_is_never_negative() -> None:
    tally = Tally()
    tally.took(-1e-9)
    tally.took(2.0)
    assert (tally.taken, tally.waited) == (2, 2.0)


def test_a_histogram_puts_each_into_its_step() -> None:
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 3.0):
        histogram.observe(seconds)
    assert histogram.counts == [2, 1, 1]
    assert histogram.total == 3.65
