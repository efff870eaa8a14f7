"""A fault server with credentials: `/token` gives out access tokens, `/guarded/…` echoes to who holds the newest."""

import json
from base64 import b64decode
from urllib.parse import parse_qsl, unquote_plus

from tests.faultbehaviours import BEHAVIOURS, echo
from tests.faultserver import FaultServer, Seen, Wire

CLIENT, CLIENT_SECRET = "erp", "s3cret/of:the+client"


class AuthServer(FaultServer):
    """`life` is what `expires_in` says of tokens; `refuse` makes `/token` answer that status."""

    life: float | str | None = 3600
    refuse: int | None = None
    tokens = 0

    @property
    def token(self) -> str:
        """The one token that is good."""
        return f"access-token-{self.tokens}"


def _token(wire: Wire, seen: Seen) -> None:
    server = wire.server
    assert isinstance(server, AuthServer)
    form = dict(parse_qsl(seen.body.decode()))
    kind, _, value = seen.headers.get("authorization", "").partition(" ")
    pair = (
        b64decode(value).decode().split(":")
        if kind == "Basic"
        else [form.get("client_id", ""), form.get("client_secret", "")]
    )
    known = (
        [unquote_plus(one) for one in pair] == [CLIENT, CLIENT_SECRET]
        if kind == "Basic"
        else pair == [CLIENT, CLIENT_SECRET]
    )
    if server.refuse is not None or not known or form.get("grant_type") != "client_credentials":
        wire.answer(b'{"error": "invalid_client", "hint": "you sent s3cret/of:the+client"}', server.refuse or 401)
        return
    server.tokens += 1
    wire.answer(json.dumps({"access_token": server.token, "token_type": "bearer", "expires_in": server.life}).encode())


def _guarded(wire: Wire, seen: Seen) -> None:
    assert isinstance(wire.server, AuthServer)
    if seen.headers.get("authorization") == f"Bearer {wire.server.token}":
        echo(wire, seen)
    else:
        wire.answer(b'{"error": "invalid_token"}', 401)


BEHAVIOURS["token"], BEHAVIOURS["guarded"] = _token, _guarded
