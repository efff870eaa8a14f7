"""Data gets into requests and never becomes anything else there."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inboxd.jobs.template import TemplateError, fill, names, secrets, select

TEXTS = st.one_of(
    st.text(),
    st.sampled_from(
        ["..", "../x", "a/../b", "%2e%2e", "\r\nX: y", "${id}", "${secret:token}", "$${", '"', "}", "?a=b#c"]
    ),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
SCOPE: dict[str, Any] = {
    "id": 17,
    "rate": 0.5,
    "yes": True,
    "name": "lamp",
    "tags": ["a", "b"],
    "sly": "${id} ${secret:token}",
    "parent": {"json": {"email": "me@here", "none": None}},
}


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("plain", "plain"),
        ("${id}", 17),
        ("${ id }", 17),
        ("${tags}", ["a", "b"]),
        ("${tags[0]}", "a"),
        ("${parent.json.none}", None),
        ("${parent.json.no.such}", None),
        ("order ${id} at ${rate}, ${yes}", "order 17 at 0.5, true"),
        ("${name}-${parent.json.email}", "lamp-me@here"),
        ("$${id}", "${id}"),
        ("$${id} is ${id}", "${id} is 17"),
        ("${ {a: id, b: '}'} }", {"a": 17, "b": "}"}),
        ("${sly}", "${id} ${secret:token}"),
        ("<${sly}>", "<${id} ${secret:token}>"),
        ("${secret:token}", "${secret:token}"),
        ("Bearer ${secret:token}", "Bearer ${secret:token}"),
        ({"${id}": ["${id}", {"x": "${name}"}], "n": 1}, {"${id}": [17, {"x": "lamp"}], "n": 1}),
        ("$5 {x}", "$5 {x}"),
    ],
)
def test_a_template_is_filled(template: Any, filled: Any) -> None:
    assert fill(template, SCOPE) == filled


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("${nmae}", '${nmae}: there is no "nmae" here; did you mean "name"?'),
        ({"a": [0, "${zzz}"]}, 'a.1: ${zzz}: there is no "zzz" here; there are id, name,'),
        ("x${tags}", "found an array; within a text stands"),
        ("x${parent.json.none}", "found null; within a text stands"),
        ("${id", "a ${ is never closed"),
        ("${}", "not a JMESPath expression"),
        ("${secret:}", "${secret:…}: expected a name"),
        ("${secret:a b}", "${secret:…}: expected a name"),
        ("${length(id)}", "cannot be evaluated"),
    ],
)
def test_a_template_that_cannot_be_filled_is_told_with_its_place(template: Any, why: str) -> None:
    with pytest.raises(TemplateError) as caught:
        fill(template, SCOPE)
    assert why in str(caught.value)


def test_filling_leaves_its_template_as_it_was() -> None:
    template = {"a": ["${id}"]}
    before = copy.deepcopy(template)
    fill(template, SCOPE)
    assert template == before


def test_a_value_nested_too_deeply_is_told() -> None:
    deep: Any = "${id}"
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(TemplateError, match="nested too deeply"):
        fill(deep, SCOPE)


@given(JSON, TEXTS)
def test_what_is_filled_in_stands_there_as_it_is_and_moves_nothing_else(value: Any, text: str) -> None:
    template = {"typed": "${value}", "text": "<${text}>", "beside": ["${secret:token}", 1]}
    filled = fill(template, {"value": value, "text": text})
    assert filled == {"typed": value, "text": f"<{text}>", "beside": ["${secret:token}", 1]}


def test_names_and_secrets_are_found_wherever_they_stand() -> None:
    template = {"a": ["${id} ${parent.json.x}", "$${no}"], "b": {"c": "Bearer ${secret:token}"}, "${key}": 1}
    assert names(template) == {"id", "parent"}
    assert secrets(template) == {"token"}
    with pytest.raises(TemplateError, match=r"^a\.1: "):
        names({"a": ["", "${"]})


def test_select_takes_a_value_out_and_tells_what_is_wrong() -> None:
    assert select("items[].name", {"items": [{"name": "a"}, {"name": "b"}]}) == ["a", "b"]
    assert select("nothing.here", {}) is None
    with pytest.raises(TemplateError, match="not a JMESPath expression"):
        select("items[", {})
