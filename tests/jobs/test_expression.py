"""Expressions that strangers write: bounded, and without a way out of JSON."""

import re

import pytest

from inboxd.jobs.expression import LONGEST_JOIN, Expression


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("id", {"id"}),
        ("parent.json.items[0].id", {"parent"}),
        ("parent.json.items[?price > `10`].name", {"parent"}),
        ("items[].{a: b, c: d}", {"items"}),
        ("{a: x, b: y.z}", {"x", "y"}),
        ("join(', ', names)", {"names"}),
        ("sort_by(people, &age)[0].name", {"people"}),
        ("a || b", {"a", "b"}),
        ("a | b", {"a"}),
        ("*.a", set()),
        ("`1`", set()),
    ],
)
def test_the_first_names_are_those_looked_up_in_the_value_itself(text: str, names: set[str]) -> None:
    assert Expression(text).names == names


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a.", "not a JMESPath expression"),
        ("", "not a JMESPath expression"),
        ("no_such(a)", "there is no function no_such()"),
        ("&a", "stands only in"),
        ("to_array(&a)", "stands only in"),
        ("a" * 2000, "at most 1000 characters"),
        ("|".join(["[@,@]"] * 20), "1048576 times its input"),
        ("|".join(["[@,@][]"] * 20), "1048576 times its input"),
        ("map(&[@,@,@,@], [a,a,a,a]) | map(&[@,@,@,@], [@,@,@,@]) | [@,@,@,@,@]", "times its input"),
        ("to_string(" * 8 + "a" + ")" * 8, "times its input"),
        ("[" * 400 + "a" + "]" * 400, "nested too deeply"),
    ],
)
def test_an_expression_that_is_none_or_could_grow_without_end_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        Expression(text)


def test_a_wide_selection_is_not_taken_for_growth() -> None:
    wide = "items[].{" + ", ".join(f"f{n}: a.b{n}" for n in range(40)) + "}"
    assert Expression(wide).search({"items": [{"a": {"b3": 1}}]})[0]["f3"] == 1


def test_joining_cannot_square_the_size() -> None:
    value = {"glue": "x" * 5000, "many": ["y"] * (LONGEST_JOIN // 5000 + 1)}
    with pytest.raises(ValueError, match="join"):
        Expression("join(glue, many)").search(value)
    assert Expression("join('-', many[:3])").search(value) == "y-y-y"


@pytest.mark.parametrize(("text", "value"), [("length(@)", 1), ("sum(a)", {"a": ["x"]}), ("abs(a)", {})])
def test_a_wrong_type_is_told_and_nothing_else_is_raised(text: str, value: object) -> None:
    with pytest.raises(ValueError, match="cannot be evaluated"):
        Expression(text).search(value)
