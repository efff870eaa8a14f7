"""Signatures, held against the scheme's reference library."""

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from inboxd.jobs.api import Api
from inboxd.jobs.client import ApiClient
from inboxd.jobs.result import Answer
from inboxd.jobs.signing import signed
from tests.faultserver import FaultServer, Seen

SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()


def test_a_signature_is_the_one_of_the_specification() -> None:
    """The example of the reference libraries' own tests."""
    found = signed(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def send(tmp_path: Path, secret: str, *jobs: dict[str, Any]) -> tuple[list[Answer], list[Seen]]:
    """Make calls of an API that signs."""
    vault = tmp_path / "secrets.toml"
    vault.write_text(f'hook = "{secret}"')
    vault.chmod(0o600)
    with FaultServer() as server:
        api = Api.model_validate(
            {
                "name": "me",
                "base_url": server.url(""),
                "auth": {"webhook": "${secret:hook}"},
                "backoff": {"first": "1ms", "max": "1ms"},
            }
        )
        with ApiClient([api], secrets=str(vault)) as client:
            answers = [client.submit({**job, "url": server.url(job["url"])}).result(20) for job in jobs]
        return answers, server.requests


@pytest.mark.parametrize("job", [{"json": {"a": "ä"}}, {"text": '["hello"]'}, {"json": None}])
def test_what_is_sent_is_what_the_reference_library_accepts(tmp_path: Path, job: dict[str, Any]) -> None:
    _, [seen] = send(tmp_path, SECRET, {**job, "url": "/ok"})
    Webhook(SECRET).verify(seen.body, seen.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(seen.body + b" ", seen.headers)


def test_each_attempt_is_signed_anew_as_the_same_message(tmp_path: Path) -> None:
    [answer], seen = send(tmp_path, SECRET, {"json": 1, "url": "/flaky/a?times=2"})
    assert len(seen) == 3
    assert {one.headers["webhook-id"] for one in seen} == {answer.id}
    for one in seen:
        Webhook(SECRET).verify(one.body, one.headers)


@pytest.mark.parametrize("secret", ["whsec_no base64", "whsec_", ""])
def test_a_secret_that_is_none_signs_nothing(secret: str) -> None:
    with pytest.raises(ValueError, match="expected a secret of whsec_ and base64"):
        signed(secret, "id", 0.0, b"")


def test_a_secret_that_is_none_is_told_and_not_shown(tmp_path: Path) -> None:
    [answer], seen = send(tmp_path, "whsec_no base64", {"json": 1, "url": "/ok"})
    assert (answer.status, seen) == ("failed", [])
    assert answer.error is not None
    assert (answer.error.kind, answer.error.message) == ("auth", "auth.webhook: expected a secret of whsec_ and base64")


def test_a_body_that_is_streamed_is_not_sent_unsigned(tmp_path: Path) -> None:
    [answer], seen = send(tmp_path, SECRET, {"multipart": {"a": "1"}, "url": "/ok"})
    assert (answer.status, seen) == ("failed", [])
    assert answer.error is not None
    assert answer.error.message == "auth.webhook: a body of files or parts cannot be signed"


@given(key=st.binary(min_size=1, max_size=64), body=st.text(st.characters(codec="utf-8")), at=st.integers(0, 2**33))
def test_any_body_and_key_are_signed_as_the_reference_library_does(key: bytes, body: str, at: int) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    headers = signed(secret, "id", at + 0.7, body.encode())
    assert headers["webhook-signature"] == Webhook(secret).sign("id", datetime.fromtimestamp(at, UTC), body)
