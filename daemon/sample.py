"""Keys of a model as the lines of a sample config, so that the sample can neither lack a key nor lie about a default.

Keys without a default stand as comments with an example; taken out of the comment they are valid too.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from inboxd.jobs.units import BYTES, SECONDS, duration, size

# For the keys that have no default, or whose default shows nothing.
_EXAMPLES: dict[str, Any] = {
    "lease": "5m",
    "max_receives": 5,
    "dead_to": "orders-dead",
    "max_message": "1 MiB",
    "expired": "head",
    "per_file": 1,
    "wait": "10s",
    "delay": "5s",
    "rate": "50/s",
    "burst": 10,
    "concurrency": 8,
    "cert": "client.pem",
    "key": "client.key",
    "proxy": "http://proxy.example:3128",
    "file": "inboxd.log",
    "textfile": "/var/lib/prometheus/node-exporter/inboxd.prom",
    "socket": "inboxd.sock",
    "token": "${secret:gateway}",
    "base_url": "https://shop.example",
    "headers": {"Accept": "application/json"},
    "auth": {"bearer": "${secret:shop_token}"},
    "secrets": "secrets.toml",
    "method": "PATCH",
    "path": "/orders/{id}{?notify}",
    "query": {"source": "erp"},
    "json": {"status": "${status}"},
    "defaults": {"status": "Closed"},
    "attempts": 5,
    "timeout": "30s",
    "ok": "200-299,404",
    "cache": "5m",
    "select": "items[].{id: id, name: name}",
    "use": "shop.images:thumbnail",
    "process": True,
    "memory": "1 GiB",
    "backoff": {"first": "5s"},
    "url": "s3://photos/2026",
    "options": {"region": "eu-central-1", "endpoint": "https://s3.example"},
}
_COMMENT_COLUMN = 32


def keys(model: type[BaseModel], without: AbstractSet[str] = frozenset(), *, comment: bool = False) -> list[str]:
    """Give a line `key = default  # what it is for` for each key of `model`, all as comments if so wanted."""
    return [_line(name, field, comment=comment) for name, field in model.model_fields.items() if name not in without]


def _line(name: str, field: FieldInfo, *, comment: bool) -> str:
    bare = field.is_required() or field.default is None or comment
    name = field.alias or name
    value = _EXAMPLES[name] if bare else _written(field.default, field)
    statement = f"{'# ' if bare else ''}{name} = {_toml(value)}"
    return f"{statement:<{_COMMENT_COLUMN}}  # {field.description}" if field.description else statement


def _written(value: Any, field: FieldInfo) -> Any:
    """Give a default as people write it."""
    readers = {getattr(one, "func", None) for one in field.metadata}
    if isinstance(value, BaseModel):
        return {name: _written(getattr(value, name), inner) for name, inner in type(value).model_fields.items()}
    if not value and readers & {duration, size}:
        return 0
    if duration in readers:
        return _amount(value, SECONDS, "")
    if size in readers:
        return _amount(value, {"B": 1, "KiB": BYTES["KIB"], "MiB": BYTES["MIB"], "GiB": BYTES["GIB"]}, " ")
    return value


def _amount(value: float, units: dict[str, float], space: str) -> str:
    """Write an amount in the largest unit in which it is a whole number."""
    unit = max((unit for unit in units if (value / units[unit]).is_integer()), key=units.__getitem__)
    return f"{value / units[unit]:g}{space}{unit}"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    # The other defaults are written in TOML as in JSON.
    return orjson.dumps(value).decode()
