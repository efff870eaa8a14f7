"""What a queue promises to one program at a time; crashes have a test of their own."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inboxd.jobs.clock import FakeClock
from inboxd.jobs.files import Files
from inboxd.jobs.ledger import Ledger
from inboxd.jobs.message import Draft, number_of
from inboxd.jobs.messages import Counts, KeyReused, MessageQueue, NotHeld, TooLarge
from inboxd.jobs.queuesettings import QueueSettings


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(tmp_path: Path, clock: FakeClock) -> Iterator[MessageQueue]:
    # What is durable is for the state machine to judge; a real flush takes longer than all else.
    with MessageQueue(str(tmp_path / "orders"), clock=clock, files=Files(fsync=False)) as queue:
        yield queue


def again(queue: MessageQueue, **said: Any) -> MessageQueue:
    """Open the same queue as another process would."""
    settings = QueueSettings.model_validate(said) if said else queue.settings
    return MessageQueue(queue.folder, settings, clock=queue.clock, files=Files(fsync=False))


def bodies(queue: MessageQueue, most: int = 1000) -> list[Any]:
    return [message.body for message in queue.receive(most)]


def names(queue: MessageQueue, place: str) -> list[str]:
    return sorted(name for name in os.listdir(os.path.join(queue.folder, place)) if not name.startswith("."))


@pytest.mark.parametrize(
    "body", [None, True, 0, -1.5, 10**30, "", 'text with "quotes" and ünïcode', [], [1, [2]], {"a": {"b": [None]}}]
)
def test_any_json_comes_back_as_it_was(queue: MessageQueue, body: Any) -> None:
    queue.publish(body)
    assert bodies(queue) == [body]


@pytest.mark.parametrize("body", [{1, 2}, b"bytes", object()])
def test_what_is_not_json_is_refused(queue: MessageQueue, body: Any) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        queue.publish(body)
    assert bodies(queue) == []


def test_messages_come_in_order_of_arrival_and_higher_priorities_first(queue: MessageQueue) -> None:
    for n in range(3):
        queue.publish(n)
    queue.publish_many([Draft("low", -5), Draft("high", 5), Draft("high 2", 5)])
    assert bodies(queue) == ["high", "high 2", 0, 1, 2, "low"]


def test_ids_sort_as_messages_came_and_name_them_by_a_number_too(queue: MessageQueue) -> None:
    ids = queue.publish_many([Draft(n) for n in range(2000)])
    assert ids == sorted(set(ids))
    numbers = [number_of(one) for one in ids]
    assert numbers == sorted(set(numbers))
    assert max(numbers) < 2**53


def test_a_leased_message_is_hidden_until_its_lease_runs_out_and_then_goes_to_the_tail(
    queue: MessageQueue, clock: FakeClock
) -> None:
    queue.publish("first")
    queue.publish("second")
    assert bodies(queue, 1) == ["first"]
    clock.advance(29.9)
    assert bodies(queue, 1) == ["second"]
    clock.advance(0.1)
    queue.publish("third")
    assert bodies(queue) == ["first", "third"]


def test_an_expired_message_goes_to_the_head_if_so_configured(queue: MessageQueue, clock: FakeClock) -> None:
    with again(queue, expired="head") as other:
        for n in range(3):
            other.publish(n)
        assert bodies(other, 2) == [0, 1]
        clock.advance(31)
        assert bodies(other) == [0, 1, 2]


@pytest.mark.parametrize(
    ("said", "asked", "expected"),
    [({}, None, 30.0), ({"lease": 5.0}, None, 5.0), ({"lease": 5.0}, 99.0, 99.0), ({}, 0.5, 0.5)],
)
def test_how_long_a_lease_is(queue: MessageQueue, said: dict[str, Any], asked: float | None, expected: float) -> None:
    """Whoever receives says it, else who published, else the queue."""
    queue.publish("x", **said)
    message = queue.receive(1, lease=asked)[0]
    assert message.until == queue.clock.wall() + expected


def test_what_is_confirmed_is_gone_and_cannot_be_confirmed_twice(queue: MessageQueue, clock: FakeClock) -> None:
    queue.publish("x")
    receipt = queue.receive()[0].receipt or ""
    queue.confirm(receipt)
    with pytest.raises(NotHeld, match="not leased"):
        queue.confirm(receipt)
    clock.advance(1000)
    assert bodies(queue) == []
    assert queue.counts() == Counts(0, 0, 0, 0)
    assert names(queue, "leased") == []


def test_a_receipt_is_good_for_one_lease_only(queue: MessageQueue, clock: FakeClock) -> None:
    """Fencing: who was too slow must not confirm what somebody else is working on."""
    queue.publish("x")
    slow = queue.receive()[0]
    clock.advance(31)
    for act in (queue.confirm, queue.release, lambda which: queue.extend(which, 60)):
        with pytest.raises(NotHeld):
            act(slow.receipt or "")
    quick = queue.receive()[0]
    with pytest.raises(NotHeld, match="somebody else"):
        queue.confirm(slow.receipt or "")
    assert quick.receives == 2
    queue.confirm(quick.receipt or "")


@pytest.mark.parametrize("name", ["id", "number"])
def test_only_the_consumer_that_holds_a_message_confirms_it(queue: MessageQueue, name: str) -> None:
    queue.publish("x")
    which = getattr(queue.receive(consumer="7")[0], name)
    with pytest.raises(NotHeld):
        queue.confirm(which, consumer="8")
    queue.confirm(which, consumer="7")


@pytest.mark.parametrize("which", ["nonsense", "", 17, "01a202f2-fb59-7059-a2e5-b91f850fd791", "a.b.c"])
def test_what_was_never_received_cannot_be_confirmed(queue: MessageQueue, which: str | int) -> None:
    with pytest.raises(NotHeld):
        queue.confirm(which)


def test_an_extended_lease_ends_later_and_a_released_one_now(queue: MessageQueue, clock: FakeClock) -> None:
    queue.publish("kept")
    queue.publish("given back")
    kept, back = queue.receive()
    queue.extend(kept.receipt or "", 100)
    clock.advance(20)
    queue.release(back.receipt or "", delay=5)
    assert bodies(queue) == []
    clock.advance(5)
    assert bodies(queue) == ["given back"]
    clock.advance(74)
    queue.confirm(kept.receipt or "")


def test_a_delayed_message_is_hidden_at_first(queue: MessageQueue, clock: FakeClock) -> None:
    queue.publish("later", delay=10)
    queue.publish("now")
    assert queue.counts() == Counts(1, 0, 1, 0)
    assert bodies(queue) == ["now"]
    clock.advance(10)
    assert bodies(queue) == ["later"]


def test_what_is_received_too_often_dies_and_can_be_brought_back(queue: MessageQueue, clock: FakeClock) -> None:
    with again(queue, max_receives=2) as other:
        other.publish({"poison": True}, attributes={"kind": "a"})
        for receives in (1, 2):
            message = other.receive()[0]
            assert message.receives == receives
            clock.advance(31)
        assert bodies(other) == []
        assert other.counts() == Counts(0, 0, 0, 1)
        dead = other.peek(place="dead")[0]
        assert (dead.id, dead.body, dead.attributes) == (message.id, {"poison": True}, {"kind": "a"})
        assert dead.dead is not None
        assert dead.dead["queue"] == "orders"
        assert other.redrive() == 1
        risen = other.receive()[0]
        assert (risen.id, risen.receives) == (message.id, 1)


def test_dead_letters_may_have_a_queue_of_their_own(queue: MessageQueue, clock: FakeClock) -> None:
    with again(queue, max_receives=1, dead_to="lost") as other:
        other.publish("x")
        other.receive()
        clock.advance(31)
        assert bodies(other) == []
        with MessageQueue(os.path.join(os.path.dirname(queue.folder), "lost"), clock=clock) as lost:
            assert bodies(lost) == ["x"]


def test_leases_and_counts_survive_a_restart(queue: MessageQueue, clock: FakeClock) -> None:
    queue.publish_many([Draft(n) for n in range(5)])
    first, second = queue.receive(2, consumer="7")
    queue.confirm(second.receipt or "")
    with again(queue) as later:
        assert later.counts() == Counts(3, 1, 0, 0)
        later.extend(first.receipt or "", 5)
        clock.advance(6)
        assert bodies(later) == [2, 3, 4, 0]


def test_two_drafts_of_one_key_are_one_message(queue: MessageQueue) -> None:
    first = queue.publish(1, key="order-17")
    assert queue.publish_many([Draft(2, key="order-17"), Draft(3), Draft(4, key="order-17")])[::2] == [first, first]
    with again(queue) as later:
        assert later.publish(5, key="order-17") == first
        assert bodies(later) == [1, 3]
        assert later.publish(6, key="order-17") == first


def test_a_key_that_comes_with_another_digest_is_refused_as_long_as_it_is_remembered(queue: MessageQueue) -> None:
    first = queue.publish(1, key="k", digest="one")
    together = [queue.begin_publish([Draft(2, key=key, digest=digest)]) for key in "kn" for digest in ("two", "one")]
    queue.commit()
    assert [type(one.error) for one in together] == [KeyReused, type(None), type(None), KeyReused]
    assert together[1].ids == [first]
    with again(queue) as later:
        assert later.publish(3, key="k", digest="one") == first
        with pytest.raises(KeyReused, match="k: something else"):
            later.publish(3, key="k", digest="two")
        # Who says nothing of it asks for no more than what came first.
        assert later.publish(3, key="k") == first
        assert bodies(later) == [1, 2]


def test_the_account_of_keys_is_the_same_when_it_is_written_anew() -> None:
    first, anew = Ledger(), Ledger()
    # A record may have been written before keys had digests.
    first.apply(["b", 0, "", [["old", "id-1"], ["new", "id-2", "digest"]], "", []])
    for record in first.snapshot():
        anew.apply(record)
    assert anew.keys == first.keys == {"old": ("id-1", ""), "new": ("id-2", "digest")}


def test_a_message_that_is_too_large_is_refused(queue: MessageQueue) -> None:
    with again(queue, max_message=100) as small, pytest.raises(TooLarge, match="at most 100"):
        small.publish("x" * 200)


# -- the folder, and those who use it with a shell -----------------------------------------------------------------


def test_each_file_holds_one_message_a_line_and_sorts_by_its_turn(queue: MessageQueue) -> None:
    queue.publish_many([Draft(1), Draft(2)])
    queue.publish("urgent", priority=9)
    files = [Path(queue.folder, "ready", name) for name in names(queue, "ready")]
    shown = [[json.loads(line)["body"] for line in file.read_text().splitlines()] for file in files]
    assert shown == [["urgent"], [1, 2]]


def test_a_shell_takes_messages_by_moving_a_file(queue: MessageQueue, tmp_path: Path) -> None:
    with again(queue, per_file=1) as single:
        single.publish_many([Draft(1), Draft(2)])
    assert queue.counts().ready == 2
    taken = Path(queue.folder, "ready", names(queue, "ready")[0])
    taken.rename(tmp_path / "mine")
    assert bodies(queue) == [2]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("order-17.json", '{"n": 17}', [{"n": 17}]),
        ("order-17.json", '{\n "n": 17\n}\n', [{"n": 17}]),
        ("note.txt", "not JSON at all\n", ["not JSON at all"]),
        ("many.jsonl", '1\n\n"two"\nthree\n', [1, "two", "three"]),
        ("empty.jsonl", "", []),
        ("half.json.part", "1", []),
        (".hidden", "1", []),
        ("n" * 250 + ".json", "1", [1]),
    ],
)
def test_a_shell_publishes_by_moving_a_file_in(queue: MessageQueue, name: str, text: str, expected: list[Any]) -> None:
    path = Path(queue.folder, "ready", name)
    path.write_text(text)
    os.utime(path, (1000, 1000))
    messages = queue.receive()
    assert [message.body for message in messages] == expected
    with again(queue) as later:
        for message in messages:
            later.confirm(message.receipt or "")
    assert names(queue, "leased") == []


def test_a_file_that_may_still_be_being_written_waits(queue: MessageQueue) -> None:
    path = Path(queue.folder, "ready", "order.json")
    path.write_text('{"half": ')
    assert bodies(queue) == []
    path.write_text('{"half": 2}')
    assert bodies(queue) == [{"half": 2}]


def test_links_and_folders_are_no_messages(queue: MessageQueue, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("1")
    Path(queue.folder, "ready", "link.json").symlink_to(tmp_path / "secret")
    Path(queue.folder, "ready", "folder").mkdir()
    os.mkfifo(Path(queue.folder, "ready", "fifo"))
    assert bodies(queue) == []


def test_what_was_opened_and_not_taken_goes_back_for_a_shell_to_see(queue: MessageQueue, clock: FakeClock) -> None:
    queue.publish_many([Draft(n) for n in range(5)])
    assert bodies(queue, 2) == [0, 1]
    assert names(queue, "ready") == []
    clock.advance(2)
    queue.turn(clock.wall())
    (name,) = names(queue, "ready")
    assert name.endswith("-0003.jsonl")
    assert bodies(queue) == [2, 3, 4]


def test_what_a_dead_process_took_is_found_by_the_others(queue: MessageQueue, clock: FakeClock) -> None:
    """It died between the rename and the record."""
    queue.publish(1)
    (name,) = names(queue, "ready")
    os.rename(os.path.join(queue.folder, "ready", name), os.path.join(queue.folder, "leased", name))
    clock.advance(10)
    queue.turn(clock.wall())
    assert bodies(queue) == [1]


def test_a_file_that_vanished_from_leased_takes_its_messages_with_it(queue: MessageQueue) -> None:
    queue.publish_many([Draft(1), Draft(2)])
    queue.receive(1)
    (name,) = names(queue, "leased")
    os.unlink(os.path.join(queue.folder, "leased", name))
    with again(queue) as later:
        assert later.counts() == Counts(0, 0, 0, 0)


def test_a_torn_record_is_forgotten(queue: MessageQueue) -> None:
    queue.publish_many([Draft(1), Draft(2)])
    queue.receive(1)
    with open(os.path.join(queue.folder, ".ledger"), "ab") as file:
        file.write(b'["l","10')
    with again(queue) as later:
        assert bodies(later) == [2]
    assert queue.counts() == Counts(0, 2, 0, 0)


def test_the_log_does_not_grow_for_ever(queue: MessageQueue) -> None:
    held = queue.publish("held") and queue.receive()[0]
    for _ in range(20):
        queue.publish_many([Draft(n) for n in range(1000)])
        queue.begin_confirm_many([message.receipt or "" for message in queue.receive(1000)])
    queue.commit()
    assert os.path.getsize(os.path.join(queue.folder, ".ledger")) < 2 << 20
    with again(queue) as later:
        assert later.counts() == Counts(0, 1, 0, 0)
        later.confirm(held.receipt or "")


# -- threads and processes -----------------------------------------------------------------------------------------


def test_what_another_process_does_is_seen_at_once(queue: MessageQueue, clock: FakeClock) -> None:
    with again(queue) as other:
        queue.publish("x")
        message = other.receive()[0]
        assert bodies(queue) == []
        queue.extend(message.receipt or "", 100)
        clock.advance(50)
        other.confirm(message.receipt or "")
        assert queue.counts() == Counts(0, 0, 0, 0)


def test_many_threads_publish_in_few_flushes_and_each_message_is_received_once(tmp_path: Path) -> None:
    queue = MessageQueue(str(tmp_path / "q"))
    found: list[Any] = []

    def work(worker: int) -> None:
        for n in range(40):
            queue.publish([worker, n])
        while messages := queue.receive(3):
            for message in messages:
                queue.confirm(message.receipt or "")
                found.append(message.body)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [[worker, n] for worker in range(8) for n in range(40)]
    assert queue.counts() == Counts(0, 0, 0, 0)
    queue.close()


def test_a_waiting_receiver_gets_what_is_published_meanwhile(tmp_path: Path) -> None:
    queue = MessageQueue(str(tmp_path / "q"))
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(queue.receive(wait=20)))
    thread.start()
    with MessageQueue(queue.folder) as other:
        other.publish("hello")
    thread.join(15)
    assert [message.body for message in found] == ["hello"]
    queue.close()


def test_a_disk_that_refuses_is_told_and_forgotten(queue: MessageQueue) -> None:
    ready = os.path.join(queue.folder, "ready")
    os.rename(ready, ready + "-away")
    with pytest.raises(FileNotFoundError):
        queue.publish("lost")
    os.rename(ready + "-away", ready)
    queue.publish("kept")
    assert bodies(queue) == ["kept"]


def test_many_things_in_one_turn_are_all_so_or_none(queue: MessageQueue) -> None:
    queue.publish_many([Draft(n) for n in range(3)])
    with queue.together():
        first, second = queue.receive(1)[0], queue.receive(1)[0]
        queue.begin_confirm(first.receipt or "")
        with pytest.raises(NotHeld):
            queue.confirm(first.receipt or "")
    queue.commit()
    with again(queue) as later:
        assert later.counts() == Counts(1, 1, 0, 0)
    log = os.path.join(queue.folder, "ready")
    os.rename(log, log + "-away")

    def confirm_and_fail() -> None:
        with queue.together():
            queue.begin_confirm(second.receipt or "")
            with pytest.raises(FileNotFoundError):
                queue.receive(1)

    with pytest.raises(OSError, match="refused"):
        confirm_and_fail()
    os.rename(log + "-away", log)
    # The confirmation in the same turn was not so either.
    queue.confirm(second.receipt or "")
