"""Dropping failed jobs again: which files go back into the inbox, and when rather nothing does."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from inboxd.daemon.retry import retry_all
from inboxd.daemon.spool import Spool

URL = "http://127.0.0.1/"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(str(tmp_path / "spool"))
    spool.make()
    return spool


def put(folder: str, name: str, *jobs: Any) -> None:
    Path(folder, name).write_text("".join(f"{json.dumps(job)}\n" for job in jobs))


def lies(spool: Spool) -> tuple[list[str], list[str]]:
    return sorted(os.listdir(spool.inbox)), sorted(os.listdir(spool.failed))


@pytest.mark.parametrize("want", ["one", "one.json"])
def test_a_job_is_named_with_or_without_its_suffix(spool: Spool, want: str) -> None:
    put(spool.failed, "one.json", {"url": URL})
    put(spool.failed, "two.json", {"url": URL})
    assert retry_all(spool.root, [want]) == (["one.json"], [])
    assert lies(spool) == (["one.json"], ["two.json"])


def test_all_means_every_job(spool: Spool) -> None:
    put(spool.failed, "one.json", {"url": URL})
    put(spool.failed, "two~r2.json", {"url": URL})
    put(spool.failed, "three.jsonl", {"url": URL}, {"url": URL})
    assert retry_all(spool.root, None) == (["one.json", "three.jsonl", "two~r2.json"], [])
    assert lies(spool) == (["one.json", "three.jsonl", "two~r2.json"], [])


def test_all_of_nothing_is_nothing(spool: Spool) -> None:
    assert retry_all(spool.root, None) == ([], [])


def test_attachments_go_along(spool: Spool) -> None:
    put(spool.failed, "one.json", {"url": URL, "file": "photo.jpg"})
    put(spool.failed, "photo.jpg")
    put(spool.failed, "other.jpg")
    assert retry_all(spool.root, ["one"]) == (["one.json"], [])
    assert lies(spool) == (["one.json", "photo.jpg"], ["other.jpg"])


def test_the_attachments_of_every_line_of_a_batch_go_along(spool: Spool) -> None:
    parts = {"photo": {"file": "b.jpg"}, "text": "t"}
    put(spool.failed, "many.jsonl", {"url": URL, "file": "a.jpg"}, "no job", {"url": URL, "multipart": parts})
    put(spool.failed, "a.jpg")
    put(spool.failed, "b.jpg")
    assert retry_all(spool.root, ["many"]) == (["many.jsonl"], [])
    assert lies(spool) == (["a.jpg", "b.jpg", "many.jsonl"], [])


def test_an_attachment_that_came_later_stays_in_the_inbox(spool: Spool) -> None:
    put(spool.failed, "one.json", {"url": URL, "file": "photo.jpg"})
    put(spool.inbox, "photo.jpg")
    assert retry_all(spool.root, ["one"]) == (["one.json"], [])
    assert lies(spool) == (["one.json", "photo.jpg"], [])


@pytest.mark.parametrize("taken", ["one.json", "photo.jpg"])
def test_a_name_that_is_taken_in_the_inbox_moves_nothing(spool: Spool, taken: str) -> None:
    put(spool.failed, "one.json", {"url": URL, "file": "photo.jpg"})
    put(spool.failed, "photo.jpg")
    put(spool.inbox, taken, "another")
    moved, problems = retry_all(spool.root, ["one"])
    assert (moved, problems) == ([], [f"one.json: another {taken} waits in the inbox; try again when it is gone"])
    assert lies(spool) == ([taken], ["one.json", "photo.jpg"])
    assert Path(spool.inbox, taken).read_text() == '"another"\n'


def test_one_that_cannot_go_does_not_keep_the_others(spool: Spool) -> None:
    put(spool.failed, "one.json", {"url": URL})
    moved, problems = retry_all(spool.root, ["gone", "one"])
    assert (moved, problems) == (["one.json"], ["gone: not in failed/"])


def test_a_rejected_file_can_be_dropped_again_as_it_is(spool: Spool) -> None:
    Path(spool.failed, "bad.json").write_bytes(b"\xff{")
    assert retry_all(spool.root, ["bad"]) == (["bad.json"], [])
    assert Path(spool.inbox, "bad.json").read_bytes() == b"\xff{"


def test_a_link_in_failed_is_not_followed(spool: Spool, tmp_path: Path) -> None:
    put(str(tmp_path), "secret", {"url": URL})
    Path(spool.failed, "one.json").symlink_to(tmp_path / "secret")
    moved, (problem,) = retry_all(spool.root, ["one"])
    assert moved == []
    assert problem == "one.json: the file is a symbolic link; drop the file itself"


def test_without_a_spool_there_is_a_hint(tmp_path: Path) -> None:
    assert retry_all(str(tmp_path / "x"), None) == (
        [],
        [f"{tmp_path}/x: no spool here; start `inboxd run` once, or name one with --spool"],
    )


def test_of_a_tree_only_what_failed_is_dropped_again_and_not_what_will_follow_it(spool: Spool) -> None:
    """What is below a failed job follows again from its next end."""
    names = ["a~2.json", "a~2~3.json", "a~1.10~1.json", "a~callback.json", "ab~1.json", "a~r2.json"]
    for name in names:
        put(spool.failed, name, {"url": URL})
    assert retry_all(spool.root, ["a"]) == (["a~1.10~1.json", "a~2.json", "a~callback.json"], [])
    assert lies(spool)[1] == ["ab~1.json", "a~2~3.json", "a~r2.json"]
