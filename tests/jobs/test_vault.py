"""Where a credential is looked for."""

import os
from pathlib import Path

import pytest

from inboxd.jobs.vault import SecretMissing, Vault


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "credentials").mkdir()
    return {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}


def written(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_systemd_comes_before_the_file_and_the_file_before_the_environment(
    places: dict[str, str], tmp_path: Path
) -> None:
    vault = Vault(
        written(tmp_path / "s.toml", 'a = "file a"\nb = "file b"'), {**places, "a": "x", "b": "x", "c": "env c"}
    )
    written(tmp_path / "credentials" / "a", "systemd a\n", 0o400)
    assert [vault.get(name) for name in "abc"] == ["systemd a", "file b", "env c"]


def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    vault = Vault(written(tmp_path / "s.toml", 'a = "old"'), {})
    assert vault.get("a") == "old"
    written(tmp_path / "new.toml", 'a = "newer"')
    os.replace(tmp_path / "new.toml", tmp_path / "s.toml")
    assert vault.get("a") == "newer"


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        ('a = "x"', 0o640, "can be read by others; it is used when its mode is 0600"),
        ('a = "x"', 0o604, "can be read by others"),
        ("a = 5", 0o600, "a: expected a string"),
        ('b = "x"', 0o600, 'there is no secret "a"; looked for in'),
        ('a = "s3cret', 0o600, ":1:"),
    ],
)
def test_a_file_that_does_not_serve_is_told_without_what_is_in_it(
    text: str, mode: int, why: str, tmp_path: Path
) -> None:
    with pytest.raises(SecretMissing) as caught:
        Vault(written(tmp_path / "s.toml", text, mode), {}).get("a")
    assert why in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SecretMissing, match="cannot be read: No such file"):
        Vault(str(tmp_path / "none.toml"), {}).get("a")


def test_filling_is_done_once_and_tells_what_was_used(places: dict[str, str]) -> None:
    vault, used = Vault(None, {"a": "A${secret:b}", "b": "B"}), set[str]()
    assert vault.fill({"x": ["<${secret:a}>", 1], "${secret:b}": "${id}"}, used) == {
        "x": ["<A${secret:b}>", 1],
        "${secret:b}": "${id}",
    }
    assert used == {"A${secret:b}"}


def test_what_is_missing_is_told_once_for_each_name() -> None:
    told = Vault(None, {"a": "x"}).missing([{"k": "${secret:a} ${secret:zz}"}, "${secret:zz}"])
    assert told == ['there is no secret "zz"; looked for in the environment']


@pytest.mark.parametrize("name", ["..", "."])
def test_a_name_is_no_way_to_another_folder(name: str, places: dict[str, str]) -> None:
    with pytest.raises(SecretMissing):
        Vault(None, places).get(name)
