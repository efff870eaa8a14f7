"""What the cache holds can be seen, chosen and removed, without a daemon."""

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from inboxd.cache.entry import Entry
from inboxd.cache.key import key
from inboxd.cache.store import Store
from inboxd.daemon.cli import main


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["cache", *arguments, "--folder", str(folder)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    now, store = time.time(), Store(tmp_path / "cache")
    for api, path, age, body in (
        ("shop", "a", 10, b"hello"),
        ("shop", "b", 7200, b"\xff" * 10),
        ("mail", "a", 10, b""),
    ):
        url = f"http://{api}.example/{path}"
        request = {"api": api, "method": "GET", "url": url}
        assert store.put(key("GET", url), Entry(now - age, now - age + 3600, request, 200, {}, body), keep=1e6)
    return tmp_path / "cache"


def test_what_is_stored_is_listed_with_its_sum(folder: Path) -> None:
    shown = run(folder, "ls").output.splitlines()
    assert len(shown) == 4
    assert shown[-1] == "3 answers, 15 bytes of bodies"
    line = next(line for line in shown if "shop.example/b" in line)
    assert line.split()[1:] == ["2h", "stale", "200", "10", "GET", "http://shop.example/b"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], 3),
        (["--api", "shop"], 2),
        (["--url", "*/a"], 2),
        (["--url", "http://mail.example/*"], 1),
        (["--older", "1h"], 1),
        (["--api", "shop", "--older", "3h"], 0),
    ],
)
def test_filters_choose_what_is_listed_and_what_is_removed(folder: Path, filters: list[str], expected: int) -> None:
    listed = [json.loads(line) for line in run(folder, "ls", "--json", *filters).output.splitlines()]
    assert len(listed) == expected
    noun = "answer" if expected == 1 else "answers"
    assert run(folder, "purge", *filters).output == f"{expected} {noun} removed\n"
    assert len(run(folder, "ls", "--json").output.splitlines()) == 3 - expected


def test_one_entry_is_shown_as_it_is_stored(folder: Path) -> None:
    name = key("GET", "http://shop.example/b")
    shown = json.loads(run(folder, "show", name[:12]).output)
    assert shown["key"] == name
    assert shown["request"]["url"] == "http://shop.example/b"
    assert shown["response"]["bytes"] == 10


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (["show", "xyz"], "no entry begins with xyz", 1),
        (["show", ""], "3 entries begin with", 1),
        (["ls", "--older", "soon"], '--older: "soon" is not a duration', 2),
    ],
)
def test_what_cannot_be_done_is_said(folder: Path, arguments: list[str], says: str, code: int) -> None:
    result = run(folder, *arguments)
    assert says in result.output
    assert result.exit_code == code


def test_a_cache_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    assert "there is no cache; name a spool" in run(tmp_path / "none", "ls").output
