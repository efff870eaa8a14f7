"""A mate by itself, in a process of its own, with the test in the house's place."""

import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from inboxd.daemon.ready import Asked, Done, Work
from inboxd.jobs.ids import uuid7
from tests.daemonkit import environment

# The page of a disk that never comes back, so that no worker gets further than to the note of what it begins.
STUCK = """
import sys, threading
from multiprocessing.connection import Connection
from inboxd.daemon.config import Config
from inboxd.daemon.inflight import Page
from inboxd.daemon.mate import Mate

class Stuck(Page):
    def begin(self, worker, token):
        threading.Event().wait()

Mate(Connection(int(sys.argv[1])), Config(spool=sys.argv[2]), 2, Stuck(""), watchdog=1.0).run()
"""


@pytest.mark.parametrize("jobs", [0, 1])
def test_a_mate_speaks_while_it_moves_and_ends_when_one_of_its_calls_does_not(tmp_path: Path, jobs: int) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", STUCK, str(theirs.fileno()), str(tmp_path)],
            pass_fds=[theirs.fileno()],
            env=environment(),
        )
    house = Connection(ours.detach())
    words: list[Done] = [house.recv()]
    job = b'{"url": "http://127.0.0.1:1/", "timeout": "100ms"}'
    house.send(Work([Asked(uuid7(), "stuck", 1, job, [], 0)] * jobs))
    try:
        while len(words) < 12:
            words.append(house.recv())
    except EOFError:
        assert jobs
        assert process.wait(20) == 1
        assert "worker" in "".join(words[-1].log)
        assert "standing still" in "".join(words[-1].log)
    else:
        assert not jobs
        assert not any(any(word) for word in words)
        house.close()
        process.wait(20)
