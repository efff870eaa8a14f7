import json
import os
import time
from collections.abc import Iterator
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Any

import pytest

from inboxd.daemon.batch import Batch
from inboxd.daemon.recovery import recover
from inboxd.jobs.clock import FakeClock
from inboxd.jobs.lanes import LaneFull
from tests.spoolkit import Bench

GOOD = '{"url": "http://api.test/good"}'
KNOWN = '{"url": "http://api.test/known", "cache": "1h"}'


class Desk:
    """A bench with one batch on it."""

    def __init__(self, root: Path, clock: FakeClock | None = None) -> None:
        self.bench = Bench(root, clock=clock or FakeClock(wall=time.time()))
        self.batches: list[Batch] = []

    def open(self, content: str | bytes, name: str = "b") -> Batch:
        self.batches.append(Batch(self.bench.worker, self.bench.claim(f"{name}.jsonl", content)))
        return self.batches[-1]

    def again(self) -> Batch:
        """Start anew after a crash."""
        self.close()
        self.bench = Bench(self.bench.root, clock=self.bench.clock)
        (claim,) = recover(self.bench.spool)
        self.batches.append(Batch(self.bench.worker, claim))
        return self.batches[-1]

    def turn(self, most: int = 100) -> float:
        return self.batches[-1].turn(self.bench.clock.wall(), most)

    def answer_all(self, status: str = "done", body: bytes = b"{}") -> None:
        for asked in list(self.bench.client.asked):
            self.bench.client.answer(asked, status, body)
        self.bench.outbox.commit()

    def finish(self) -> list[Any]:
        self.turn()
        self.answer_all()
        assert self.batches[-1].finished
        return self.answers()

    def answers(self, filename: str = "b.jsonl") -> list[Any]:
        lines = Path(self.bench.spool.outbox, filename).read_bytes().splitlines()
        return sorted((json.loads(line) for line in lines), key=lambda answer: int(answer["line"]))

    def close(self) -> None:
        for batch in self.batches:
            batch._lines.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def test_each_line_is_answered_and_nothing_else_is_left(desk: Desk) -> None:
    desk.open(f"{GOOD}\n{GOOD}\n")
    answers = desk.finish()
    assert [(answer["line"], answer["status"]) for answer in answers] == [(1, "done"), (2, "done")]
    assert desk.bench.names("outbox") == ["b.jsonl", "b.summary.json"]
    for folder in ("active", "failed", "state/staged", "deferred"):
        assert desk.bench.names(folder) == []


def test_lines_that_are_wrong_never_stop_the_others(desk: Desk) -> None:
    long = '{"x": "' + "x" * 3 * 1024 * 1024 + '"}'
    content = f"\ufeff{GOOD}\r\n\n{{\n   \r\n{long}\n[1]\n\udcff\n{GOOD}"
    data = content.encode(errors="surrogateescape")
    desk.open(data)
    answers = desk.finish()
    assert [(answer["line"], answer["status"]) for answer in answers] == [
        (1, "done"),
        (3, "rejected"),
        (5, "rejected"),
        (6, "rejected"),
        (7, "rejected"),
        (8, "done"),
    ]
    assert "longer than 1048576 bytes" in answers[2]["error"]["message"]
    # As they were dropped, the longest too.
    lines = data.split(b"\n")
    assert Path(desk.bench.spool.failed, "b.jsonl").read_bytes() == b"".join(lines[at] + b"\n" for at in (2, 4, 5, 6))


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff\n"])
def test_an_empty_batch_is_answered_too(desk: Desk, content: str) -> None:
    desk.open(content)
    assert desk.finish() == []
    assert desk.bench.read("outbox", "b.summary.json")["lines"] == 0


