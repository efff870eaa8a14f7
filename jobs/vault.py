"""Where credentials come from: `${secret:NAME}` is looked up when a call is sent, and kept nowhere.

A name is looked for among systemd's credentials, then in the secrets file, then in the environment. The secrets file is
TOML, `name = "value"`, and must not be readable by others. It is read again when it has changed, so that a credential
can be replaced without a restart.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Mapping
from typing import Any

import tomli

from inboxd.jobs.template import SECRET, secrets

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
# A credential that is longer is something else.
LARGEST = 256 * 1024


class SecretMissing(Exception):
    """A credential cannot be had; the text says its name, and where it was looked for."""


class Vault:
    """Looks credentials up. `file`: path of the secrets file, if any."""

    def __init__(self, file: str | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self._file = file
        self._environ = environ
        self._lock = threading.Lock()
        self._known: dict[str, Any] = {}
        self._known_as: tuple[int, int, int] | None = None

    def get(self, name: str) -> str:
        """Give a credential; raises `SecretMissing`."""
        folder = self._environ.get("CREDENTIALS_DIRECTORY")
        # The second is what systemd calls NAME of a whole folder, LoadCredential=secrets:/etc/inboxd/secrets.
        for file in (name, f"secrets_{name}") if folder is not None else ():
            if (found := _read(f"{folder}/{file}")) is not None:
                return found
        if self._file is not None and name in (known := self._of_file(self._file)):
            value = known[name]
            if not isinstance(value, str):
                raise SecretMissing(f"{self._file}: {name}: expected a string")
            return value
        if name in self._environ:
            return self._environ[name]
        places = [
            *(["systemd's credentials"] if folder is not None else []),
            *([self._file] if self._file is not None else []),
            "the environment",
        ]
        raise SecretMissing(f'there is no secret "{name}"; looked for in {" and ".join(places)}')

    def fill(self, value: Any, used: set[str]) -> Any:
        """Fill `${secret:NAME}` in every string of a JSON value; adds the credentials to `used`."""
        if isinstance(value, str):
            return SECRET.sub(lambda match: self._use(match[1], used), value)
        if isinstance(value, dict):
            return {key: self.fill(one, used) for key, one in value.items()}
        if isinstance(value, list):
            return [self.fill(one, used) for one in value]
        return value

    def missing(self, value: Any) -> list[str]:
        """Say for each credential that `value` refers to and that cannot be had, why."""
        told = []
        for name in sorted(secrets(value)):
            try:
                self.get(name)
            except SecretMissing as error:
                told.append(str(error))
        return told

    def _use(self, name: str, used: set[str]) -> str:
        found = self.get(name)
        used.add(found)
        return found

    def _of_file(self, path: str) -> Mapping[str, Any]:
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                if status.st_mode & _OTHERS:
                    raise SecretMissing(f"{path} can be read by others; it is used when its mode is 0600 (chmod 600)")
                mark = (status.st_mtime_ns, status.st_ino, status.st_size)
                with self._lock:
                    if mark != self._known_as:
                        self._known, self._known_as = tomli.loads(file.read(LARGEST).decode()), mark
                    return self._known
        except OSError as error:
            raise SecretMissing(f"{path}: cannot be read: {error.strerror}") from None
        except tomli.TOMLDecodeError as error:
            raise SecretMissing(f"{path}:{error.lineno}:{error.colno}: not TOML: {error.msg}") from None
        except UnicodeDecodeError:
            raise SecretMissing(f"{path}: not UTF-8") from None


def _read(path: str) -> str | None:
    """Read a credential as systemd lays it down; the line end that an editor left is no part of it."""
    try:
        with open(path, "rb") as file:
            return file.read(LARGEST).decode().removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError):
        return None
