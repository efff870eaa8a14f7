"""Credentials are put on when a call is sent, and nobody sees them before or after."""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from pydantic import ValidationError

from inboxd.jobs.api import Api
from inboxd.jobs.auth import Auth, OAuth2
from inboxd.jobs.client import ApiClient
from inboxd.jobs.clock import FakeClock
from inboxd.jobs.credentials import Credentials
from inboxd.jobs.faults import Fault, Unauthorized
from inboxd.jobs.oauth import Tokens
from inboxd.jobs.result import Answer
from inboxd.jobs.vault import Vault
from tests.authserver import CLIENT, CLIENT_SECRET, AuthServer

TINY = {"first": "10ms", "factor": 2, "max": "1s"}
SECRETS = {"token": "t0ken-of-the-shop", "password": "p/ss w+rd", "client": CLIENT_SECRET}


@pytest.fixture
def server() -> Iterator[AuthServer]:
    with AuthServer() as running:
        yield running


@pytest.fixture
def secrets(tmp_path: Path) -> str:
    path = tmp_path / "secrets.toml"
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in SECRETS.items()))
    path.chmod(0o600)
    return str(path)


def api(server: AuthServer, **more: Any) -> Api:
    return Api.model_validate({"name": "shop", "base_url": server.url(""), "backoff": TINY} | more)


def oauth(server: AuthServer, **more: Any) -> dict[str, Any]:
    return {
        "oauth2": {"token_url": server.url("/token"), "client_id": CLIENT, "client_secret": "${secret:client}"} | more
    }


def ask(of: Api, secrets: str, *jobs: Mapping[str, Any], **options: Any) -> list[Answer]:
    with ApiClient([of], threads=4, secrets=secrets, **options) as client:
        return [client.submit(job).result(20) for job in jobs]


@pytest.mark.parametrize(
    ("how", "header", "value"),
    [
        ({"headers": {"X-Key": "<${secret:token}>"}}, "x-key", "<t0ken-of-the-shop>"),
        ({"auth": {"bearer": "${secret:token}"}}, "authorization", "Bearer t0ken-of-the-shop"),
        (
            {"auth": {"basic": {"user": "me", "password": "${secret:password}"}}},
            "authorization",
            "Basic bWU6cC9zcyB3K3Jk",
        ),
        ({"auth": {"header": {"X-Api-Key": "${secret:token}"}}}, "x-api-key", "t0ken-of-the-shop"),
        (
            {"auth": {"use": "requests.auth:HTTPProxyAuth", "username": "me", "password": "${secret:password}"}},
            "proxy-authorization",
            "Basic bWU6cC9zcyB3K3Jk",
        ),
        (
            {"auth": {"use": "requests.auth:HTTPBasicAuth", "args": ["me", "${secret:password}"]}},
            "authorization",
            "Basic bWU6cC9zcyB3K3Jk",
        ),
    ],
)
def test_the_server_gets_the_credential_and_its_echo_is_hidden(
    how: dict[str, Any], header: str, value: str, server: AuthServer, secrets: str
) -> None:
    (answer,) = ask(api(server, **how), secrets, {"url": server.url("/echo")})
    assert server.requests[0].headers[header] == value
    shown = answer.to_json().decode()
    assert not [one for one in (*SECRETS.values(), "bWU6cC9zcyB3K3Jk") if one in shown]
    assert "***" in shown


def test_an_api_key_in_the_query_is_sent_and_shown_nowhere(server: AuthServer, secrets: str) -> None:
    """Also under a name that nobody would take for a credential's."""
    (answer,) = ask(
        api(server, auth={"query": {"appid": "${secret:password}"}}), secrets, {"url": server.url("/echo?a=1")}
    )
    assert server.requests[0].query == {"a": "1", "appid": "p/ss w+rd"}
    assert answer.request == {"method": "GET", "url": server.url("/echo?a=1")}
    assert "appid=***" in answer.to_json().decode()
    assert "w+rd" not in answer.to_json().decode()


def test_digest_works_as_a_plugin_of_requests(server: AuthServer, secrets: str) -> None:
    how = {"use": "requests.auth:HTTPDigestAuth", "username": "me", "password": "${secret:password}"}
    answers = ask(
        api(server, auth=how), secrets, {"url": server.url("/digest")}, {"url": server.url("/digest"), "text": "x"}
    )
    assert [answer.status for answer in answers] == ["done", "done"]
    assert 'username="me"' in server.requests[-1].headers["authorization"]
    assert server.requests[-1].body == b"x"


