"""One side of the cache page, a script for that side's own Python: `SIDE MODE FOLDER THREADS SECONDS URL`.

SIDE is `inboxd` or `requests-cache` (files of JSON). It says `ready`, begins when a line comes in, and prints one line
of JSON. Modes: `rates`, puts and gets of keys in turn; `agree`, puts and gets of the same few keys by all, where what
is got must be something that was put under that key; `calls`, all ask for one URL whose answer is good for a second.
"""

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

KEYS = 20_000
SHARED = 8
BODY = '{"item": %d, "text": "' + "Please leave the parcel with the neighbour. " * 20 + '"}'


class Side(Protocol):
    """A cache with its own way to call."""

    def put(self, number: int, body: str) -> None:
        """Store a body."""
        ...

    def get(self, number: int) -> str | None:
        """Return a stored body."""
        ...

    def ask(self, url: str) -> str:
        """Return the body of a URL, from the cache or by a call."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class Ours:
    """`inboxd.cache.store.Store`, and the library's client."""

    def __init__(self, folder: str, url: str) -> None:
        from inboxd import ApiClient
        from inboxd.cache.entry import Entry
        from inboxd.cache.key import key
        from inboxd.cache.store import Store

        self._store, self._entry = Store(folder), Entry
        self._keys = [key("GET", f"{url}/{number}") for number in range(KEYS)]
        self._client = ApiClient(cache=folder, threads=4)
        self._url = url

    def put(self, number: int, body: str) -> None:
        """Store a body."""
        now = time.time()
        request = {"api": "bench", "method": "GET", "url": f"{self._url}/{number}"}
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        assert self._store.put(self._keys[number], self._entry(now, now + 3600, request, 200, headers, body.encode()))

    def get(self, number: int) -> str | None:
        """Return a stored body."""
        found = self._store.get(self._keys[number], time.time())
        return None if found is None else found.body.decode()

    def ask(self, url: str) -> str:
        """Return the body of a URL, from the cache or by a call."""
        answer = self._client.submit({"url": url, "cache": "1s"}).result()
        assert answer.response is not None
        return answer.response.body.decode()

    def close(self) -> None:
        """Let go of everything."""
        self._client.close()


class Theirs:
    """requests-cache with its filesystem backend and its JSON serializer."""

    def __init__(self, folder: str, url: str) -> None:
        import requests
        from requests_cache import CachedSession, FileCache

        # A real response, of which each entry is a copy with a URL and a body of its own.
        self._real = requests.get(url, timeout=30)
        self._cache = FileCache(folder, serializer="json")
        self._session = CachedSession(backend=FileCache(folder, serializer="json"), expire_after=1)
        self._url = url

    def put(self, number: int, body: str) -> None:
        """Store a body."""
        response = type(self._real)()
        vars(response).update(vars(self._real))
        response.url, response._content = f"{self._url}/{number}", body.encode()
        self._cache.save_response(response, f"{number:016x}")

    def get(self, number: int) -> str | None:
        """Return a stored body."""
        found = self._cache.get_response(f"{number:016x}")
        return None if found is None else found.text

    def ask(self, url: str) -> str:
        """Return the body of a URL, from the cache or by a call."""
        return self._session.get(url).text

    def close(self) -> None:
        """Let go of everything."""
        self._session.close()


def rates(side: Side, threads: int, seconds: float) -> dict[str, float]:
    """Return how many puts, and how many gets of what was put, all threads made each second."""
    put = _run(threads, seconds, lambda number: side.put(number, BODY % number))
    got = _run(threads, seconds, lambda number: _expect(side.get(number), number), most=int(put * seconds))
    return {"put": put, "get": got}


def _expect(found: str | None, number: int) -> None:
    assert found is None or found == BODY % number


def _run(threads: int, seconds: float, do: Callable[[int], None], most: int = KEYS) -> float:
    until, done = time.monotonic() + seconds, Counter[int]()

    def work(thread: int) -> None:
        number = thread
        while time.monotonic() < until:
            do(number % max(min(most, KEYS), 1))
            number += threads
            done[thread] += 1

    began = time.monotonic()
    _all(threads, work)
    return done.total() / (time.monotonic() - began)


def agree(side: Side, threads: int, seconds: float) -> Counter[str]:
    """Count what was got: right, wrong, not there, or an exception instead."""
    seen: Counter[str] = Counter()
    until, lock = time.monotonic() + seconds, threading.Lock()

    def work(thread: int) -> None:
        turn = thread
        while time.monotonic() < until:
            turn += 1
            number = turn % SHARED
            try:
                if turn % 3:
                    found = side.get(number)
                    outcome = "not there" if found is None else "right" if found == BODY % number else "wrong"
                else:
                    side.put(number, BODY % number)
                    outcome = "put"
            except Exception as error:
                outcome = f"exception {type(error).__name__}"
            with lock:
                seen[outcome] += 1

    _all(threads, work)
    return seen


def calls(side: Side, threads: int, seconds: float, url: str) -> Counter[str]:
    """Ask again and again; the server counts."""
    seen: Counter[str] = Counter()
    until, lock = time.monotonic() + seconds, threading.Lock()

    def work(_: int) -> None:
        while time.monotonic() < until:
            try:
                outcome = "asked" if side.ask(url) else "empty"
            except Exception as error:
                outcome = f"exception {type(error).__name__}"
            with lock:
                seen[outcome] += 1
            time.sleep(0.02)

    _all(threads, work)
    return seen


def _all(threads: int, work: Callable[[int], None]) -> None:
    running = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def main() -> None:
    """Do what the command line says, when told to begin."""
    name, mode, folder, threads, seconds, url = sys.argv[1:]
    side: Side = {"inboxd": Ours, "requests-cache": Theirs}[name](folder, url)
    print("ready", flush=True)
    sys.stdin.readline()
    match mode:
        case "rates":
            print(json.dumps(rates(side, int(threads), float(seconds))))
        case "agree":
            print(json.dumps(agree(side, int(threads), float(seconds))))
        case "calls":
            print(json.dumps(calls(side, int(threads), float(seconds), url)))
    side.close()


if __name__ == "__main__":
    main()
