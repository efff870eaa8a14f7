"""An argument of a URI template stays in its place, whatever is in it."""

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inboxd.jobs.template import TemplateError
from inboxd.jobs.urltemplate import expand, variables

TEXTS = st.text() | st.sampled_from(["..", "../x", "a/../b", "%2e%2e", "\r\nX: y", "{id}", "?a=b#c"])


@pytest.mark.parametrize(
    ("template", "values", "expanded"),
    [
        ("", {}, ""),
        ("/orders/{id}", {"id": 17}, "/orders/17"),
        ("/orders/{id}", {"id": "a/b?c#d\r\n%"}, "/orders/a%2Fb%3Fc%23d%0D%0A%25"),
        ("/orders/{id}", {"id": "..."}, "/orders/..."),
        ("/orders/{id}/{part}", {"id": True, "part": "é"}, "/orders/true/%C3%A9"),
        ("/tags/{tags}", {"tags": ["a", "b,c"]}, "/tags/a,b%2Cc"),
        ("/files{/way*}{.type}", {"way": ["a", "b/c"], "type": "csv"}, "/files/a/b%2Fc.csv"),
        ("/products{?page,size}", {}, "/products"),
        ("/products{?page,size}", {"page": 0, "size": None}, "/products?page=0"),
        ("/products?all=1{&q,tag*}", {"q": "a&b=c", "tag": ["x", "y"]}, "/products?all=1&q=a%26b%3Dc&tag=x&tag=y"),
        ("/s{?q}", {"q": ".."}, "/s?q=.."),
        ("/s{?q}", {"q": ""}, "/s?q="),
    ],
)
def test_a_uri_template_is_expanded(template: str, values: dict[str, Any], expanded: str) -> None:
    assert expand(template, values) == expanded


@pytest.mark.parametrize(
    ("template", "values", "why"),
    [
        ("/o/{id}", {}, "id: found nothing"),
        ("/o/{id}", {"id": ""}, "id: found an empty text"),
        ("/o{/way*}", {"way": []}, "way: found an empty list"),
        ("/o{/way*}", {"way": ["a", ".."]}, 'way: "." and ".."'),
        ("/o/{id}", {"id": ".."}, 'id: "." and ".."'),
        ("/o/{id}", {"id": "../admin"}, 'id: "." and ".."'),
        ("/o/{id}", {"id": "..\\admin"}, 'id: "." and ".."'),
        ("/o/{a}{b}", {"a": ".x", "b": {}}, "b: found an object"),
        ("/o/{a:1}{b:1}", {"a": ".a", "b": ".b"}, '"." and ".."'),
        ("/o{?q}", {"q": [[1]]}, "q: found an array"),
        ("/o/{id}", {"id": "\ud800"}, "half a character"),
    ],
)
def test_a_value_that_could_lead_elsewhere_is_refused(template: str, values: dict[str, Any], why: str) -> None:
    with pytest.raises(TemplateError) as caught:
        expand(template, values)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "template",
    ["/o/{+id}", "/o{#id}", "/o/{id", "/o/id}", "/o/{}", "/o/ /x", "/../x", "/o/#x", "/o/%2E%2e/{id}", "/{a b}"],
)
def test_a_text_that_is_no_safe_uri_template_is_refused(template: str) -> None:
    with pytest.raises(TemplateError):
        variables(template)


def test_variables_tell_which_of_them_the_path_needs() -> None:
    found = variables("/a/{b}{/c*}{?d:3,e}")
    assert found == {"b": True, "c": True, "d": False, "e": False}
    assert variables("/a?x={b}") == {"b": False}


@given(TEXTS, TEXTS)
def test_no_text_changes_the_structure_of_a_url(one: str, two: str) -> None:
    try:
        url = expand("/o/{one}/lines{?two}", {"one": one, "two": two})
    except TemplateError:
        return
    path, _, query = url.partition("?")
    assert [unquote(segment) for segment in path.split("/")] == ["", "o", one, "lines"]
    assert one not in {"", ".", ".."}
    assert query.startswith("two=")
    assert unquote(query.removeprefix("two=")) == two
    assert not set(query) & set("&#\r\n ")
