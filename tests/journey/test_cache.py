"""Many ask the same at once, jobs and programs, and the server is asked once."""

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.daemonkit import ROOT, CountingServer, Daemon, environment, inboxd, wait_until

pytestmark = pytest.mark.journey

ENOUGH = 60.0
# What one of many processes does: its threads ask at once, again and again, until the time is up.
PROGRAM = """
import sys, threading, time
from inboxd import ApiClient
url, folder, threads, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
uses, bodies = set(), set()
with ApiClient(threads=4, cache=folder) as api:
    print("ready", flush=True)
    sys.stdin.readline()
    until = time.monotonic() + seconds
    def ask():
        while time.monotonic() < until:
            answer = api.submit({"url": url, "cache": "1s"}).result()
            uses.add(answer.cache)
            bodies.add((answer.status, answer.response.body))
            time.sleep(0.05)
    asking = [threading.Thread(target=ask) for _ in range(threads)]
    for thread in asking: thread.start()
    for thread in asking: thread.join()
assert uses <= {"hit", "miss", "shared"} and len(bodies) == 1, (uses, bodies)
"""


def test_a_thousand_equal_jobs_dropped_at_once_make_one_call(tmp_path: Path) -> None:
    jobs = 1000
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        beside = tmp_path / "beside"
        beside.mkdir()
        for number in range(jobs):
            (beside / f"{number}.json").write_text(json.dumps({"url": server.url("/slow?ms=500"), "cache": "5m"}))
        for file in beside.iterdir():
            file.rename(daemon.spool / "inbox" / file.name)
        wait_until(lambda: len(daemon.files("outbox")) >= jobs, "all answers", ENOUGH)
        answers = [json.loads(file.read_bytes()) for file in (daemon.spool / "outbox").iterdir()]
        uses = Counter(answer["cache"] for answer in answers)
        assert {answer["status"] for answer in answers} == {"done"}
        assert {json.dumps(answer["response"]) for answer in answers} == {json.dumps(answers[0]["response"])}
        assert (uses["miss"], uses.keys() <= {"miss", "hit", "shared"}) == (1, True)
        assert server.counts == {"/slow": 1}


def test_ten_processes_with_many_threads_make_one_call_for_each_expiry(tmp_path: Path) -> None:
    with CountingServer() as server:
        command = [sys.executable, "-c", PROGRAM, server.url("/slow?ms=100"), str(tmp_path / "cache"), "20", "4"]
        programs = [
            subprocess.Popen(
                command, env=environment(), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
            for _ in range(10)
        ]
        for program in programs:
            assert program.stdout is not None
            assert program.stdout.readline() == b"ready\n"
        began = time.monotonic()
        for program in programs:
            assert program.stdin is not None
            program.stdin.write(b"\n")
        for program in programs:
            program.communicate(timeout=ENOUGH)
        assert [program.returncode for program in programs] == [0] * 10
        # Each answer is good for a second from when it came.
        assert 2 <= server.counts["/slow"] <= time.monotonic() - began + 1


def test_a_library_and_a_daemon_share_one_cache_and_a_person_can_look_into_it(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        url = server.url("/ok/?api_key=s3cret")
        daemon.drop("large", {"url": server.url("/huge?bytes=200000"), "cache": "1h"})
        daemon.drop("first", {"url": url, "cache": "1h"})
        first, large = daemon.answer("first"), daemon.answer("large")
        for job in ({"url": url, "cache": "1h"}, {"url": server.url("/huge?bytes=200000"), "cache": "1h"}):
            program = (
                "import sys, json\nfrom inboxd import ApiClient\n"
                "with ApiClient(cache=sys.argv[1]) as api:\n"
                "    print(api.submit(json.loads(sys.argv[2])).result().cache)\n"
            )
            library = [sys.executable, "-c", program, str(daemon.spool / "cache"), json.dumps(job)]
            assert subprocess.check_output(library, env=environment(), cwd=ROOT) == b"hit\n"
        daemon.drop("again", {"url": server.url("/huge?bytes=200000"), "cache": "1h"})
        again = daemon.answer("again")
        bodies = [(daemon.spool / "outbox" / answer["response"]["file"]).read_bytes() for answer in (large, again)]
        assert (first["cache"], large["cache"], again["cache"]) == ("miss", "miss", "hit")
        assert bodies[0] == bodies[1]
        assert sum(server.counts.values()) == 2

        listed = inboxd("cache", "ls", "--spool", str(daemon.spool), cwd=tmp_path).stdout
        assert "2 answers" in listed
        assert "/ok/?api_key=***" in listed
        assert "s3cret" not in "".join(file.read_text() for file in (daemon.spool / "cache").rglob("*.json"))
        purged = inboxd("cache", "purge", "--url", "*/ok/*", "--spool", str(daemon.spool), cwd=tmp_path)
        assert purged.stdout == "1 answer removed\n"
        daemon.drop("anew", {"url": url, "cache": "1h"})
        assert daemon.answer("anew")["cache"] == "miss"


def test_a_daemon_killed_in_the_middle_of_a_call_hands_over_and_its_answers_stay_right(tmp_path: Path) -> None:
    with CountingServer() as server, Daemon(tmp_path) as daemon:
        for kill in range(4):
            for number in range(20):
                daemon.drop(f"{kill}-{number}", {"url": server.url(f"/ok/{number % 4}"), "cache": "200ms"})
            daemon.drop(f"slow-{kill}", {"url": server.url(f"/slow?ms=300&kill={kill}"), "cache": "5m"})
            wait_until(lambda kill=kill: server.counts["/slow"] > kill, "the slow call")
            daemon.kill()
            daemon.start()
            assert daemon.answer(f"slow-{kill}")["status"] == "done"
        wait_until(lambda: len(daemon.files("outbox")) >= 84, "all answers", ENOUGH)
        answers = [json.loads(file.read_bytes()) for file in (daemon.spool / "outbox").iterdir()]
        assert {(answer["status"], json.dumps(answer["response"]["json"])) for answer in answers} == {
            ("done", '{"ok": true}')
        }
