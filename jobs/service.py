"""`Service`: an API as a class, its calls as attributes.

    class Shop(Service):
        base_url = "https://shop.example"
        rate = "50/s"
        close = ApiCall("PATCH", "/orders/{id}", json={"status": "Closed"})
        products = ApiCall("GET", "/products{?page}", cache="5m", select="items[]", shape=Product)

    with Shop() as shop:
        answer = shop.close(id=1)
        future = shop.close.submit(id=2)
        for answer in shop.close.map([{"id": 3}, {"id": 4}], progress=True): ...

The one rule: whatever goes wrong with a call is its answer, never an exception that stops the rest. A class says what
`[api.NAME]` says in the config, and either can be made of the other.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from concurrent.futures import Future
from typing import Any, ClassVar, Self, overload

import tomli
from pydantic import ValidationError

from inboxd.jobs.api import Api
from inboxd.jobs.client import ApiClient
from inboxd.jobs.definition import NamedCall
from inboxd.jobs.findings import findings
from inboxd.jobs.result import Answer, Problem
from inboxd.jobs.shape import Shape
from inboxd.jobs.slips import nearest
from inboxd.jobs.stream import as_they_come
from inboxd.jobs.task import Postponed
from inboxd.jobs.tomltext import table


class ApiCall:
    """One call of a `Service`: method, URI template, and the other keys of a named call.

    Without a method it is GET, or POST when there is a body. `shape` makes Python objects of what the answer holds: a
    pydantic model, a dataclass, or any callable.
    Raises TypeError when the definition is wrong.
    """

    def __init__(self, method: str | None = None, path: str | None = None, *, shape: Any = None, **keys: Any) -> None:
        given = {"method": method, "path": path}
        self.definition = {name: value for name, value in given.items() if value is not None} | keys
        self.shape = None if shape is None else Shape(shape)
        self.name = ""
        _checked(NamedCall, self.definition, "ApiCall")

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, service: None, owner: type) -> ApiCall: ...
    @overload
    def __get__(self, service: Service, owner: type) -> BoundCall: ...
    def __get__(self, service: Service | None, owner: type) -> ApiCall | BoundCall:
        return self if service is None else BoundCall(service, self)


class BoundCall:
    """A call of a running service."""

    def __init__(self, service: Service, call: ApiCall) -> None:
        self._call = call
        self._client = service._client  # noqa: SLF001  # the two are one; the service's public names are its calls
        self._name = f"{service._api.name}.{call.name}"  # noqa: SLF001  # the same

    def __call__(self, /, **arguments: Any) -> Answer:
        """Make the call and wait for its answer."""
        return self.submit(**arguments).result()

    def submit(self, /, **arguments: Any) -> Future[Answer]:
        """Begin the call; the future gives the answer, whatever it is."""
        return self._begin(arguments, None)

    def map(self, rows: Iterable[Mapping[str, Any]], *, progress: bool | str = False) -> Iterator[Answer]:
        """Make a call with the arguments of each row; gives the answers as they come.

        `answer.line` is the number of its row, from 1. Rows are drawn as there is work for the threads. `progress`
        shows a bar on standard error, with that title.
        """
        futures = (self._begin(row, number) for number, row in enumerate(rows, start=1))
        answers = as_they_come(futures, self._client.breadth)
        return _with_bar(answers, rows, progress) if progress else answers

    def _begin(self, arguments: Mapping[str, Any], line: int | None) -> Future[Answer]:
        outer = _Outer(self._client.submit({"call": self._name, "with": dict(arguments)}))
        outer.inner.add_done_callback(lambda inner: self._end(inner, outer, line))
        return outer

    def _end(self, inner: Future[Answer], outer: Future[Answer], line: int | None) -> None:
        if inner.cancelled():
            outer.cancel()
            return
        try:
            answer = inner.result()
        except Postponed as postponed:
            # The client was closed before its turn.
            why = Problem("interrupted", str(postponed))
            answer = Answer("", "cancelled", attempts=postponed.attempts, error=why)
        answer.line = line
        if self._call.shape is not None:
            self._call.shape.apply(answer)
        outer.set_result(answer)


class _Outer(Future[Answer]):
    """What a caller holds: cancelling it cancels the call that it waits for."""

    def __init__(self, inner: Future[Answer]) -> None:
        super().__init__()
        self.inner = inner

    def cancel(self) -> bool:
        """Cancel the call within as well, if it has not begun."""
        return (self.inner.cancelled() or self.inner.cancel()) and super().cancel()


class Service:
    """An API and its calls. Class attributes are the keys of `[api.NAME]`: base_url, rate, headers, auth and so on.

    An instance has threads of its own until the end of its `with` block, or of the program, which wait for all answers.
    `options` are those of `ApiClient` (threads, cache, secrets, …), and keys of the API that are otherwise here.
    Answers are kept in `cache`, a folder; without one, for as long as the instance lives.
    """

    _keys: ClassVar[dict[str, Any]] = {}
    _calls: ClassVar[dict[str, ApiCall]] = {}

    def __init_subclass__(cls) -> None:
        """Read the class: raises TypeError for what an API does not know."""
        super().__init_subclass__()
        cls._keys = {**cls._keys, "name": re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()}
        own = {name: value for name, value in vars(cls).items() if not name.startswith("_")}
        calls = {name: value for name, value in own.items() if isinstance(value, ApiCall)}
        cls._calls = {**cls._calls, **calls}
        for name, value in own.items():
            if name in calls or callable(value) or isinstance(value, property | classmethod | staticmethod):
                continue
            if name not in Api.model_fields or name == "calls":
                raise TypeError(f"{cls.__name__}.{name}: an API has no such key{nearest(name, Api.model_fields)}")
            cls._keys = {**cls._keys, name: value}

    def __init__(self, **options: Any) -> None:
        keys = {name: options.pop(name) for name in list(options) if name in Api.model_fields and name != "calls"}
        calls = {name: call.definition for name, call in self._calls.items()}
        self._api: Api = _checked(Api, {**self._keys, **keys, "calls": calls}, type(self).__name__)
        if "cache" not in options and any(call.cache for call in self._api.calls.values()):
            options["cache"] = tempfile.mkdtemp(prefix="inboxd-")
            weakref.finalize(self, shutil.rmtree, options["cache"], ignore_errors=True)
        self._client = ApiClient([self._api], **options)
        _at_exit(self._client)

    @classmethod
    def to_toml(cls) -> str:
        """Give the tables `[api.NAME]` of the daemon's config; shapes are Python's and stay here. Raises ValueError."""
        keys = dict(cls._keys)
        name = keys.pop("name")
        calls = (table(("api", name, "calls", call.name), call.definition) for call in cls._calls.values())
        return "\n".join([table(("api", name), keys), *calls])

    @staticmethod
    def from_toml(text: str, name: str) -> type[Service]:
        """Give the class of `[api.NAME]` in the text of a config, its `[defaults]` included. Raises ValueError."""
        written = tomli.loads(text)
        apis = written.get("api", {})
        if name not in apis:
            raise ValueError(f"there is no [api.{name}]{nearest(name, apis)}")
        keys = {**written.get("defaults", {}), **apis[name], "name": name}
        calls = {call: ApiCall(**definition) for call, definition in keys.pop("calls", {}).items()}
        return type(name, (Service,), keys | calls)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        self._client.__exit__(kind, *exc)


def _checked(model: type[Any], keys: dict[str, Any], what: str) -> Any:
    try:
        return model.model_validate(keys)
    except ValidationError as error:
        raise TypeError(f"{what}: {'. '.join(map(str, findings(error, keys, model)))}") from None


def _at_exit(client: ApiClient) -> None:
    """End the client's threads when the program ends without closing it, after all answers are there.

    As the executors of the standard library do, which would wait for threads that wait for work.
    """
    register: Callable[[Callable[[], None]], None] = threading._register_atexit  # type: ignore[attr-defined]  # noqa: SLF001  # nothing public comes before the threads are joined
    held = weakref.ref(client)

    def end() -> None:
        if (client := held()) is not None:
            client.__exit__(None)

    register(end)


def _with_bar(answers: Iterator[Answer], rows: Any, title: bool | str) -> Iterator[Answer]:
    from rich.console import Console  # noqa: PLC0415  # most programs show no bar
    from rich.progress import track  # noqa: PLC0415  # the same

    total = len(rows) if isinstance(rows, Sized) else None
    return iter(track(answers, title if isinstance(title, str) else "", total, console=Console(stderr=True)))
