"""The built-in handler `put`: an attachment goes to an object store, streamed: S3, Google Cloud, Azure, or a folder.

    {"do": "put", "with": {"store": "photos", "key": "2026/lamp.png"}, "file": "lamp.png"}

Stores are named in the config with all that they need, and a job can only choose among them: it never sees a
credential and cannot send a file to a place that nobody has allowed. Written twice, an object is simply replaced.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from inboxd.jobs.faults import HandlerFailed, Invalid, TryAgain, Unauthorized
from inboxd.jobs.functions import Context
from inboxd.jobs.masking import Mask
from inboxd.jobs.slips import meant
from inboxd.jobs.vault import SecretMissing, Vault

if TYPE_CHECKING:
    from obstore.store import ObjectStore

# A query may hold a signature.
_QUERY = re.compile(r"(https?://[^\s?]+)\?\S*")
# As long as an S3 key may be, in bytes.
_LONGEST_KEY = 1024


def _place(url: str) -> str:
    if not re.fullmatch(r"(s3|gs|az|file|https?)://\S+", url):
        raise ValueError("expected a place such as s3://bucket/prefix, gs://…, az://… or file:///folder")
    return url


class Bucket(BaseModel):
    """One object store: a bucket, a container or a folder, and what it takes to write to it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    url: Annotated[str, AfterValidator(_place)] = Field(
        description="s3://bucket/prefix, gs://…, az://…, file:///folder"
    )
    options: dict[str, str] = Field({}, description="obstore's: access_key_id, secret_access_key, region, endpoint, …")


class Stores:
    """The stores of one client by name; raises Invalid when one of them cannot be used."""

    def __init__(self, stores: Mapping[str, Bucket], vault: Vault) -> None:
        self._stores = stores
        self._vault = vault
        self._open: dict[tuple[str, float], tuple[dict[str, str], ObjectStore]] = {}
        for name in stores:
            # Opening calls nobody; it tells a wrong option at the start and not to the first job. A secret may come.
            with suppress(SecretMissing):
                self._opened(name, 30.0, set())

    def put(
        self, file: BinaryIO, store: str, key: str, content_type: str | None = None, *, context: Context
    ) -> dict[str, Any]:
        """Put `file` under `key`, in parts if it is large; gives store, key and the object's entity tag."""
        if store not in self._stores:
            hint = meant(store, self._stores) or f"; the config names {', '.join(self._stores) or 'none'}"
            raise Invalid(f'with.store: there is no store "{store}"{hint}')
        if not isinstance(key, str) or not key.strip("/") or len(key.encode()) > _LONGEST_KEY or not key.isprintable():
            raise Invalid(f"with.key: expected a printable path of up to {_LONGEST_KEY} bytes")
        import obstore  # noqa: PLC0415  # an extra; `Stores` has told who lacks it
        from obstore import exceptions  # noqa: PLC0415  # as above

        kind = content_type or mimetypes.guess_type(key)[0] or "application/octet-stream"
        hidden: set[str] = set()
        try:
            opened = self._opened(store, context.timeout, hidden)
            done = obstore.put(opened, key, file, attributes={} if _is_folder(opened) else {"Content-Type": kind})
        except SecretMissing as missing:
            raise Unauthorized(str(missing)) from None
        except exceptions.GenericError as error:
            # No connection, no answer in time, 5xx: all that has no class of its own.
            raise TryAgain(_told(error, hidden)) from None
        except (exceptions.BaseError, OSError, ValueError) as error:
            raise HandlerFailed(_told(error, hidden)) from None
        return {"store": store, "key": key, "etag": done["e_tag"]}

    def _opened(self, name: str, timeout: float, hidden: set[str]) -> ObjectStore:
        """Give a store whose requests end after `timeout` seconds, opened anew when its credentials have changed.

        Adds to `hidden` what nobody may see; raises SecretMissing, or Invalid.
        """
        options = self._vault.fill(self._stores[name].options, hidden)
        known = self._open.get((name, timeout))
        if known is None or known[0] != options:
            known = self._open[name, timeout] = (options, _open(name, self._stores[name].url, options, timeout, hidden))
        return known[1]


def _open(name: str, url: str, options: dict[str, str], timeout: float, hidden: set[str]) -> ObjectStore:
    try:
        from obstore import exceptions  # noqa: PLC0415  # an extra that few need
        from obstore.store import from_url  # noqa: PLC0415  # as above
    except ImportError:
        raise Invalid(f'store "{name}": needs a library; pip install "inboxd[s3]"') from None
    if url.startswith("file:"):
        more: dict[str, Any] = {}
    else:
        # Who tries again, and when, is for the lane to say.
        client = {"timeout": f"{timeout}s", "allow_http": True}
        more = {"config": options, "client_options": client, "retry_config": {"max_retries": 0}}
    try:
        return from_url(url, **more)
    except (exceptions.BaseError, ValueError, TypeError) as error:
        raise Invalid(f'store "{name}": {_told(error, hidden)}') from None


def _is_folder(opened: ObjectStore) -> bool:
    from obstore.store import LocalStore  # noqa: PLC0415  # as above

    return isinstance(opened, LocalStore)


def _told(error: Exception, hidden: set[str]) -> str:
    """Give the first line, which is for people, without credentials; what follows is the library's inside."""
    return Mask(hidden).text(_QUERY.sub(r"\1?***", str(error).partition("\n")[0]))
