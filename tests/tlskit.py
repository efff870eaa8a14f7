"""Certificates for the tests, made by the openssl program when they are needed."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Tls:
    """A server's TLS: `ca_path` is what a client must trust, `client` its own certificate and key."""

    context: ssl.SSLContext
    ca_path: str
    client: tuple[str, str]

    @classmethod
    def make(cls, folder: Path, *, ask_client: bool = False, name: str = "localhost") -> Self:
        """Make a self-signed certificate for `name` and 127.0.0.1, and one for a client.

        `ask_client`: refuse clients that do not show theirs.
        """
        server, key = _certificate(folder, "server", f"DNS:{name},IP:127.0.0.1")
        client = _certificate(folder, "client", "DNS:client")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server, key)
        context.set_alpn_protocols(["http/1.1"])
        if ask_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client[0])
        return cls(context, server, client)


def _certificate(folder: Path, stem: str, names: str) -> tuple[str, str]:
    certificate, key = str(folder / f"{stem}.pem"), str(folder / f"{stem}.key")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += [
        "-days",
        "2",
        "-subj",
        f"/CN={stem}",
        "-addext",
        f"subjectAltName={names}",
        "-keyout",
        key,
        "-out",
        certificate,
    ]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
