"""How posted jobs become files: which share one, how each is called, and that none is told of before it is durable."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from inboxd.daemon import postbox
from inboxd.daemon.disk import Disk
from inboxd.daemon.entrance import First
from inboxd.daemon.names import of_posted
from inboxd.daemon.postbox import Key, Letter, Parcel, Postbox, number_lines
from inboxd.daemon.spool import Spool
from inboxd.jobs.clock import FakeClock

WAIT = 20.0


class Recorder(Disk):
    """A disk that remembers what was synced and renamed, and refuses when told to."""

    def __init__(self) -> None:
        super().__init__(fsync=False)
        self.done: list[str] = []
        self.refuses = False

    def sync(self, paths: list[str], folder: str) -> None:  # type: ignore[override]  # a list is all we are given
        if self.refuses:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder)
        self.done.append(f"sync {len(paths)}")

    def rename_new(self, source: str, target: str) -> None:
        self.done.append("rename")
        super().rename_new(source, target)

    def sync_folders(self, folders: object) -> None:
        self.done.append("sync inbox")


@pytest.fixture
def disk() -> Recorder:
    return Recorder()


@pytest.fixture
def spool(tmp_path: Path, disk: Recorder) -> Spool:
    spool = Spool(str(tmp_path), disk)
    spool.make()
    return spool


@pytest.fixture
def box(spool: Spool) -> Postbox:
    return Postbox(spool, FakeClock(wall=1_000_000.0), quiet=0.5)


def letter(number: int = 0, lane: str | None = "a", **said: str) -> Letter:
    return Letter(json.dumps({"url": f"http://{lane}.example/{number}"}).encode(), lane, **said)


def named(identifier: str) -> Letter:
    line = json.dumps({"id": identifier, "url": "http://a.example/"}).encode()
    return Letter(line, "a", has_id=True, id=identifier, place=of_posted(identifier))


def inbox(spool: Spool) -> dict[str, list[dict[str, str]]]:
    folder = Path(spool.inbox)
    return {path.name: [json.loads(line) for line in path.read_bytes().splitlines()] for path in folder.iterdir()}


def test_a_lone_job_has_a_file_of_its_own(box: Postbox, spool: Spool) -> None:
    one = letter()
    box.drop([one])
    assert inbox(spool) == {f"http-{one.id}.json": [{"id": one.id, "url": "http://a.example/0"}]}


def test_jobs_for_one_api_share_a_file_and_each_knows_its_line(box: Postbox, spool: Spool) -> None:
    letters = [letter(number) for number in range(3)]
    box.drop(letters)
    ((filename, lines),) = inbox(spool).items()
    assert filename.endswith(".jsonl")
    assert [line["id"] for line in lines] == [one.id for one in letters]
    assert [one.id.rpartition(":")[2] for one in letters] == ["1", "2", "3"]
    assert [one.place for one in letters] == [f"http-{one.id}" for one in letters]


def test_nobody_shares_a_file_with_somebody_elses_api(box: Postbox, spool: Spool) -> None:
    """A batch is one queue; a slow API at its head would hold up all others."""
    box.drop([letter(number, lane) for number, lane in enumerate("abab")] + [letter(9, None)])
    assert sorted(len(lines) for lines in inbox(spool).values()) == [1, 2, 2]


def test_a_job_with_an_id_is_a_file_of_that_name(box: Postbox, spool: Spool) -> None:
    box.drop([named("order-17"), letter(1), letter(2)])
    assert inbox(spool)["http-order-17.json"] == [{"id": "order-17", "url": "http://a.example/"}]
    assert len(inbox(spool)) == 2


@pytest.mark.parametrize("identifier", ["a/b", "../../etc/passwd", "x~1", ".hidden", "é".encode().hex() * 80, "a b"])
def test_no_id_leads_out_of_the_inbox(identifier: str, box: Postbox, spool: Spool) -> None:
    box.drop([named(identifier)])
    ((filename, _),) = inbox(spool).items()
    assert filename == of_posted(identifier) + ".json"
    assert "/" not in filename
    assert "~" not in filename
    assert len(filename) < 200


def test_a_group_is_synced_once_before_any_of_it_is_seen(box: Postbox, disk: Recorder) -> None:
    box.drop([letter(number, lane) for number in range(100) for lane in "ab"])
    assert disk.done == ["sync 2", "rename", "rename", "sync inbox"]


def test_a_large_group_is_cut_into_files_of_bounded_length(box: Postbox, spool: Spool) -> None:
    box.drop([letter(number) for number in range(postbox.TOGETHER + 1)])
    assert sorted(len(lines) for lines in inbox(spool).values()) == [1, postbox.TOGETHER]


def test_the_same_id_once_more_is_known_and_leaves_the_first_alone(box: Postbox, spool: Spool) -> None:
    first, again, beside = named("x"), named("x"), named("y")
    box.drop([first])
    before = inbox(spool)
    box.drop([again, beside])
    assert (first.known, again.known, beside.known) == (False, True, False)
    assert inbox(spool)["http-x.json"] == before["http-x.json"]


def test_the_same_id_twice_in_one_moment_is_one_job(box: Postbox, spool: Spool) -> None:
    first, again = named("x"), named("x")
    box.drop([first, again])
    assert (first.known, again.known, len(inbox(spool))) == (False, True, 1)


def test_a_list_with_a_key_stays_in_the_order_and_the_file_that_the_key_says(box: Postbox, spool: Spool) -> None:
    letters = [letter(number) for number in range(2)]
    number_lines("00000000-0000-7000-8000-000000000001", letters)
    box.drop(letters)
    assert list(inbox(spool)) == ["http-00000000-0000-7000-8000-000000000001.jsonl"]


def keyed(key: str, digest: str, identifier: str | None = None) -> Letter:
    one = named(identifier or key)
    one.keys = (Key(of_posted(key), digest),)
    return one


@pytest.mark.parametrize("together", [True, False])
def test_a_key_that_comes_with_another_body_clashes_and_drops_nothing(
    together: bool, box: Postbox, spool: Spool
) -> None:
    first, same, other = keyed("x", "one"), keyed("x", "one"), keyed("x", "two")
    for group in [[first, same, other]] if together else [[first], [same], [other]]:
        box.drop(group)
    assert [(one.known, one.clash) for one in (first, same)] == [(False, False), (True, False)]
    assert other.clash
    assert list(inbox(spool)) == ["http-x.json"]
    assert spool.first("http-x") == First("one", ("http-x",))


def test_what_came_first_under_a_key_is_durable_before_anybody_hears_of_its_job(
    box: Postbox, spool: Spool, disk: Recorder
) -> None:
    box.drop([keyed("x", "one")])
    assert disk.done == ["sync 2", "rename", "sync inbox"]
    assert os.listdir(spool.staged) == []


def test_a_key_of_many_jobs_knows_them_all(box: Postbox, spool: Spool) -> None:
    box.drop([keyed("list", "one", identifier) for identifier in "ab"])
    assert spool.first("http-list") == First("one", ("http-a", "http-b"))


def test_an_attachment_comes_before_its_job(box: Postbox, spool: Spool, disk: Recorder) -> None:
    path = spool.staging("x", ".upload")
    disk.write(path, b"photo")
    one = named("x")
    one.attachment = ("http-x.1234.body", path)
    box.drop([one])
    assert Path(spool.inbox, "http-x.1234.body").read_bytes() == b"photo"
    assert disk.done == ["sync 2", "rename", "rename", "sync inbox"]


def test_shared_files_are_claimed_at_once(box: Postbox, spool: Spool) -> None:
    """A batch written to just now may still be growing; the intake would leave it alone for a while."""
    box.drop([letter(1), letter(2)])
    (path,) = Path(spool.inbox).iterdir()
    assert path.stat().st_mtime == 1_000_000.0 - 1.5


def deliverer() -> tuple[Callable[[list[Parcel]], None], list[Parcel], Event]:
    told: list[Parcel] = []
    done = Event()

    def deliver(group: list[Parcel]) -> None:
        told.extend(group)
        done.set()

    return deliver, told, done


def test_who_posted_is_told_when_it_is_done(spool: Spool) -> None:
    deliver, told, done = deliverer()
    box = Postbox(spool, FakeClock(), quiet=0.5, deliver=deliver)
    box.start()
    assert box.post(Parcel([letter()], lambda _: None))
    box.send()
    assert done.wait(WAIT)
    box.stop()
    assert [parcel.error for parcel in told] == [None]
    assert len(inbox(spool)) == 1


def test_what_is_sent_together_is_dropped_together(spool: Spool, disk: Recorder) -> None:
    deliver, told, done = deliverer()
    box = Postbox(spool, FakeClock(), quiet=0.5, deliver=deliver)
    box.start()
    posted = [Parcel([letter(number)], lambda _: None) for number in range(3)]
    assert all(box.post(parcel) for parcel in posted)
    box.send()
    assert done.wait(WAIT)
    box.stop()
    assert (told, len(inbox(spool))) == (posted, 1)
    assert disk.done == ["sync 1", "rename", "sync inbox"]


def test_what_was_posted_and_not_sent_is_dropped_at_the_end(spool: Spool) -> None:
    deliver, told, _ = deliverer()
    box = Postbox(spool, FakeClock(), quiet=0.5, deliver=deliver)
    box.start()
    box.post(Parcel([letter()], lambda _: None))
    box.stop()
    assert (len(told), len(inbox(spool))) == (1, 1)


def test_a_box_has_room_again_for_what_was_dropped(spool: Spool) -> None:
    deliver, _, done = deliverer()
    box = Postbox(spool, FakeClock(), quiet=0.5, deliver=deliver)
    for _ in range(postbox.PARCELS):
        box.post(Parcel([letter(1)], lambda _: None))
    assert not box.post(Parcel([letter()], lambda _: None))
    box.send()
    box.start()
    assert done.wait(WAIT)
    assert box.post(Parcel([letter()], lambda _: None))
    box.stop()


def test_when_the_disk_refuses_nothing_is_accepted_and_nothing_left_behind(spool: Spool, disk: Recorder) -> None:
    deliver, told, done = deliverer()
    box = Postbox(spool, FakeClock(), quiet=0.5, deliver=deliver)
    box.start()
    disk.refuses = True
    box.post(Parcel([letter()], lambda _: None))
    box.send()
    assert done.wait(WAIT)
    box.stop()
    assert told[0].error == "the disk refuses: No space left on device"
    assert (inbox(spool), os.listdir(spool.staged)) == ({}, [])


def test_a_full_box_says_so_at_once(box: Postbox) -> None:
    posted = [box.post(Parcel([letter()], lambda _: None)) for _ in range(postbox.PARCELS + 1)]
    assert posted == [True] * postbox.PARCELS + [False]


def test_a_box_is_full_too_when_what_waits_is_large(box: Postbox) -> None:
    large = Letter(b"x" * (postbox.BYTES // 2 + 1))
    assert [box.post(Parcel([large], lambda _: None)) for _ in range(2)] == [True, False]