def test_the_summary_counts(desk: Desk) -> None:
    desk.open("".join(f"{line}\n" for line in [GOOD, "{", *['{"url": "http://api.test/x"}'] * 12]))
    desk.turn()
    for asked in list(desk.bench.client.asked):
        desk.bench.client.answer(asked, "done" if "good" in asked.job.url else "failed")
    desk.bench.clock.advance(5.0)
    desk.bench.outbox.commit()
    summary = desk.bench.read("outbox", "b.summary.json")
    assert (summary["lines"], summary["statuses"]) == (14, {"done": 1, "failed": 12, "rejected": 1})
    assert len(summary["first_errors"]) == 10
    assert summary["seconds"] == pytest.approx(5.0, abs=2.0)
    assert len(Path(desk.bench.spool.failed, "b.jsonl").read_bytes().splitlines()) == 13


def test_only_as_much_is_read_as_was_asked_for(desk: Desk) -> None:
    desk.open(f"{GOOD}\n" * 10)
    assert desk.turn(3) == desk.bench.clock.wall()
    assert len(desk.bench.client.asked) == 3


def test_a_line_without_room_comes_first_the_next_time(desk: Desk) -> None:
    desk.open(f"{GOOD}\n{GOOD}\n")
    desk.bench.client.refuse = LaneFull("api", 1.0, 1.0)
    assert desk.turn() == float("inf")
    desk.bench.client.refuse = None
    assert [answer["line"] for answer in desk.finish()] == [1, 2]


def test_a_line_that_waits_is_called_when_its_time_has_come(desk: Desk) -> None:
    desk.open(f"{GOOD}\n{GOOD}\n")
    desk.turn()
    desk.bench.client.postpone(desk.bench.client.asked[0], 60.0)
    desk.answer_all()
    assert not desk.batches[-1].finished
    assert desk.turn() == pytest.approx(desk.bench.clock.wall() + 60.0)
    desk.bench.clock.advance(61.0)
    desk.turn()
    (asked,) = desk.bench.client.asked
    assert (asked.errand.tried, len(asked.errand.attempts), asked.job.url) == (1, 1, "http://api.test/good")
    assert len(desk.finish()) == 2


def test_a_file_that_still_grows_is_not_at_its_end(desk: Desk) -> None:
    batch = desk.open(f"{GOOD}\n")
    # Well after the claim, whose time is the machine's.
    desk.bench.clock.advance(60.0)
    path, now = desk.bench.spool.path(batch.claim), desk.bench.clock.wall()
    # Written in place: the second line has only begun to come.
    with Path(path).open("a") as file:
        file.write(GOOD[:9])
    os.utime(path, (now, now))
    assert desk.turn() == pytest.approx(now + 0.5, abs=0.01)
    desk.answer_all()
    assert not batch.finished
    with Path(path).open("a") as file:
        file.write(GOOD[9:])
    os.utime(path, (now, now))
    desk.bench.clock.advance(1.0)
    assert [(answer["line"], answer["status"]) for answer in desk.finish()] == [(1, "done"), (2, "done")]


def test_a_restart_goes_on_after_the_last_whole_answer(desk: Desk) -> None:
    batch = desk.open(f"{GOOD}\n{{\n{GOOD}\n")
    desk.turn()
    desk.answer_all()
    part = next(Path(desk.bench.spool.outbox).glob("b.jsonl"))
    # As it was when the last of the three answers was half written.
    lines = part.read_bytes().splitlines(keepends=True)
    for path in Path(desk.bench.spool.outbox).iterdir():
        path.unlink()
    Path(desk.bench.spool.part(batch.claim, ".jsonl.part")).write_bytes(b"".join(lines[:2]) + lines[2][:20])
    Path(desk.bench.spool.path(batch.claim)).write_text(f"{GOOD}\n{{\n{GOOD}\n")
    again = desk.again()
    desk.bench.clock.advance(3600)
    desk.turn()
    done = {json.loads(line)["line"] for line in lines[:2]}
    assert {asked.errand.token.rpartition(":")[2] for asked in desk.bench.client.asked} == {
        str(number) for number in {1, 3} - done
    }
    desk.answer_all()
    assert again.finished
    assert [answer["line"] for answer in desk.answers()] == [1, 2, 3]
    assert desk.bench.read("outbox", "b.summary.json")["statuses"] == {"done": 2, "rejected": 1}


