"""A spool that somebody tore apart is put right, nothing is deleted, and everything is said."""

import json
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inboxd.daemon.disk import Disk
from inboxd.daemon.folders import FOLDERS
from inboxd.daemon.fsck import check
from inboxd.daemon.recovery import recover
from inboxd.daemon.spool import Spool
from inboxd.jobs.ids import uuid7

# One that does not change, for it stands in the names of tests.
TOKEN = "01900000-0000-7000-8000-000000000000"
JOB = '{"url": "http://127.0.0.1/%s"}\n'


def fresh(root: str) -> Spool:
    spool = Spool(root, Disk(fsync=False))
    spool.make()
    return spool


def answer(name: str, claim: str, status: str = "done") -> str:
    return json.dumps({"id": claim, "name": name, "claim": claim, "status": status}, separators=(",", ":")) + "\n"


def lay(spool: Spool, path: str, content: str) -> Path:
    file = Path(spool.root, path)
    file.write_text(content)
    return file


def furnish(spool: Spool) -> None:
    """Lay down some of everything that a spool may hold when its daemon was killed."""
    tokens = [uuid7() for _ in range(8)]
    lay(spool, "inbox/new.json", JOB % "new")
    lay(spool, f"active/one~{tokens[0]}.json", JOB % "one")
    lay(spool, f"active/~{tokens[0]}@photo.png", "photo")
    lay(spool, f"active/many~{tokens[1]}.jsonl", JOB % "many" * 3)
    lay(spool, f"outbox/.many~{tokens[1]}.jsonl.part", '{"line":1,"status":"done"}\n')
    lay(spool, f"deferred/two~{tokens[2]}.json", JOB % "two")
    lay(spool, f"active/three~{tokens[3]}.json", JOB % "three")
    lay(spool, f"state/staged/{tokens[3]}.json", answer("three", tokens[3]))
    lay(spool, f"state/staged/{tokens[4]}.json", answer("four", tokens[4], "failed"))
    lay(spool, f"state/staged/{tokens[4]}.json.failed", JOB % "four")
    lay(spool, f"state/staged/{tokens[4]}~1~{uuid7()}.child", JOB % "below")
    lay(spool, f"state/staged/{tokens[4]}~2~1~{uuid7()}.ended", answer("four~2~1", uuid7(), "skipped"))
    lay(spool, "outbox/five.json", answer("five", tokens[5]))
    lay(spool, "outbox/five.body", "body")
    lay(spool, "outbox/six.jsonl", '{"line":1}\n')
    lay(spool, "outbox/six.summary.json", "{}\n")
    lay(spool, f"hold/seven~{tokens[6]}.json", JOB % "seven")
    lay(spool, f"active/~{tokens[6]}@paper.pdf", "paper")
    lay(spool, "failed/eight.json", JOB % "eight")
    lay(spool, "state/lanes.json", '{"at": 1, "lanes": {}}')


def files(spool: Spool) -> list[Path]:
    return sorted(path for path in Path(spool.root).rglob("*") if path.is_file() and not path.is_symlink())


def contents(spool: Spool) -> Counter[bytes]:
    return Counter(path.read_bytes() for path in files(spool))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return fresh(str(tmp_path / "spool"))


def test_a_sound_spool_is_left_as_it_is(spool: Spool) -> None:
    furnish(spool)
    before = files(spool)
    assert check(spool) == []
    assert files(spool) == before


DAMAGE = st.lists(
    st.tuples(
        st.sampled_from(["remove", "move", "double", "cut", "empty", "rename", "link", "fifo"]),
        st.integers(0, 1000),
        st.sampled_from([name for name in FOLDERS if name not in {"queues", "cache"}]),
        st.integers(0, 200),
    ),
    max_size=8,
)


