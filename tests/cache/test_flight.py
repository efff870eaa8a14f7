"""A hundred equal jobs make one call, and each of them is told."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Barrier, Thread

from inboxd.cache.flight import Flight, Locks

ROOT = Path(__file__).parents[2]
KEY, OTHER = "ab" + "c" * 62, "f" * 64


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


def locked(folder: Path, key: str = KEY) -> bool:
    """Tell whether somebody else would be refused."""
    others = Locks(str(folder))
    taken = others.take(key)
    others.close()
    return not taken


def test_of_two_processes_one_leads_until_it_lets_go(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path / "deep" / "cache"))
    assert locks.take(KEY)
    assert locked(tmp_path / "deep" / "cache")
    assert not locked(tmp_path / "deep" / "cache", OTHER)
    locks.let_go(KEY)
    assert not locked(tmp_path / "deep" / "cache")


def test_the_lock_file_is_private_and_the_only_one(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path / "cache"))
    for number in range(20):
        assert locks.take(f"{number:064x}")
    assert os.listdir(tmp_path / "cache") == [".flights"]
    assert (tmp_path / "cache" / ".flights").stat().st_mode & 0o777 == 0o600
    locks.close()


def test_a_leader_that_dies_hands_over(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom inboxd.cache.flight import Locks\n"
        f"locks = Locks({str(tmp_path)!r})\nassert locks.take({KEY!r})\nprint('taken', flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT) as leader:
        assert leader.stdout is not None
        assert leader.stdout.readline() == b"taken\n"
        locks = Locks(str(tmp_path))
        assert not locks.take(KEY)
        leader.kill()
    assert locks.take(KEY)
    locks.close()


def test_closing_lets_go_of_everything_and_letting_go_of_nothing_does_nothing(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path))
    locks.let_go(KEY)
    assert locks.take(KEY)
    assert locks.take(OTHER)
    locks.close()
    assert not locked(tmp_path)
    locks.let_go(KEY)
    assert locks.take(KEY)
    locks.close()


def test_a_folder_that_cannot_be_locked_keeps_nobody_from_calling(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".flights").mkdir()
    for name in ("cache", "other"):
        assert Locks(str(tmp_path / name)).take(KEY)
