"""A job that names a call becomes a plain one, or is told which argument is wrong."""

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from inboxd.jobs.api import Api, Apis
from inboxd.jobs.calls import check, placed, plain
from inboxd.jobs.definition import NamedCall
from inboxd.jobs.exchange import prepare
from inboxd.jobs.faults import Invalid
from inboxd.jobs.job import Job, parse_object

SHOP = Api.model_validate(
    {
        "name": "shop",
        "base_url": "https://shop.example/v1/",
        "calls": {
            "close_order": {
                "method": "PATCH",
                "path": "/orders/{id}{?notify}",
                "headers": {"X-Reason": "${reason}"},
                "json": {"status": "${status}", "lines": "${lines}", "note": "closed ${id}: ${reason}"},
                "defaults": {"status": "Closed", "lines": []},
                "attempts": 3,
                "timeout": "10s",
                "ok": "200,404",
            },
            "products": {"path": "/products{?page}", "cache": "5m", "select": "items[].name"},
            "photo": {"path": "/photos", "file": "${photo}"},
            "find": {"path": "/find", "query": {"q": "${q}", "tag": "${tags}"}, "defaults": {"tags": []}},
            "ping": {},
        },
    }
)
# Lies within the other's base_url; its calls are its own all the same.
INNER = Api.model_validate(
    {"name": "in.ner", "base_url": "https://shop.example/v1/inner", "calls": {"top": {"path": "/x"}}}
)
APIS = Apis([SHOP, INNER])


def made(call: str, arguments: dict[str, Any] | None = None, **keys: Any) -> Job:
    job = {"call": call} | ({} if arguments is None else {"with": arguments}) | keys
    return plain(parse_object(job), APIS)


def test_a_named_call_becomes_the_request_of_its_definition() -> None:
    job = made("shop.close_order", {"id": "a/b", "reason": "paid", "notify": True, "lines": [1, 2]}, id="x", priority=5)
    assert (job.url, job.verb) == ("https://shop.example/v1/orders/a%2Fb?notify=true", "PATCH")
    assert job.json_body == {"status": "Closed", "lines": [1, 2], "note": "closed a/b: paid"}
    assert job.headers == {"X-Reason": "paid"}
    assert (job.id, job.priority, job.call, job.body) == ("x", 5, "shop.close_order", "json")


def test_the_policy_is_the_jobs_else_the_calls() -> None:
    of_call = made("shop.close_order", {"id": 1, "reason": "r"})
    assert (of_call.attempts, of_call.timeout, of_call.ok) == (3, 10.0, "200,404")
    of_job = made("shop.close_order", {"id": 1, "reason": "r"}, attempts=1, ok="200")
    assert (of_job.attempts, of_job.timeout, of_job.ok) == (1, 10.0, "200")
    products = made("shop.products")
    assert products.cache is not None
    assert (products.url, products.cache.ttl, products.select) == (
        "https://shop.example/v1/products",
        300.0,
        "items[].name",
    )


def test_a_call_belongs_to_the_api_it_names_and_is_made_once() -> None:
    job, api = placed(parse_object({"call": "in.ner.top"}), APIS)
    assert (job.url, api.name) == ("https://shop.example/v1/inner/x", "in.ner")
    again, api = placed(job, APIS)
    assert again is job
    assert api.name == "in.ner"
    url = parse_object({"url": "https://shop.example/v1/inner/x"})
    assert placed(url, APIS) == (url, INNER)


def test_what_a_call_names_is_claimed_with_the_job() -> None:
    assert made("shop.photo", {"photo": "lamp.png"}).attachments == ("lamp.png",)


@pytest.mark.parametrize(
    ("job", "why"),
    [
        ({"call": "shop.close_ordr"}, '[api.shop] has no call "close_ordr"; did you mean "close_order"?'),
        ({"call": "shp.close_order"}, 'there is no call "shp.close_order"; did you mean "shop.close_order"?'),
        ({"call": "close"}, 'there is no call "close"'),
        ({"call": "shop.close_order", "with": {"id": 1}}, "with.reason: this argument is missing"),
        (
            {"call": "shop.close_order", "with": {"id": 1, "reason": "r", "sttus": ""}},
            'with.sttus: unknown argument; did you mean "status"?',
        ),
        ({"call": "shop.ping", "with": {"x": 1}}, "with.x: unknown argument; this call has none"),
        ({"call": "shop.close_order", "with": {"id": "..", "reason": "r"}}, 'with.id: "." and ".." cannot stand'),
        ({"call": "shop.close_order", "with": {"id": None, "reason": "r"}}, "with.id: found nothing"),
        ({"call": "shop.close_order", "with": {"id": 1, "reason": "a\r\nX: y"}}, "X-Reason: expected one line"),
        (
            {"call": "shop.close_order", "with": {"id": 1, "reason": [1]}},
            "json.note: ${reason}: found an array",
        ),
        ({"call": "shop.find", "with": {"q": {"a": 1}}}, "q: expected a string, a number, a boolean"),
        ({"call": "shop.photo", "with": {"photo": "../x"}}, "file: expected the plain name of a file"),
    ],
)
def test_a_call_that_cannot_be_made_is_told(job: dict[str, Any], why: str) -> None:
    with pytest.raises(Invalid) as caught:
        plain(parse_object(job), APIS)
    assert why in caught.value.message


