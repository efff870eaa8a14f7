"""What `[gateway]` of the config may say: where HTTP is spoken, who may speak, and how much at most."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from inboxd.jobs.units import Size

LAST_PORT = 65535

Dialect = Literal["wq", "wonderq", "callback", "work", "sqs"]
Port = Annotated[int, Field(ge=0, le=LAST_PORT)]

_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:/\[\]]+)):(?P<port>\d{1,5})")
_SECRET = re.compile(r"\$\{secret:[A-Za-z0-9_.-]{1,100}\}")


def split(address: str) -> tuple[str, int]:
    """Read "host:port" or "[::1]:port"; raises ValueError."""
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match["port"]) > LAST_PORT:
        raise ValueError(f'"{address}" is not an address; expected "127.0.0.1:8470" or "[::1]:8470"')
    return match["six"] or match["host"], int(match["port"])


def is_loopback(host: str) -> bool:
    """Tell whether only programs of this machine can reach `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _address(value: str) -> str:
    if value:
        split(value)
    return value


def _reference(value: str) -> str:
    if not _SECRET.fullmatch(value):
        raise ValueError('expected a reference such as "${secret:gateway}", not the token itself')
    return value


class Gateway(BaseModel):
    """HTTP in front of the spool."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    enabled: bool = Field(False, description="whether HTTP is spoken at all")
    listen: Annotated[str, AfterValidator(_address)] = Field("127.0.0.1:8470", description='host and port; "": none')
    socket: str | None = Field(None, description="path of a unix socket; who may write to it needs no token")
    ports: dict[Dialect, Port] = Field({}, description="dialects that have a port of their own")
    token: Annotated[str, AfterValidator(_reference)] | None = Field(
        None, description="whoever comes by TCP has to show it; needed unless listen is loopback"
    )
    cert: str | None = Field(None, description="path of the server's certificate (PEM), for TLS")
    key: str | None = Field(None, description="path of its key, if apart")
    hosts: list[str] = Field([], description="names by which the gateway is called, beside localhost and listen")
    private: bool = Field(False, description="may jobs that came over HTTP call private and loopback addresses?")
    max_request: Size = Field(64 * 2**20, ge=1, description="the largest body of a request")
    backlog: int = Field(100_000, ge=1, description="jobs accepted here and not yet answered; more are refused")
    connections: int = Field(2000, ge=10, description="connections at a time")

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.enabled and self.listen and not is_loopback(self.host) and self.token is None:
            raise ValueError(
                f'listen: {self.host} can be reached from elsewhere; expected token = "${{secret:…}}" beside it'
            )
        if self.enabled and not self.listen and self.ports:
            raise ValueError("ports: they are opened on the host of listen; expected one")
        if self.key is not None and self.cert is None:
            raise ValueError("key: expected cert beside it")
        return self

    @property
    def host(self) -> str:
        """The host of `listen`; localhost when nothing listens on TCP."""
        return split(self.listen)[0] if self.listen else "localhost"

    @property
    def port(self) -> int:
        """The port of `listen`."""
        return split(self.listen)[1]