def damage(spool: Spool, how: str, which: int, folder: str, size: int) -> None:
    there = files(spool)
    file, place = there[which % len(there)], Path(spool.folder(folder))
    if how == "remove":
        file.unlink()
    elif how == "move" and not (place / file.name).exists():
        file.rename(place / file.name)
    elif how == "double" and not (place / file.name).exists():
        shutil.copy(file, place / file.name)
    elif how == "cut":
        os.truncate(file, min(size, file.stat().st_size))
    elif how == "empty":
        os.truncate(file, 0)
    elif how == "rename":
        file.rename(file.with_name(f"{file.name}.{size}"))
    elif how == "link":
        (place / f"link-{size}.json").unlink(missing_ok=True)
        (place / f"link-{size}.json").symlink_to(file)
    elif how == "fifo" and not (place / f"fifo-{size}").exists():
        os.mkfifo(place / f"fifo-{size}")


@given(DAMAGE)
@settings(max_examples=150)
def test_after_any_damage_it_ends_in_a_sound_spool_and_nothing_is_deleted(
    blows: list[tuple[str, int, str, int]],
) -> None:
    with tempfile.TemporaryDirectory() as root:
        spool = fresh(root)
        furnish(spool)
        for blow in blows:
            damage(spool, *blow)
        before, moved = contents(spool), set(files(spool))
        found = check(spool)
        assert contents(spool) == before
        # Everything that is elsewhere now was said.
        gone = {str(path.relative_to(spool.root)) for path in moved - set(files(spool))}
        assert gone <= {one.path for one in found}
        assert check(spool) == []
        staged = {name[:36] for name in os.listdir(spool.staged)}
        jobs = {
            path.read_bytes()
            for path in files(spool)
            if path.parent.name != "staged" and not any(token in path.name for token in staged)
        }
        recover(spool)
        recover(spool)
        # What has a staged answer may be over by that; nothing else just goes.
        assert jobs <= {path.read_bytes() for path in files(spool)}


@pytest.mark.parametrize(
    ("path", "content", "what"),
    [
        ("active/plain.json", "{}", "a name that inboxd does not give here"),
        (f"active/~{TOKEN}@photo.png", "x", "an attachment of a job that is nowhere"),
        (f"outbox/.b~{TOKEN}.jsonl.part", "", "the unfinished answers of a batch that is nowhere"),
        ("outbox/torn.json", '{"id": "x", "na', "not whole, or not an answer"),
        ("outbox/torn.jsonl", '{"id": "x"}\n{"i', "its last line is not whole"),
        (f"state/staged/{TOKEN}.json.failed", "{}", "a piece of a job that is nowhere"),
        (f"state/staged/{TOKEN}.json", '{"id": ', "torn, and its job is nowhere"),
        ("state/lanes.json", "{", "cannot be read; the daemon makes it anew"),
    ],
)
def test_it_says_what_was_wrong_and_where_the_thing_is_now(spool: Spool, path: str, content: str, what: str) -> None:
    lay(spool, path, content)
    (found,) = check(spool)
    assert (found.path, found.what) == (path, what)
    assert Path(spool.root, found.done.removeprefix("moved to ")).read_text() == content


def test_of_two_files_of_one_job_the_one_with_the_trace_stays(spool: Spool) -> None:
    token = uuid7()
    lay(spool, f"deferred/a~{token}.json", "newer")
    lay(spool, f"active/a~{token}.json", "older")
    (found,) = check(spool)
    assert found.path == f"active/a~{token}.json"
    assert Path(spool.root, f"hold/a~{token}.json").read_text() == "older"


def test_a_job_that_is_answered_already_is_put_aside(spool: Spool) -> None:
    token = uuid7()
    lay(spool, "outbox/a.json", answer("a", uuid7()))
    lay(spool, "outbox/a~r2.json", answer("a", token))
    lay(spool, f"active/a~{token}.json", JOB % "a")
    assert [one.what for one in check(spool)] == ["its answer is in the outbox already"]


def test_a_missing_folder_is_made_and_a_file_in_its_place_kept(spool: Spool) -> None:
    Path(spool.outbox).rmdir()
    Path(spool.folder("hold")).rmdir()
    lay(spool, "hold", "not a folder")
    assert {(one.path, one.what) for one in check(spool)} == {
        ("outbox", "the folder is missing"),
        ("hold", "not a folder"),
        ("hold", "the folder is missing"),
    }
    assert Path(spool.root, "hold.fsck").read_text() == "not a folder"