def test_what_a_job_says_itself_goes_first(server: AuthServer, secrets: str) -> None:
    job = {"url": server.url("/echo"), "headers": {"authorization": "Bearer mine", "X-KEY": "my own"}}
    ask(api(server, auth={"bearer": "${secret:token}"}, headers={"X-Key": "${secret:token}"}), secrets, job)
    assert (server.requests[0].headers["authorization"], server.requests[0].headers["x-key"]) == (
        "Bearer mine",
        "my own",
    )


def test_a_call_may_add_a_credential_of_its_own(server: AuthServer, secrets: str) -> None:
    calls = {
        "pay": {"path": "/echo", "headers": {"X-Pay": "${secret:token}", "X-Id": "${id}"}},
        "see": {"path": "/echo"},
    }
    shop = api(server, auth={"bearer": "${secret:password}"}, calls=calls)
    ask(shop, secrets, {"call": "shop.pay", "with": {"id": "${secret:token}"}}, {"call": "shop.see"})
    pay, see = server.requests
    assert (pay.headers["x-pay"], pay.headers["authorization"]) == ("t0ken-of-the-shop", "Bearer p/ss w+rd")
    assert pay.headers["x-id"] == "${secret:token}"
    assert "x-pay" not in see.headers


def test_a_secret_that_is_not_there_fails_the_job_and_nothing_is_sent(server: AuthServer, secrets: str) -> None:
    (answer,) = ask(api(server, auth={"bearer": "${secret:tokn}"}), secrets, {"url": server.url("/ok")})
    assert answer.error is not None
    assert (answer.status, answer.error.kind) == ("failed", "auth")
    assert 'there is no secret "tokn"; looked for in ' in answer.error.message
    assert server.requests == []


def test_a_plugin_that_fails_tells_no_secret(server: AuthServer, secrets: str) -> None:
    how = {"use": "tests.jobs.test_credentials:refuses", "password": "${secret:password}"}
    (answer,) = ask(api(server, auth=how), secrets, {"url": server.url("/ok")})
    assert answer.error is not None
    assert answer.error.message == "tests.jobs.test_credentials:refuses failed: RuntimeError: bad ***"


def refuses(password: str) -> Any:
    raise RuntimeError(f"bad {password}")


def test_credentials_stay_behind_when_a_redirect_leads_elsewhere(server: AuthServer, secrets: str) -> None:
    with AuthServer() as other:
        shop = api(server, auth={"bearer": "${secret:token}"}, headers={"X-Key": "${secret:token}"})
        target = other.url("/ok")
        ask(shop, secrets, {"url": server.url(f"/redirect?to={target}")}, {"url": server.url("/redirect?to=/ok")})
        assert not {"authorization", "x-key"} & other.requests[0].headers.keys()
    assert server.requests[-1].path == "/ok"
    assert server.requests[-1].headers["authorization"] == "Bearer t0ken-of-the-shop"


def test_two_credentials_never_share_a_kept_answer(server: AuthServer, tmp_path: Path) -> None:
    for value in ("first", "second", "second"):
        path = tmp_path / f"{value}.toml"
        path.write_text(f'token = "{value}"')
        path.chmod(0o600)
        job = {"url": server.url("/ok"), "cache": "5m"}
        ask(api(server, auth={"bearer": "${secret:token}"}), str(path), job, cache=str(tmp_path / "cache"))
    assert [seen.headers["authorization"] for seen in server.requests] == ["Bearer first", "Bearer second"]


# -- OAuth 2 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"in_body": True}, {"scope": "read write", "params": {"audience": "shop"}}])
def test_one_token_serves_many_calls(more: dict[str, Any], server: AuthServer, secrets: str) -> None:
    with ApiClient([api(server, auth=oauth(server, **more))], threads=4, secrets=secrets) as client:
        answers = list(client.map({"url": server.url("/guarded")} for _ in range(20)))
    assert {answer.status for answer in answers} == {"done"}
    assert server.tokens == 1
    asked = next(seen for seen in server.requests if seen.path == "/token")
    assert asked.body.startswith(b"grant_type=client_credentials")
    assert (b"scope=read+write" in asked.body) == ("scope" in more)
    assert not any("access-token-1" in answer.to_json().decode() for answer in answers)


