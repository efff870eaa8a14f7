"""The daemon's config: what `inboxd.toml` may say, and how it is found and read.

The one rule: nothing in the file is passed over. Whatever is wrong comes out as one `ConfigError` that lists every
mistake with its file, line and key. Paths in a file count from that file's folder, so that it does not matter
where the daemon was started.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from typing import Annotated, Any, Literal, TypeVar

import tomli
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from inboxd.cache.store import ENTRIES, SIZE
from inboxd.daemon import cores
from inboxd.daemon.gatewayconfig import Gateway
from inboxd.daemon.keep import Keeps
from inboxd.daemon.sample import keys
from inboxd.daemon.tomllines import lines
from inboxd.jobs.api import Api, Policy, location
from inboxd.jobs.definition import NamedCall
from inboxd.jobs.findings import JSON, Finding, Steps, findings
from inboxd.jobs.handlers import Handler, Table
from inboxd.jobs.job import HANDLER_NAME
from inboxd.jobs.put import Bucket
from inboxd.jobs.queuesettings import NAME, QueueSettings
from inboxd.jobs.units import Duration, Size
from inboxd.jobs.vault import Vault

DEFAULT_FILE = "inboxd.toml"

_MODEL = ConfigDict(extra="forbid", frozen=True, strict=True)
_WORDS: Mapping[type, str] = {**JSON, dict: "a table", datetime: "a date and time", date: "a date", time: "a time"}
_WITH_SECRETS = {"headers", "auth", "calls"}
_PATHS = frozenset({"verify", "cert", "key"})
# How deep the keys lie that are looked for by hand: api.NAME.headers.NAME.
_DEEPEST = 4

HandlerName = Annotated[str, Field(pattern=HANDLER_NAME)]
_Model = TypeVar("_Model", bound=BaseModel)


class ConfigError(Exception):
    """The config cannot be used; the text lists every mistake, one a line."""


class Metrics(BaseModel):
    """What is counted, for those who watch."""

    model_config = _MODEL

    textfile: str | None = Field(
        None, description="written every 15 s for node_exporter's textfile collector; absent: not"
    )


class Log(BaseModel):
    """What is logged, how, and where to."""

    model_config = _MODEL

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="the least that is logged")
    format: Literal["logfmt", "json"] = Field("logfmt", description="how a line is written: logfmt or json")
    file: str | None = Field(None, description="appended to, opened anew after a rotation; absent: standard error")


class CacheBounds(BaseModel):
    """How much the cache keeps; the least recently used answers go first."""

    model_config = _MODEL

    entries: int = Field(ENTRIES, ge=1, description="answers")
    size: Size = Field(SIZE, ge=1, description="disk space of all of them")


def _named(tables: Any) -> Any:
    """Give each table of `[api]` its name, as an `Api` has it."""
    if not isinstance(tables, dict):
        return tables
    return {name: {**table, "name": name} if isinstance(table, dict) else table for name, table in tables.items()}


class Config(BaseModel):
    """Everything that `inboxd.toml` may say; every key is optional."""

    model_config = ConfigDict(**_MODEL, title="inboxd.toml")

    spool: str = Field("./spool", min_length=1, description="the folder that holds inbox, outbox and the rest")
    threads: int = Field(16, ge=1, le=1024, description="calls at a time that one API may have; a third more workers")
    processes: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = Field(
        "auto", description="N more that make calls, a core each; 1: one for all; auto: one for each core, at most 4"
    )
    window: int = Field(1000, ge=10, description="jobs held in memory; the others wait in their folder")
    fsync: Literal["group", "off"] = Field("group", description="group: answers survive a power cut; off: they may not")
    allow: list[str] = Field(["*"], description="hosts that jobs may call (* matches any text); named APIs always")
    private: bool = Field(True, description="may jobs call private and loopback addresses?")
    max_job: Size = Field(2**20, ge=1, description="the largest job file, and the longest line of a batch")
    max_body: Size = Field(64 * 2**20, description="the largest body of a response")
    inline: Size = Field(64 * 2**10, description="larger bodies go into a file of their own beside the answer")
    min_free: Size = Field(256 * 2**20, description="with less free disk than this no job is accepted")
    drain: Duration = Field(20.0, description="granted to running calls when the daemon stops")
    quiet: Duration = Field(0.5, description="how long a file that does not parse may still be growing")
    rescan: Duration = Field(2.0, gt=0, description="the inbox is read this often, whatever the kernel tells")
    secrets: str | None = Field(None, description='TOML file of name = "value" for ${secret:NAME}, its mode 0600')
    remember: Duration = Field(3600.0, description="for so long no job is called again under an id that was done")
    owners: list[str] = Field([], description="users whose files are accepted; none named: everybody's")
    defaults: Policy = Field(Policy(), description="how APIs are called that do not say otherwise")
    api: Annotated[dict[str, Api], BeforeValidator(_named)] = Field(
        {}, description="one table for each API; what it leaves out comes from [defaults]"
    )
    keep: Keeps = Field(Keeps(), description="how long what is done with is kept; 0 is for ever, or for any amount")
    metrics: Metrics = Field(Metrics(), description="what is counted, as the text of Prometheus")
    cache: CacheBounds = Field(CacheBounds(), description="how much is kept of what jobs with `cache` were answered")
    handlers: dict[HandlerName, Annotated[Handler, Table]] = Field(
        {}, description="functions for jobs that say do: a path alone, or a table for each"
    )
    store: dict[HandlerName, Bucket] = Field({}, description="object stores that the handler put may write to")
    queues: dict[Annotated[str, Field(pattern=NAME)], QueueSettings] = Field(
        {}, description="one table for each queue of messages"
    )
    gateway: Gateway = Field(Gateway(), description="HTTP in front of the spool (needs the extra `gateway`)")
    log: Log = Field(Log(), description="the log")

    @property
    def apis(self) -> list[Api]:
        """The named APIs, each completed from `[defaults]`."""
        return [_completed(api, self.defaults) for api in self.api.values()]

    @property
    def mates(self) -> int:
        """How many further processes make calls; 0: one process is all there is."""
        return cores.mates(self.processes, self.threads, cores.count())

    def missing_secrets(self) -> list[str]:
        """Say of each secret that is referred to and cannot be had now, where it was looked for."""
        apis = [api.model_dump(include=_WITH_SECRETS) for api in self.api.values()]
        return Vault(self.secrets).missing([*apis, *(store.options for store in self.store.values())])


def load(path: str | None, environ: Mapping[str, str], spool: str | None = None) -> Config:
    """Read the config from `path`, else $INBOXD_CONFIG, else ./inboxd.toml, else take the defaults.

    `spool`, else $INBOXD_SPOOL, goes before what the file says. Raises `ConfigError`.
    """
    chosen = path or environ.get("INBOXD_CONFIG") or (DEFAULT_FILE if os.path.exists(DEFAULT_FILE) else None)
    config = Config() if chosen is None else _read(chosen)
    over = spool or environ.get("INBOXD_SPOOL")
    return config.model_copy(update={"spool": over}) if over else config


def parse(text: str, file: str) -> Config:
    """Read the text of a config; `file` is what messages call it and where its paths count from."""
    try:
        written = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise ConfigError(f"{file}:{error.lineno}:{error.colno}: not TOML: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, or thousands of brackets.
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    mistakes = [*_refused(written), *_doubles(written)]
    refused = {mistake.steps for mistake in mistakes}
    try:
        config = Config.model_validate(written)
    except ValidationError as error:
        mistakes += [one for one in findings(error, written, Config, _WORDS) if one.steps not in refused]
    else:
        if not mistakes:
            return _rooted(config, os.path.dirname(file))
    raise ConfigError(_told(mistakes, text, file))


def schema() -> dict[str, Any]:
    """Give the JSON Schema of the config."""
    found = Config.model_json_schema()
    api = found["$defs"]["Api"]
    # Its name is the table's own.
    del api["properties"]["name"]
    api["required"].remove("name")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def sample() -> str:
    """Give a whole `inboxd.toml` in which every key stands with its default and what it is for."""
    tables: dict[str, type[BaseModel]] = {
        "defaults": Policy,
        "keep": Keeps,
        "metrics": Metrics,
        "cache": CacheBounds,
        "gateway": Gateway,
        "log": Log,
    }
    text = ["# inboxd.toml: every key with its default; a key without one is a comment with an example.", ""]
    text += keys(Config, {*tables, "api", "handlers", "store", "queues"})
    for name, model in tables.items():
        text += ["", f"# {Config.model_fields[name].description}", f"[{name}]", *keys(model)]
    text += ["", f"# {Config.model_fields['queues'].description}", "# [queues.orders]"]
    text += keys(QueueSettings, comment=True)
    text += ["", f"# {Config.model_fields['api'].description}", "# [api.shop]"]
    text += keys(Api, {*Policy.model_fields, "name", "calls"}, comment=True)
    text += ["", f"# {Api.model_fields['calls'].description}", "# [api.shop.calls.close_order]"]
    # Of the ways to write a body one is enough, and there may be only one.
    text += keys(NamedCall, {"form", "text", "base64", "file", "multipart"}, comment=True)
    text += ["", f"# {Config.model_fields['handlers'].description}", "# [handlers]"]
    text += ['# ping = "shop.health:ping"', "# [handlers.thumbnail]", *keys(Handler, comment=True)]
    text += ["", f"# {Config.model_fields['store'].description}", "# [store.photos]", *keys(Bucket, comment=True)]
    return "\n".join([*text, ""])


def _read(path: str) -> Config:
    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8; expected TOML in UTF-8") from None
    return parse(text, path)


def _refused(written: dict[str, Any]) -> Iterator[Finding]:
    """Find what a table's own name says already."""
    for steps, _ in _walk(written):
        if steps[0] == "api" and steps[2:] == ("name",):
            yield Finding(steps, "an API's name is that of its table; leave this key out")