def test_two_batches_of_one_name_stay_two(desk: Desk) -> None:
    for _ in range(2):
        desk.open(f"{GOOD}\n{{\n")
        desk.turn()
        desk.answer_all()
    assert desk.bench.names("outbox") == ["b.jsonl", "b.summary.json", "b~r2.jsonl", "b~r2.summary.json"]
    assert desk.bench.names("failed") == ["b.jsonl", "b~r2.jsonl"]


def test_binary_bodies_lie_beside_the_answers(desk: Desk) -> None:
    desk.open(f"{GOOD}\n{GOOD}\n")
    desk.turn()
    desk.answer_all(body=b"\xff\x00")
    files = [answer["response"]["file"] for answer in desk.answers()]
    assert len(set(files)) == 2
    assert all(Path(desk.bench.spool.outbox, file).read_bytes() == b"\xff\x00" for file in files)


def test_the_lines_share_their_attachments(desk: Desk) -> None:
    desk.bench.drop("x.csv", "1;2")
    desk.open('{"url": "http://api.test/x", "file": "x.csv"}\n' * 2)
    assert len(desk.finish()) == 2
    assert desk.bench.names("inbox") == desk.bench.names("active") == []


def test_attachments_of_lines_answered_before_a_crash_are_not_forgotten(desk: Desk) -> None:
    desk.bench.drop("x.csv", "1;2")
    desk.open(f'{{"url": "http://api.test/x", "file": "x.csv"}}\n{GOOD}\n')
    desk.turn(1)
    desk.answer_all()
    desk.again()
    desk.bench.clock.advance(3600)
    assert len(desk.finish()) == 2
    assert desk.bench.names("active") == []


def test_a_line_whose_attachment_is_late_lets_the_others_pass(desk: Desk) -> None:
    desk.open(f'{{"url": "http://api.test/x", "file": "x.csv"}}\n{GOOD}\n')
    again = desk.turn()
    assert [asked.job.url for asked in desk.bench.client.asked] == ["http://api.test/good"]
    assert desk.bench.clock.wall() < again < desk.bench.clock.wall() + 1
    desk.bench.drop("x.csv", "1;2")
    desk.bench.clock.advance(1.0)
    desk.turn()
    assert len(desk.finish()) == 2


def test_a_line_whose_attachment_never_comes_is_rejected(desk: Desk) -> None:
    desk.open('{"url": "http://api.test/x", "file": "x.csv"}\n')
    desk.turn()
    desk.bench.clock.advance(10.0)
    (answer,) = desk.finish()
    assert answer["status"] == "rejected"


def test_a_full_disk_loses_and_doubles_no_answer(desk: Desk) -> None:
    batch = desk.open(f"{GOOD}\n{{\n")
    desk.turn()
    desk.bench.client.answer(desk.bench.client.asked[0])
    real = Path(desk.bench.spool.outbox)
    # Each step of the way out refuses once.
    for wall in (desk.bench.spool.outbox, desk.bench.spool.staged):
        away = Path(f"{wall}.away")
        Path(wall).rename(away)
        with pytest.raises(FileNotFoundError):
            desk.bench.outbox.commit()
        desk.bench.outbox.put(batch)
        away.rename(wall)
    batch.stage()
    batch.settle()
    assert batch.finished
    assert [answer["line"] for answer in desk.answers()] == [1, 2]
    assert sorted(path.name for path in real.iterdir()) == ["b.jsonl", "b.summary.json"]


