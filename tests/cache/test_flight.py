"""A hundred equal jobs make one call, and each of them is told."""

from threading import Barrier, Thread

from inboxd.cache.flight import Flight


def test_the_first_leads_and_the_others_wait_in_order() -> None:
    flight: Flight[str] = Flight()
    assert flight.join("k", "first")
    assert not flight.join("k", "second")
    assert not flight.join("k", "third")
    assert flight.land("k") == ["second", "third"]


def test_keys_fly_apart() -> None:
    flight: Flight[str] = Flight()
    assert flight.join("k", "a")
    assert flight.join("l", "b")
    assert not flight.join("l", "c")
    assert flight.land("k") == []
    assert flight.land("l") == ["c"]


def test_after_the_landing_the_next_leads() -> None:
    flight: Flight[str] = Flight()
    flight.join("k", "a")
    flight.land("k")
    assert flight.join("k", "b")


def test_a_second_landing_finds_nobody() -> None:
    flight: Flight[str] = Flight()
    flight.join("k", "a")
    flight.join("k", "b")
    assert flight.land("k") == ["b"]
    assert flight.land("k") == []


def test_landed_keys_are_forgotten() -> None:
    flight: Flight[int] = Flight()
    for number in range(100):
        flight.join(str(number % 10), number)
    assert repr(flight) == "<Flight: 10 under way, 90 waiting>"
    for number in range(10):
        flight.land(str(number))
    assert repr(flight) == "<Flight: 0 under way, 0 waiting>"


def test_of_many_threads_one_leads_and_no_waiter_is_lost() -> None:
    flight: Flight[int] = Flight()
    start = Barrier(8)
    led: list[int] = []
    told: list[int] = []

    def work(thread: int) -> None:
        start.wait()
        for number in range(thread * 1000, thread * 1000 + 1000):
            if flight.join("k", number):
                led.append(number)
                told.extend(flight.land("k"))

    threads = [Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(led + told) == list(range(8000))
    assert repr(flight) == "<Flight: 0 under way, 0 waiting>"