def _doubles(written: dict[str, Any]) -> Iterator[Finding]:
    """Find APIs of which nobody could say which one a URL belongs to."""
    tables = written.get("api")
    owners: dict[str, str] = {}
    for name, table in tables.items() if isinstance(tables, dict) else ():
        url = table.get("base_url") if isinstance(table, dict) else None
        if isinstance(url, str):
            owner = owners.setdefault(location(url), name)
            if owner != name:
                yield Finding(("api", name, "base_url"), f"[api.{owner}] has the same; expected one of its own")


def _walk(table: dict[str, Any], above: Steps = ()) -> Iterator[tuple[Steps, Any]]:
    for key, value in table.items():
        steps = (*above, key)
        yield steps, value
        if isinstance(value, dict) and len(steps) < _DEEPEST:
            yield from _walk(value, steps)


def _told(mistakes: list[Finding], text: str, file: str) -> str:
    known = lines(text)

    def line(mistake: Finding) -> int:
        keys = tuple(map(str, mistake.steps))
        return next((known[keys[:length]] for length in range(len(keys), 0, -1) if keys[:length] in known), 0)

    placed = sorted(((line(mistake), str(mistake)) for mistake in mistakes), key=lambda pair: pair[0])
    # A key may hold a line break, and a mistake is one line.
    told = ((number, " ".join(sentence.splitlines())) for number, sentence in placed)
    return "\n".join(f"{file}:{number}: {sentence}" if number else f"{file}: {sentence}" for number, sentence in told)