def test_an_end_that_was_refused_half_way_goes_on_where_it_was(desk: Desk) -> None:
    batch = desk.open("{\n")
    desk.turn()
    summed_up = desk.bench.clock.wall()
    away = Path(f"{desk.bench.spool.failed}.away")
    Path(desk.bench.spool.failed).rename(away)
    Path(desk.bench.spool.failed).write_text("in the way")
    batch.stage()
    with pytest.raises(NotADirectoryError):
        batch.settle()
    Path(desk.bench.spool.failed).unlink()
    away.rename(desk.bench.spool.failed)
    desk.bench.clock.advance(60.0)
    batch.settle()
    finished = desk.bench.read("outbox", "b.summary.json")["finished"]
    assert datetime.fromisoformat(finished).timestamp() == pytest.approx(summed_up, abs=1.0)
    assert desk.bench.names("failed") == ["b.jsonl"]
    assert desk.bench.names("outbox") == ["b.jsonl", "b.summary.json"]
    assert desk.bench.names("active") == desk.bench.names("state/staged") == []


def test_a_batch_that_is_stopped_waits_for_the_next_start(desk: Desk) -> None:
    batch = desk.open(f"{GOOD}\n")
    desk.turn()
    desk.bench.client.postpone(desk.bench.client.asked[0], 0.0, stopped=True, attempts=[])
    batch.stop()
    assert desk.bench.names("active") == []
    assert desk.bench.names("deferred") == [batch.claim.filename]


def test_a_poisoned_line_is_answered_and_the_others_go_on(desk: Desk) -> None:
    batch = desk.open(f"{GOOD}\n{GOOD}\n")
    desk.bench.crashes[f"{batch.claim.token}:1"] = [1.0, 2.0, 3.0]
    assert [answer["status"] for answer in desk.finish()] == ["failed", "done"]


def test_the_outbox_is_told_once_of_all_answers_that_a_turn_had_at_hand(desk: Desk) -> None:
    batch = desk.open("{}\n[]\n" * 3 + f"{GOOD}\n")
    desk.turn(most=4)
    assert desk.bench.outbox.waiting == [batch]
    desk.turn(most=4)
    assert desk.bench.outbox.waiting == [batch, batch]
    desk.bench.outbox.commit()
    assert not batch.finished
    desk.answer_all()
    assert [answer["status"] for answer in desk.answers()] == ["rejected"] * 6 + ["done"]


def test_answers_at_hand_are_told_of_also_when_the_turn_ends_badly(desk: Desk) -> None:
    batch = desk.open(f"{{}}\n{GOOD}\n")
    desk.bench.client.refuse = OSError("no more open files")
    with pytest.raises(OSError, match="no more open files"):
        desk.turn()
    assert desk.bench.outbox.waiting == [batch]


def test_lines_begun_together_with_known_ones_wait_for_room_by_themselves(desk: Desk) -> None:
    desk.open(f"{KNOWN}\n{GOOD}\n{KNOWN}\n{GOOD}\n" * 2)
    desk.bench.client.refuse = LaneFull("api", 1.0, 1.0)
    assert desk.turn() == inf
    desk.bench.outbox.commit()
    assert desk.batches[-1].progress["done"] == 4
    assert desk.batches[-1].rests
    desk.bench.client.refuse = None
    desk.turn()
    assert [asked.errand.token.partition(":")[2] for asked in desk.bench.client.asked] == ["2", "4", "6", "8"]
    desk.answer_all()
    assert [answer["line"] for answer in desk.answers()] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_an_error_in_the_midst_of_lines_begun_together_begins_none_of_them_twice(desk: Desk) -> None:
    bad = '{"url": "http://api.test/bad"}'
    desk.open(f"{KNOWN}\n{KNOWN}\n{GOOD}\n{KNOWN}\n{bad}\n{KNOWN}\n{GOOD}\n")
    desk.bench.client.refuse, desk.bench.client.refused = OSError("no more open files"), "bad"
    with pytest.raises(OSError, match="no more open files"):
        desk.turn()
    assert len(desk.bench.client.asked) == 1
    desk.bench.client.refuse = None
    desk.turn()
    assert len(desk.bench.client.asked) == 3
    desk.answer_all()
    assert [answer["line"] for answer in desk.answers()] == [1, 2, 3, 4, 5, 6, 7]
