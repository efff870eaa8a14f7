"""What follows what: decided from a job and its answer alone, and the same each time."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inboxd.jobs.faults import Invalid
from inboxd.jobs.followers import DEEPEST, MOST_ITEMS
from inboxd.jobs.job import parse_object
from inboxd.jobs.result import Problem
from inboxd.jobs.tree import Child, alone, follow, longest_suffix

URL = "http://api.test/x"
CLAIM = "01a20300-0000-7000-8000-000000000000"
LEAF = {"url": URL}


def answer(status: str = "done", body: Any = None, **more: Any) -> dict[str, Any]:
    """Return an answer as its file has it."""
    error = {} if status == "done" else {"error": {"kind": "server", "message": "the server answered 503"}}
    response = {"response": {"status": 200, "headers": {}, "json": body}}
    return {"id": "t", "name": "T", "claim": CLAIM, "status": status, **response, **error, **more}


def children(job: dict[str, Any], **of: Any) -> dict[str, Child]:
    found = list(follow(parse_object({"url": URL, **job}), answer(**of)))
    assert len({child.suffix for child in found}) == len(found)
    return {child.suffix: child for child in found}


def made(job: dict[str, Any], **of: Any) -> Any:
    """Return the one job that follows, without what only tells where it stands."""
    [child] = children({"then": [job]}, **of).values()
    assert child.job is not None
    return {key: value for key, value in child.job.items() if key not in {"tree", "id"}}


def said(job: dict[str, Any]) -> str:
    with pytest.raises(Invalid) as caught:
        parse_object({"url": URL, **job})
    return caught.value.message


@pytest.mark.parametrize(
    ("status", "runs", "skipped"),
    [
        ("done", {"~1"}, set()),
        ("failed", {"~2"}, {"~1", "~1~1"}),
        ("rejected", {"~2"}, {"~1", "~1~1"}),
        ("expired", {"~2"}, {"~1", "~1~1"}),
        ("skipped", set(), {"~1", "~1~1"}),
        ("cancelled", set(), {"~1", "~1~1"}),
    ],
)
def test_what_runs_and_what_is_skipped_follows_from_the_status(status: str, runs: set[str], skipped: set[str]) -> None:
    found = children({"then": [{**LEAF, "then": [LEAF]}], "otherwise": [{**LEAF, "then": [LEAF]}]}, status=status)
    assert {suffix for suffix, child in found.items() if child.job is not None} == runs
    assert {suffix for suffix, child in found.items() if child.status == "skipped" and not child.job} == skipped


def test_all_below_are_told_the_same_reason_however_deep() -> None:
    found = children({"then": [{**LEAF, "then": [LEAF]}]}, status="failed")
    assert {child.problem for child in found.values()} == {Problem("skipped", "T failed: the server answered 503")}
    below = answer("skipped", name="T~1", error={"kind": "skipped", "message": "T failed: no"})
    [child] = follow(parse_object({"url": URL, "then": [LEAF]}), below)
    assert child.problem == Problem("skipped", "T failed: no")


@pytest.mark.parametrize(
    ("gap", "value"),
    [
        ("${parent.json.mail}", "a@b"),
        ("${root.json}", {"mail": "a@b", "n": [1, 2]}),
        ("${parent.id} ${parent.status} ${parent.response.status}", "t done 200"),
        ("${sum(parent.json.n)}", 3),
        ("${parent.json.nothing}", None),
        ("$${parent.json.mail}", "${parent.json.mail}"),
    ],
)
def test_gaps_are_filled_from_the_answer(gap: str, value: Any) -> None:
    body = {"mail": "a@b", "n": [1, 2]}
    assert made({"url": URL, "json": [gap]}, body=body) == {"url": URL, "json": [value]}


def test_what_was_selected_is_the_value_and_what_was_sent_is_beside_it() -> None:
    assert made({"url": URL, "json": ["${parent.value}", "${parent.json}"]}, body=1, value=[7])["json"] == [[7], 1]


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_no_answer_changes_more_of_a_job_than_the_gap_it_fills(body: Any) -> None:
    job = {"url": URL, "json": {"a": "${parent.json}"}, "then": [{"url": "${parent.json.url}"}]}
    assert made(job, body=body) == {**job, "json": {"a": body}}


def test_each_item_makes_a_child_and_is_known_to_those_below_it() -> None:
    spec = {
        "for_each": "json.ids",
        "url": URL + "/${item.id}",
        "then": [{"url": URL, "json": "${item.id} ${root.name}"}],
    }
    found = children({"then": [spec, LEAF]}, body={"ids": [{"id": 1}, {"id": 2}]})
    assert list(found) == ["~1.1", "~1.2", "~2"]
    job = found["~1.2"].job
    assert job is not None
    assert (job["url"], job["tree"]["known"]["item"], "for_each" in job) == (URL + "/2", {"id": 2}, False)
    [below] = follow(parse_object(job), answer(id="t~1.2", name="T~1.2", claim="other", root=CLAIM))
    assert below.job is not None
    assert (below.job["json"], below.job["tree"]) == ("2 T", {"root": CLAIM, "known": {}})


@pytest.mark.parametrize(
    ("items", "told"),
    [
        (None, "for_each: 'json' gave null; expected a list"),
        ({}, "for_each: 'json' gave an object; expected a list"),
        ([0] * (MOST_ITEMS + 1), f"for_each: 'json' gave {MOST_ITEMS + 1} items; at most {MOST_ITEMS} are allowed"),
    ],
)
def test_items_that_are_no_list_or_too_many_end_the_branch(items: Any, told: str) -> None:
    found = children({"then": [{**LEAF, "for_each": "json", "then": [LEAF]}, LEAF]}, body=items)
    assert (found["~1"].status, found["~1"].problem) == ("rejected", Problem("invalid", told))
    assert (found["~1~1"].status, found["~1~1"].problem) == (
        "skipped",
        Problem("skipped", f"its parent was rejected: {told}"),
    )
    assert found["~2"].job is not None


def test_no_items_are_told_too() -> None:
    found = children({"then": [{**LEAF, "for_each": "json"}]}, body=[])
    assert found["~1"].problem == Problem("skipped", "for_each: 'json' gave no items")


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"url": "${parent.json.url}"}, "url: expected an absolute http:// or https:// URL"),
        ({"url": URL + "/${parent.json}"}, "url: ${parent.json}: found an object; within a text stands"),
        ({"url": URL, "timeout": "${parent.json.n}"}, "timeout: expected a duration"),
    ],
)
def test_a_gap_that_comes_to_nothing_good_ends_its_child_only(spec: dict[str, Any], told: str) -> None:
    found = children({"then": [{**spec, "then": [LEAF]}, LEAF]}, body={"url": "ftp://x", "n": [1]})
    assert found["~1"].status == "rejected"
    assert found["~1"].problem is not None
    assert found["~1"].problem.message.startswith(told)
    assert found["~1~1"].status == "skipped"
    assert found["~2"].job is not None


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ({"then": LEAF}, "then: expected a list of jobs"),
        ({"then": [{"json": 1}]}, "then.0: one of the keys url, call, do and queue is missing"),
        ({"then": [{"ulr": URL}]}, 'then.0: ulr: unknown key; did you mean "url"?'),
        ({"then": [{**LEAF, "ur": 1}]}, 'then.0: ur: unknown key; did you mean "url"?'),
        ({"then": [LEAF, {**LEAF, "retries": "${parent.json}"}]}, "then.1: retries: unknown key"),
        ({"otherwise": [{**LEAF, "then": [{**LEAF, "timeout": "x"}]}]}, "otherwise.0: then.0: timeout: "),
        ({"then": [{"url": URL + "/${paren.id}"}]}, 'then.0: url: there is no "paren" here; did you mean "parent"?'),
        ({"then": [{"url": URL + "/${item.id}"}]}, 'then.0: url: there is no "item" here; there are parent, root'),
        ({"then": [{**LEAF, "json": {"a": ["${parent..}"]}}]}, "then.0: json.a.0: "),
        ({"then": [{**LEAF, "for_each": "json["}]}, "then.0: for_each: "),
        ({"then": [{**LEAF, "tree": {}}]}, "then.0: tree: this key is written by the daemon"),
        ({"for_each": "json"}, "for_each: expected only in a job within then or otherwise"),
        ({"callback": "me.example"}, "callback: expected an absolute http:// or https:// URL"),
        ({"callback": {"url": URL, "urk": 1}}, "callback.urk: unknown key"),
        ({"after": ["../x"]}, "after.0: expected names of jobs"),
    ],
)
def test_what_can_be_known_before_is_told_when_the_root_comes_in(job: dict[str, Any], told: str) -> None:
    assert said(job).startswith(told)


def test_a_tree_has_a_greatest_depth() -> None:
    job: dict[str, Any] = LEAF
    for _ in range(DEEPEST):
        job = {**LEAF, "then": [job]}
    parse_object(job)
    assert said({"then": [job]}).startswith(f"then: expected a tree of at most {DEEPEST} levels below its root")


def test_ids_of_children_begin_with_their_parents_unless_they_have_their_own() -> None:
    found = children({"then": [LEAF, {**LEAF, "id": "mail-${parent.json}"}]}, body=5)
    assert [child.id for child in found.values()] == ["t~1", "mail-5"]
    assert [child.job["id"] for child in found.values() if child.job] == ["t~1", "mail-5"]
    [child] = follow(parse_object({"url": URL, "then": [LEAF]}), answer(id="x" * 200))
    assert child.job is not None
    assert (child.id, "id" in child.job) == (None, False)


@pytest.mark.parametrize(
    ("of", "told"),
    [
        ({"body": {"n": 1}}, {"data": {"n": 1}}),
        ({"body": {"n": 1}, "value": [1]}, {"data": [1]}),
        ({"response": {"status": 200, "text": "hello"}}, {"data": "hello"}),
        (
            {"response": {"status": 200, "file": "T.body", "bytes": 3, "sha256": "ab"}},
            {"data": {"file": "T.body", "bytes": 3, "sha256": "ab"}},
        ),
        ({"response": {"status": 204}}, {"data": None}),
        ({"status": "failed"}, {"data": None, "error": {"kind": "server", "message": "the server answered 503"}}),
    ],
)
def test_a_callback_tells_id_and_data_and_after_a_failure_the_error(of: dict[str, Any], told: dict[str, Any]) -> None:
    callback = {"url": URL + "/hook", "headers": {"X": "y"}, "attempts": 9, "reprocess": {"after": "1m", "rounds": 3}}
    job = children({"callback": callback}, **of)["~callback"].job
    assert job == {
        "id": "t",
        "method": "POST",
        "url": URL + "/hook",
        "headers": {"Idempotency-Key": "t~callback", "X": "y"},
        "json": {"requestId": "t", **told},
        "attempts": 9,
        "reprocess": {"after": 60.0, "rounds": 3},
        "tree": {"root": CLAIM},
    }
    parse_object(job)


def test_nothing_follows_twice_from_one_answer_that_is_given_twice() -> None:
    assert children({"then": [LEAF], "callback": URL}, repeats="other") == {}


@pytest.mark.parametrize(
    ("key", "value"), [("then", [LEAF]), ("otherwise", [LEAF]), ("after", ["a"]), ("callback", URL)]
)
def test_without_a_folder_a_job_stands_alone(key: str, value: Any) -> None:
    with pytest.raises(Invalid, match=f"^{key}: only a job with a file of its own"):
        alone(parse_object({"url": URL, key: value}))


@pytest.mark.parametrize(
    ("job", "longest"),
    [
        ({}, ""),
        ({"callback": URL}, "~callback"),
        ({"then": [LEAF]}, "~1"),
        ({"then": [{**LEAF, "for_each": "json"}]}, f"~1.{MOST_ITEMS}"),
        ({"then": [LEAF] * 10, "otherwise": [{**LEAF, "callback": URL}]}, "~11~callback"),
    ],
)
def test_the_longest_name_in_a_tree_is_known_before(job: dict[str, Any], longest: str) -> None:
    assert longest_suffix(parse_object({"url": URL, **job})) == len(longest)


def test_half_a_character_in_an_expression_ends_its_child_in_words_that_can_be_written() -> None:
    found = children({"then": [{"url": URL, "json": 'a${parent."\\ud800"}'}]}, body=1)
    assert found["~1"].problem is not None
    found["~1"].problem.message.encode()
