"""A handler's function: found by its import path, called with what a job says, its end told in the engine's words.

A result becomes the body of a response, an exception a fault; both happen where the function runs, in this process
or in one of the workshop's, so that the two look the same from outside. What goes wrong here is always told to the job.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

import orjson

from inboxd.jobs.faults import Fault, HandlerFailed, Invalid, TryAgain
from inboxd.jobs.importing import imported
from inboxd.jobs.slips import meant

# Parameters that are not arguments of the job: the open attachment, and the facts about the attempt.
FILE, CONTEXT = "file", "context"
# Errors about one name on the disk, which will be the same next time; every other OSError, and so whatever a network
# raises and `requests` with it, may be better then.
_LASTING = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
JSON_TYPE, TEXT_TYPE, BYTES_TYPE = "application/json", "text/plain; charset=utf-8", "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Context:
    """What a function may ask for by a parameter of the name `context`.

    `id` is the request id, the same for each attempt of a job, as Idempotency-Key is for a call; `attempt` counts
    from 1; `timeout` is in seconds, of which the attempt has all.
    """

    id: str
    attempt: int
    timeout: float


class Result(NamedTuple):
    """What a function returned, as a body: its media type and its bytes."""

    content_type: str
    body: bytes


class Function:
    """A callable with what it takes. `called` is what messages call it."""

    def __init__(self, called: str, target: Callable[..., Any]) -> None:
        self.called = called
        self._target = target
        try:
            self._signature = inspect.signature(target)
        except (TypeError, ValueError):
            raise Invalid(f"{called}: cannot be called, or does not say with which arguments") from None
        self._parameters = self._signature.parameters

    def check(self, arguments: Mapping[str, Any], *, with_file: bool) -> None:
        """Raise Invalid when these are not the arguments that the function takes."""
        for own in (FILE, CONTEXT):
            if own in arguments and own in self._parameters:
                raise Invalid(f"with.{own}: {self.called} gets this from inboxd and not from the job")
        try:
            self._signature.bind(**self._all(arguments, None if with_file else inspect.Parameter.empty, None))
        except TypeError as error:
            raise Invalid(f"{self.called}: {error}{self._near(arguments)}") from None

    def _all(self, arguments: Mapping[str, Any], file: Any, context: Context | None) -> dict[str, Any]:
        given = dict(arguments)
        if file is not inspect.Parameter.empty:
            given[FILE] = file
        if CONTEXT in self._parameters:
            given[CONTEXT] = context
        return given

    def _near(self, arguments: Mapping[str, Any]) -> str:
        """Give the name that an unknown argument may have been meant for."""
        takes_any = any(one.kind is one.VAR_KEYWORD for one in self._parameters.values())
        unknown = [] if takes_any else [name for name in arguments if name not in self._parameters]
        known = [name for name in self._parameters if name not in {FILE, CONTEXT}]
        return meant(unknown[0], known) if unknown else ""

    def call(self, arguments: Mapping[str, Any], context: Context, file: BinaryIO | None) -> Result:
        """Call it; raises the Fault that its exception stands for."""
        try:
            self.check(arguments, with_file=file is not None)
            given = self._all(arguments, inspect.Parameter.empty if file is None else file, context)
            return result_of(self._target(**given))
        except Fault:
            raise
        # A function may raise anything, SystemExit too, and its caller must outlive it.
        except BaseException as error:
            raise fault_of(error) from None


def load(use: str) -> Function:
    """Import a function by `package.module:name`; raises Invalid."""
    try:
        target = imported(use)
    # An import runs any code there is, and whatever that raises must not end ours.
    except BaseException as error:
        raise Invalid(f"{use} cannot be loaded: {_told(error)}") from None
    return Function(use, target)


def result_of(value: Any) -> Result:
    """Bring what a function returned to a body: bytes as they are, text as UTF-8, anything else as JSON."""
    if isinstance(value, bytes | bytearray | memoryview):
        return Result(BYTES_TYPE, bytes(value))
    try:
        if isinstance(value, str):
            return Result(TEXT_TYPE, value.encode())
        return Result(JSON_TYPE, orjson.dumps(value))
    except (TypeError, UnicodeEncodeError) as error:
        raise HandlerFailed(
            f"the function returned a {type(value).__name__} that cannot be written down: {error};"
            " expected JSON values, text or bytes"
        ) from None


def fault_of(error: BaseException) -> Fault:
    """Give the fault that an exception of a function stands for."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, OSError) and not isinstance(error, _LASTING):
        return TryAgain(_told(error), uncertain=isinstance(error, TimeoutError))
    return HandlerFailed(_told(error))


def _told(error: BaseException) -> str:
    """Say what was raised and, of the code that did it, where."""
    if isinstance(error, MemoryError):
        # What filled the memory hangs on the frames, and telling needs some too.
        traceback.clear_frames(error.__traceback__)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    frames = [frame for frame in frames if not frame.filename.startswith("<frozen")]
    words = str(error)
    said = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return f"{said} ({frames[-1].filename}:{frames[-1].lineno})" if frames else said