def _completed(model: _Model, defaults: BaseModel) -> _Model:
    """Fill what `model` does not say from `defaults`, key by key also in inner tables."""
    filled: dict[str, Any] = {}
    for name in defaults.model_fields_set:
        ours, theirs = getattr(model, name), getattr(defaults, name)
        if name not in model.model_fields_set:
            filled[name] = theirs
        elif isinstance(ours, BaseModel) and isinstance(theirs, BaseModel):
            filled[name] = _completed(ours, theirs)
    return model.model_copy(update=filled)


def _rooted(config: Config, folder: str) -> Config:
    """Let relative paths count from `folder`."""

    def rooted(model: _Model, names: frozenset[str]) -> _Model:
        given = {name: getattr(model, name) for name in names}
        return model.model_copy(
            update={name: os.path.join(folder, path) for name, path in given.items() if isinstance(path, str)}
        )

    return rooted(config, frozenset({"spool", "secrets"})).model_copy(
        update={
            "defaults": rooted(config.defaults, _PATHS),
            "api": {name: rooted(api, _PATHS) for name, api in config.api.items()},
            "metrics": rooted(config.metrics, frozenset({"textfile"})),
            "gateway": rooted(config.gateway, frozenset({"socket", "cert", "key"})),
            "log": rooted(config.log, frozenset({"file"})),
        }
    )