@pytest.mark.parametrize(
    ("job", "why"),
    [
        ({"call": "shop.ping", "url": "https://a.example"}, "found url and call"),
        ({"with": {}, "url": "https://a.example"}, "with: expected only beside call or do"),
        ({"call": "shop.ping", "json": {}}, "json: belongs to the definition"),
        ({"call": "shop.ping", "method": "GET"}, "method: belongs to the definition"),
        ({"call": "shop.ping", "with": []}, "with: found an array; expected an object"),
        ({"call": "shop ping"}, "call: "),
        ({"call": "shop.ping", "select": "a["}, "select: 'a[' is not a JMESPath expression"),
        ({}, "one of the keys url, call, do and queue is missing"),
    ],
)
def test_a_job_leaves_the_request_to_its_call(job: dict[str, Any], why: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_object(job)
    assert why in caught.value.message


def test_names_of_arguments_are_checked_before_their_values_are_known() -> None:
    check("shop.close_order", {"id", "reason"}, APIS)
    with pytest.raises(Invalid, match=r"with\.reason: this argument is missing"):
        check("shop.close_order", {"id"}, APIS)


@pytest.mark.parametrize(
    ("definition", "why"),
    [
        ({"path": "orders"}, 'begins with "/"'),
        ({"path": "/{+id}"}, "expected {name} for an argument"),
        ({"path": "{id}"}, 'begins with "/"'),
        ({"json": "${a.}"}, "not a JMESPath expression"),
        ({"json": 1, "text": "x"}, "at most one body, found json and text"),
        ({"defaults": {"pge": 1}, "path": "/p{?page}"}, 'no argument is called "pge"; did you mean "page"?'),
        ({"json": {"key": "${secret:x}"}}, "json: ${secret:…} stands in headers and in auth"),
        ({"headers": {"A": "${secret:x} ${id}"}}, "headers.A: expected either arguments or"),
        ({"method": "CONNECT"}, "CONNECT cannot be called"),
        ({"select": "["}, "not a JMESPath expression"),
        ({"rat": "1/s"}, "rat"),
    ],
)
def test_a_wrong_definition_is_told(definition: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError) as caught:
        NamedCall.model_validate(definition)
    assert why in str(caught.value)


TEXTS = st.text() | st.sampled_from(
    [
        "..",
        "a/../b",
        "%2e%2e",
        "\r\nHost: evil",
        "${status}",
        "${secret:token}",
        '","x":"',
        "&admin=1",
        "#",
        "?",
        "//evil/",
    ]
)


@given(order=TEXTS, reason=TEXTS, line=TEXTS, notify=TEXTS)
def test_no_argument_changes_the_structure_of_the_request(order: str, reason: str, line: str, notify: str) -> None:
    """What comes out is either refused, or the definition's request with these texts in their places."""
    arguments = {"id": order, "reason": reason, "notify": notify, "lines": [line]}
    try:
        job = made("shop.close_order", arguments)
        request = prepare(job, SHOP, "id").request
    except Invalid:
        return
    parts = urlsplit(request.url or "")
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "shop.example", "")
    assert [unquote(segment) for segment in parts.path.split("/")] == ["", "v1", "orders", order]
    assert parse_qsl(parts.query, keep_blank_values=True) == [("notify", notify)]
    assert job.json_body == {"status": "Closed", "lines": [line], "note": f"closed {order}: {reason}"}
    assert dict(request.headers) == {
        "User-Agent": "inboxd",
        "Accept": "*/*",
        "Idempotency-Key": "id",
        "Content-Type": "application/json",
        "X-Reason": reason,
    }
    assert not set("\r\n\0") & set(reason)
