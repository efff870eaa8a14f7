"""Hides credentials in what a server sends back: some echo the request, and an answer is for more eyes than a secret.

A credential is looked for as it is and in the forms it takes in URLs, JSON, HTML and base64. A server that turns it
into something else, or sends it in pieces, cannot be helped.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from html import escape
from typing import BinaryIO
from urllib.parse import quote, quote_plus

from inboxd.jobs.result import REDACTED, Response

# What is shorter stands in any text by chance, and protects nothing.
SHORTEST = 4
_CHUNK = 1024 * 1024


class Mask:
    """Hides these credentials."""

    def __init__(self, credentials: Iterable[str]) -> None:
        self._forms = _forms(frozenset(one for one in credentials if len(one) >= SHORTEST))

    def octets(self, data: bytes) -> bytes:
        """Give `data` with *** in the place of each credential."""
        for form in self._forms:
            if form in data:
                data = data.replace(form, REDACTED.encode())
        return data

    def text(self, text: str) -> str:
        """Give `text` with *** in the place of each credential."""
        return self.octets(text.encode(errors="surrogateescape")).decode(errors="surrogateescape")

    def response(self, response: Response) -> Response:
        """Give the response without credentials in its headers and its body; a body in a file is changed there."""
        headers = {self.text(name): self.text(value) for name, value in response.headers.items()}
        body = self.octets(response.body)
        if response.side is None:
            return response._replace(headers=headers, body=body, size=len(body))
        return response._replace(headers=headers, sha256=self._file(response.side) or response.sha256)

    def _file(self, file: BinaryIO) -> str | None:
        """Overwrite credentials in a file by as many asterisks; gives its new digest if there were any."""
        overlap = max(map(len, self._forms), default=1) - 1
        found, at = False, 0
        file.seek(0)
        while chunk := file.read(_CHUNK + overlap):
            hidden = chunk
            for form in self._forms:
                hidden = hidden.replace(form, b"*" * len(form))
            if hidden != chunk:
                found = True
                file.seek(at)
                file.write(hidden)
            at += _CHUNK
            file.seek(at)
        digest = sha256()
        file.seek(0)
        while found and (chunk := file.read(_CHUNK)):
            digest.update(chunk)
        file.seek(0, os.SEEK_END)
        file.flush()
        return digest.hexdigest() if found else None


@lru_cache(maxsize=64)
def _forms(credentials: frozenset[str]) -> tuple[bytes, ...]:
    """Give the forms a credential takes, the longest first, or what is left of one would hide another."""
    forms: set[bytes] = set()
    for one in credentials:
        if not _encodable(one, "utf-8"):
            # Octets of an environment that are no text.
            forms.add(one.encode(errors="surrogateescape"))
            continue
        written = json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1]
        texts = {one, quote(one, safe=""), quote(one), quote_plus(one), escape(one), *written}
        texts |= {text.replace("/", "\\/") for text in written}
        texts |= {quote(one, safe="").replace("%2F", "%2f")}
        forms |= {text.encode() for text in texts}
        forms.add(b64encode(one.encode()))
        if _encodable(one, "latin-1"):
            forms.add(one.encode("latin-1"))
    return tuple(sorted(forms, key=len, reverse=True))


def _encodable(text: str, codec: str) -> bool:
    try:
        text.encode(codec)
    except UnicodeEncodeError:
        return False
    return True
