"""Whatever comes in, the store stays within its bounds, and what goes is what nobody will miss."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inboxd.cache.entry import Entry
from inboxd.cache.key import key
from inboxd.cache.store import Store
from inboxd.cache.sweep import SAMPLE, Held, Seen, overdue, surplus

NOW = 1_000_000.0
BLOCK = 4096
JSON, BODY, LEFTOVER = "c" * 62 + ".json", "c" * 62 + ".body", f".{'c' * 62}.{'0' * 16}.tmp"
ALL = 100_000


def name(number: int) -> str:
    return key("GET", f"http://h/{number}")


def entry(stored: float = NOW, *, ttl: float = 1e6, body: bytes = b"x") -> Entry:
    return Entry(stored, stored + ttl, {"url": "http://h/"}, 200, {}, body)


def kept(store: Store) -> set[str]:
    return {found for found, _ in store.entries()}


@pytest.mark.parametrize(
    ("file", "used", "until", "goes"),
    [
        (JSON, NOW, NOW + 1, False),
        (JSON, NOW, NOW, True),
        (JSON, NOW - 1e9, NOW + 1, False),
        # The minute in which uses are noted once is no jump of the clock.
        (JSON, NOW + 60, NOW + 100, False),
        (JSON, NOW + 61, NOW + 1e9, True),
        (BODY, NOW, NOW - 1, True),
        (BODY, NOW, NOW + 1, False),
        # Who still writes has touched it within the hour.
        (LEFTOVER, NOW - 3601, NOW - 3601, True),
        (LEFTOVER, NOW - 3599, NOW - 3599, False),
        (LEFTOVER, NOW + 3601, NOW + 3601, True),
        # About to be renamed: the times are set just before that.
        (LEFTOVER, NOW, NOW + 1e9, False),
    ],
)
def test_a_file_goes_for_its_times(file: str, used: float, until: float, goes: bool) -> None:
    assert overdue(file, used, until, NOW) is goes


samples = st.lists(st.builds(Seen, st.floats(0, 1e9), st.uuids().map(str), st.integers(0, 1), st.integers(1, 10**6)))


@given(samples, st.integers(1, 50), st.integers(1, 10**7))
def test_of_a_whole_store_the_least_recently_used_go_and_what_stays_is_within_its_bounds(
    sample: list[Seen], entries: int, size: int
) -> None:
    held = Held(sum(seen.entries for seen in sample), sum(seen.size for seen in sample))
    going = surplus(held, Held(entries, size), sample)
    staying = set(sample) - set(going)
    assert all(gone.used <= stays.used for gone in going for stays in staying)
    assert sum(seen.entries for seen in staying) <= entries
    assert sum(seen.size for seen in staying) <= size
    if held.entries <= entries and held.size <= size:
        assert not going


@given(st.integers(1001, 10**6), st.integers(1, 200))
def test_of_a_sample_as_large_a_part_goes_as_the_whole_is_too_large(held: int, some: int) -> None:
    sample = [Seen(float(number), str(number), 1, BLOCK) for number in range(some)]
    going = surplus(Held(held, held * BLOCK), Held(1000, 10**12), sample)
    assert abs(len(going) - some * (1 - 900 / held)) <= 1


def test_a_full_store_loses_its_least_recently_used(tmp_path: Path) -> None:
    store = Store(tmp_path, entries=10)
    for number in range(12):
        store.put(name(number), entry(NOW + number * 100))
    # Used again, the oldest is no longer that.
    assert store.get(name(0), NOW + 2000) is not None
    store.sweep(NOW + 2000, ALL)
    assert kept(store) == {name(number) for number in (0, *range(4, 12))}
    assert store.held == (9, 9 * BLOCK)


def test_bytes_are_bounded_as_well_and_a_body_goes_with_its_entry(tmp_path: Path) -> None:
    store = Store(tmp_path, size=1_000_000)
    for number in range(8):
        store.put(name(number), entry(NOW + number * 100, body=b"\xff" * 200_000))
    store.sweep(NOW + 2000, ALL)
    assert len(kept(store)) == 4
    assert sorted(file.stem for file in tmp_path.rglob("*.body")) == sorted(
        file.stem for file in tmp_path.rglob("*.json")
    )


def test_who_puts_sweeps_so_that_nobody_else_has_to(tmp_path: Path) -> None:
    store = Store(tmp_path, entries=300)
    for number in range(2000):
        store.put(name(number), entry(NOW + number))
    assert 200 < len(kept(store)) < 600


def test_a_store_of_many_samples_comes_within_its_bounds_too(tmp_path: Path) -> None:
    full = Store(tmp_path)
    for number in range(3 * SAMPLE):
        full.put(name(number), entry(NOW + number * 100))
    store, last = Store(tmp_path, entries=2 * SAMPLE), NOW + 3 * SAMPLE * 100
    for step in range(200):
        store.sweep(last + step, 100)
    left = kept(store)
    assert 1.6 * SAMPLE < len(left) <= 2 * SAMPLE
    # Each sample stands for all: the newer half is hardly touched, of the oldest tenth nothing is left.
    assert sum(name(number) in left for number in range(SAMPLE * 3 // 10)) <= 20
    assert sum(name(number) in left for number in range(SAMPLE * 3 // 2, SAMPLE * 3)) >= SAMPLE * 3 // 2 - 60


def test_a_step_looks_at_no_more_than_it_is_told(tmp_path: Path) -> None:
    for number in range(300):
        Store(tmp_path).put(name(number), entry(ttl=1))
    store = Store(tmp_path)
    assert 0 < store.sweep(NOW + 2, 100) < 100
    assert 200 < len(kept(store)) < 300
    assert store.held is None


def test_what_is_past_its_time_goes_and_what_may_be_asked_about_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(name(1), entry(ttl=10))
    store.put(name(2), entry(ttl=10), keep=100)
    store.put(name(3), entry(ttl=1000))
    assert store.sweep(NOW + 50, ALL) == 1
    assert kept(store) == {name(2), name(3)}


def test_an_entry_from_the_future_is_swept(tmp_path: Path) -> None:
    """A clock that ran ahead for a while must not leave entries that are kept for ever."""
    store = Store(tmp_path)
    store.put(name(1), entry(NOW + 1e8))
    store.put(name(2), entry())
    store.sweep(NOW + 1, ALL)
    assert kept(store) == {name(2)}


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"format": "inboxd-cache-1", "sha256": "'], ids=["empty", "foreign", "older"]
)
def test_a_file_that_somebody_else_wrote_is_swept(tmp_path: Path, content: bytes) -> None:
    """It is not even opened: who does not know our times leaves one in the past."""
    store = Store(tmp_path)
    store.put(name(1), entry(2e9))
    path = next(tmp_path.rglob("*.json"))
    path.unlink()
    path.write_bytes(content)
    os.utime(path, (NOW, NOW))
    assert store.sweep(2e9, ALL) == 1
    assert not path.exists()


def test_files_that_are_not_ours_stay_and_links_of_our_name_go(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(name(1), entry())
    fan = next(path for path in tmp_path.iterdir() if path.is_dir())
    for file in ("README", "notes.json", ".notes.tmp"):
        (fan / file).write_text("mine")
    (fan / JSON).symlink_to(fan / "README")
    store.sweep(NOW, ALL)
    assert sorted(os.listdir(fan)) == sorted(["README", "notes.json", ".notes.tmp", f"{name(1)[2:]}.json"])


def test_an_idle_store_is_not_gone_round_all_the_time(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.sweep(NOW, ALL)
    store.put(name(1), entry(ttl=1))
    assert store.sweep(NOW + 29, ALL) == 0
    assert store.sweep(NOW + 31, ALL) == 1
    store.put(name(2), entry(NOW - 1000, ttl=1))
    assert store.sweep(NOW - 900, ALL) == 1, "a clock that was set back"


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(0, 80), st.integers(1, 400))
def test_in_steps_of_any_size_the_bound_is_reached_and_the_newest_stays(bound: int, puts: int, most: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder, entries=bound)
        for number in range(puts):
            store.put(name(number), entry(NOW + number * 100))
        for step in range(2 * (256 + puts) // most + 3):
            store.sweep(NOW + puts * 100 + step, most)
        left = kept(store)
        assert len(left) <= bound
        assert not puts or name(puts - 1) in left
