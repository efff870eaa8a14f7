"""What files are called, and which names are nobody's."""

import os

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from inboxd.daemon import names

TOKEN = "01932c4e-7b1a-7000-8000-0123456789ab"


@pytest.mark.parametrize("filename", ["a.json", "a.JSON", "a.jsonl", "ä b.json", "a.tmp.json", "a~r2.json"])
def test_a_json_file_is_a_job(filename: str) -> None:
    assert names.is_job(filename)


@pytest.mark.parametrize(
    "filename", [".a.json", "a.json.tmp", "a.json.part", "a.json~", ".a.json.swp", "a.csv", "json"]
)
def test_what_is_hidden_unfinished_or_no_json_is_not(filename: str) -> None:
    assert not names.is_job(filename)


@pytest.mark.parametrize(
    ("filename", "name", "kind"),
    [("a.json", "a", ".json"), ("a.JSON", "a", ".json"), ("a.JsonL", "a", ".jsonl"), ("a.b.json", "a.b", ".json")],
)
def test_a_claim_has_the_name_without_its_ending(filename: str, name: str, kind: str) -> None:
    claim = names.new_claim(filename)
    assert (claim.name, claim.kind, claim.trouble) == (name, kind, None)


@pytest.mark.parametrize("filename", ["a~r2.json", "a~r17.json", "a~r2.JSON"])
def test_a_job_that_failed_again_is_dropped_under_its_first_name(filename: str) -> None:
    claim = names.new_claim(filename)
    assert (claim.name, claim.trouble) == ("a", None)


@pytest.mark.parametrize("name", ["a~1x", f"a~{TOKEN}", f"~{TOKEN}@x", "~r2", "a~r", "a~r2x"])
def test_a_tilde_of_somebody_else_is_refused(name: str) -> None:
    assert "~" in str(names.new_claim(f"{name}.json").trouble)


@pytest.mark.parametrize("name", ["tab\there", "line\nbreak", "\x7f", "bell\a", "caf\udce9"])
def test_a_name_that_cannot_be_printed_is_refused(name: str) -> None:
    claim = names.new_claim(f"{name}.json")
    assert "not printable" in str(claim.trouble)
    assert claim.name.isprintable()


@pytest.mark.parametrize("name", ["x" * 201, "ä" * 101, "\U0001f600" * 51])
def test_a_name_too_long_for_what_is_added_to_it_is_refused_and_cut(name: str) -> None:
    claim = names.new_claim(f"{name}.json")
    assert "longer than 200 bytes" in str(claim.trouble)
    assert len(os.fsencode(claim.name)) <= 200


@given(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=300), st.sampled_from([".json", ".jsonl"]))
def test_every_claim_is_known_again_by_its_file(name: str, kind: str) -> None:
    filename = os.fsdecode(os.fsencode(name.encode("utf-8", "replace").decode()))[:250] + kind
    assume(names.is_job(filename))
    claim = names.new_claim(filename)
    assert len(os.fsencode(claim.filename)) <= 255
    assert len(os.fsencode(names.part(claim, ".jsonl.part"))) <= 255
    again = names.parse(claim.filename)
    assert again is not None
    assert (again.name, again.token, again.kind) == (claim.name, claim.token, claim.kind)


def test_only_what_comes_out_of_the_inbox_is_fresh() -> None:
    claim = names.new_claim("a.json")
    again = names.parse(claim.filename)
    assert again == claim
    assert (claim.fresh, again is not None and again.fresh) == (True, False)


@pytest.mark.parametrize("filename", ["a.json", "a~x.json", f"~{TOKEN}.json", f"a~{TOKEN}.csv", f"a~{TOKEN}"])
def test_a_foreign_file_in_our_folders_is_not_one_of_ours(filename: str) -> None:
    assert names.parse(filename) is None


def test_an_attachment_and_a_part_are_known_by_their_names() -> None:
    claim = names.Claim("a", TOKEN, ".jsonl")
    assert names.parse_attached(names.attached(claim, "x~y.csv")) == (TOKEN, "x~y.csv")
    assert names.parse_attached("x.csv") is None
    assert names.parse_part(names.part(claim, ".jsonl.part")) == claim
    assert names.parse_part("a.jsonl") is None


def test_the_time_of_a_claim_is_in_its_token() -> None:
    assert names.claimed_at(TOKEN) == int("01932c4e7b1a", 16) / 1000


def test_names_that_are_taken_are_numbered_from_two() -> None:
    stems = names.stems("a")
    assert [next(stems) for _ in range(3)] == ["a", "a~r2", "a~r3"]
