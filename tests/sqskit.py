"""The SQS protocol on a port of its own, for a real SDK, with the long polls that are left to whoever serves it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from inboxd.daemon import sqs
from inboxd.jobs.queues import Queues


class Server(ThreadingHTTPServer):
    daemon_threads = True
    queues: Queues


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:  # the name that http.server asks for
        target = self.headers["X-Amz-Target"]
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        base = f"http://127.0.0.1:{self.server.server_port}/000000000000"
        status, headers, answer = patiently(self.server.queues, target, said, base)
        data = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *said: object) -> None:
        pass


def patiently(queues: Queues, target: str, said: Any, base: str) -> tuple[int, dict[str, str], Any]:
    """Handle a request; one that waits for messages is handled again whenever there may be some."""
    held = sqs.patience(queues, target, said)
    until = time.monotonic() + (held[1] if held else 0.0)
    came = threading.Event()
    stop = held[0].listen(came.set) if held else lambda: None
    while True:
        status, headers, answer = sqs.handle(queues, target, said, base)
        if status != 200 or answer or time.monotonic() >= until:
            break
        came.wait(0.1)
        came.clear()
    stop()
    return status, headers, answer


@contextmanager
def serve(queues: Queues) -> Iterator[str]:
    """Serve `queues`; gives the endpoint."""
    with Server(("127.0.0.1", 0), Handler) as server:
        server.queues = queues
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