def test_a_token_refused_before_its_time_is_fetched_anew_once(
    server: AuthServer, secrets: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with ApiClient([api(server, auth=oauth(server), redirects=0)], threads=2, secrets=secrets) as client:
        assert client.submit({"url": server.url("/guarded")}).result(20).ok
        server.tokens += 1  # The server forgets the old token.
        answer = client.submit({"url": server.url("/guarded"), "attempts": 1, "json": [1]}).result(20)
    assert (answer.status, [attempt["status"] for attempt in answer.attempts]) == ("done", [401, 200])
    assert "access-token" not in caplog.text + str([vars(record) for record in caplog.records])


def test_a_token_that_is_refused_again_fails_the_job(server: AuthServer, secrets: str) -> None:
    (answer,) = ask(api(server, auth=oauth(server)), secrets, {"url": server.url("/status/401")})
    assert (answer.status, [attempt["status"] for attempt in answer.attempts]) == ("failed", [401, 401])


@pytest.mark.parametrize(
    ("refuse", "kind", "tries", "says"),
    [
        (401, "auth", 1, "401 (invalid_client)"),
        (400, "auth", 1, "400 (invalid_client)"),
        (503, "server", 2, "answered 503"),
    ],
)
def test_a_token_that_does_not_come_fails_as_its_server_did(
    refuse: int, kind: str, tries: int, says: str, server: AuthServer, secrets: str
) -> None:
    server.refuse = refuse
    (answer,) = ask(api(server, auth=oauth(server), attempts=2), secrets, {"url": server.url("/guarded")})
    assert answer.error is not None
    assert (answer.error.kind, len(answer.attempts)) == (kind, tries)
    assert says in answer.error.message
    assert CLIENT_SECRET not in answer.to_json().decode()
    assert {seen.path for seen in server.requests} == {"/token"}


@pytest.mark.parametrize(("life", "good_for"), [(3600, 3570), ("100", 90), (0, 0), (None, 1e9), ("soon", 1e9)])
def test_a_token_is_fetched_anew_a_little_before_its_end(
    life: float | str | None, good_for: float, server: AuthServer, secrets: str
) -> None:
    server.life, clock = life, FakeClock()
    tokens = Tokens(OAuth2.model_validate(oauth(server)["oauth2"]), Vault(secrets), clock)
    with requests.Session() as session:
        first = tokens.get(_Plain(session), set(), 10)
        clock.advance(max(good_for - 1, 0))
        if good_for:
            assert tokens.get(_Plain(session), set(), 10) == first
        clock.advance(2)
        assert (tokens.get(_Plain(session), set(), 10) == first) == (good_for == 1e9)


class _Plain:
    """A stock session, which knows no bounds."""

    def __init__(self, session: requests.Session) -> None:
        self._session = session

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        del kwargs["bounds"]
        return self._session.send(request, **kwargs)


# -- what the config may say --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "why"),
    [
        ({}, "found none of them"),
        ({"bearer": "x", "query": {"a": "b"}}, "found bearer and query"),
        ({"baerer": "x"}, 'unknown key "baerer"; did you mean "bearer"?'),
        ({"use": "requests_aws4auth"}, 'expected an import path such as "requests_aws4auth:AWS4Auth"'),
        ({"use": "no_such_module:Auth"}, "No module named 'no_such_module'; is its package installed?"),
        ({"use": "requests.auth:NoSuch"}, "has no attribute 'NoSuch'"),
        ({"use": "requests.auth:CONTENT_TYPE_FORM_URLENCODED"}, "cannot be called"),
        ({"use": "requests.auth:HTTPBasicAuth", "user": "x"}, "missing a required argument: 'username'"),
        ({"bearer": "x", "args": [1]}, "args: expected only beside use"),
        ({"basic": {"user": "x"}}, "password"),
    ],
)
def test_a_wrong_auth_is_told_when_it_is_read(auth: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Auth.model_validate(auth)
    assert why in str(caught.value)


def test_a_reference_that_is_none_is_told() -> None:
    with pytest.raises(ValidationError, match="expected a name of letters"):
        Api.model_validate({"name": "a", "base_url": "http://a.example", "headers": {"X": "${secret:a b}"}})


def test_a_deadline_holds_for_those_that_wait_for_a_token(server: AuthServer, secrets: str) -> None:
    tokens = Tokens(OAuth2.model_validate(oauth(server)["oauth2"]), Vault(secrets), FakeClock())
    tokens._lock.acquire()
    with pytest.raises(Fault, match="no access token came in time"), requests.Session() as session:
        tokens.get(_Plain(session), set(), 0.01)


def test_nothing_is_kept_on_the_request_that_was_prepared(server: AuthServer, secrets: str) -> None:
    credentials = Credentials(
        Auth(query={"k": "${secret:token}"}), {"X": "${secret:token}"}, Vault(secrets), FakeClock()
    )
    request = requests.Request("GET", server.url("/ok")).prepare()
    with requests.Session() as session:
        dressed = credentials.put_on(request, _Plain(session), set(), 1.0)
    assert "X" in dressed.headers
    assert "X" not in request.headers
    assert "k=" not in (request.url or "")
    with pytest.raises(Unauthorized), requests.Session() as session:
        Credentials(Auth(bearer="${secret:no}"), {}, Vault(secrets), FakeClock()).put_on(
            request, _Plain(session), set(), 1.0
        )
