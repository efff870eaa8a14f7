"""Acceptance checks: nothing is lost and nothing done twice, in a burst, under kill -9, in a batch, at a stop.

A call that was made and whose answer is not visible yet counts as in flight: a crash may make it twice, never another.
"""

import json
import random
import signal
import time
from collections import Counter, defaultdict
from pathlib import Path

from bench.rig import Call, Daemon, Outcome, Server, wait_until

# Workers (16 threads and a third more), answers that wait for the outbox, and a group being committed.
MOST_IN_FLIGHT = 22 + 2 * 128


def burst(folder: Path) -> Outcome:
    """10,000 files dropped in one burst: as many answers, all done, and no call made twice."""
    count = 10_000
    with Server() as server, Daemon(folder) as daemon:
        made = daemon.make((f"job-{n}", {"url": server.url(f"/ok/{n}")}) for n in range(count))
        began = time.monotonic()
        daemon.move_in(made)
        moved = time.monotonic() - began
        took = moved + daemon.wait_for_answers(count, 180)
        done = sum(answer["status"] == "done" for answer in daemon.answers())
        paths = Counter(call.path for call in server.calls())
        memory = daemon.memory("VmHWM")
    passed = done == count and len(paths) == count and paths.total() == count
    return Outcome(
        passed,
        f"{done} done in {took:.1f} s ({count / took:.0f}/s; dropped within {moved:.2f} s); "
        f"calls {paths.total()}, distinct {len(paths)}; memory {memory:.0f} MiB",
    )


def kill(folder: Path) -> Outcome:
    """20 times kill -9 during 5,000 jobs: 5,000 answers; twice were made only calls in flight, with the same key."""
    count, kills = 5000, 20
    with Server() as server, Daemon(folder) as daemon:
        daemon.drop((f"job-{n}", {"url": server.url(f"/ok/job-{n}?ms=25")}) for n in range(count))
        in_flight, answered = _killed(daemon, server, kills)
        daemon.wait_for_answers(count, 180)
        code, _ = daemon.terminate(30)
        answers = list(daemon.answers())
        calls = server.calls()
        leftovers = [name for where in ("inbox", "active", "deferred", "failed") for name in daemon.names(where)]
    times = Counter(_name(call) for call in calls)
    left = count - answered
    twice = times.total() - len(times)
    allowed = sum(Counter(name for names in in_flight for name in names).values())
    strangers = [name for name, number in times.items() if number > 1 + sum(name in names for names in in_flight)]
    keys: defaultdict[str, set[str]] = defaultdict(set)
    for call in calls:
        keys[_name(call)].add(call.key)
    changed = sum(len(used) > 1 for used in keys.values())
    most = max(map(len, in_flight))
    names = {answer["name"] for answer in answers}
    done = sum(answer["status"] == "done" for answer in answers)
    passed = (
        (len(answers), len(names), done, code) == (count, count, count, 0)
        and not (strangers or changed or leftovers)
        and most <= MOST_IN_FLIGHT
    )
    return Outcome(
        passed,
        f"{kills} kills (at the last {left} jobs were open); {len(answers)} answers, {done} done; calls made again "
        f"{twice} of {allowed} in flight (called in that run, not visibly answered at its end; at most {most} at one), "
        f"others again {len(strangers)}; changed keys {changed}; left behind {len(leftovers)}",
    )


def _killed(daemon: Daemon, server: Server, kills: int) -> tuple[list[set[str]], int]:
    """Kill a daemon again and again; returns what was in flight each time, and how much was answered at the last."""
    chance = random.Random()
    in_flight: list[set[str]] = []
    answered: set[str] = set()
    since = 0.0
    for _ in range(kills):
        time.sleep(chance.uniform(0.05, 0.6))
        daemon.kill()
        answered = {name.removesuffix(".json") for name in daemon.names("outbox")}
        # A call that the server has taken in may not stand in its list for a moment.
        time.sleep(0.1)
        in_flight.append({_name(call) for call in server.calls() if call.at > since} - answered)
        since = time.monotonic()
        daemon.start()
    return in_flight, len(answered)


def trees(folder: Path) -> Outcome:
    """A tree of four levels, each job of two of them with 50 children, and a branch that fails; killed three times."""
    width, kills = 50, 3
    chance = random.Random()
    finished: list[tuple[float, set[str]]] = []
    with Server() as server, Daemon(folder) as daemon:
        items = f"`{list(range(1, width + 1))}`"
        leaf = {"url": server.url("/ok/c?ms=5")}
        second = {"for_each": items, "url": server.url("/ok/b?ms=5"), "then": [leaf]}
        first = {"for_each": items, "url": server.url("/ok/a?ms=5"), "then": [second]}
        bad = {"url": server.url("/ok/bad"), "ok": "204", "then": [{**leaf, "then": [leaf]}]}
        count = 1 + width + 2 * width**2 + 3
        daemon.drop([("t", {"id": "t", "url": server.url("/ok/t"), "then": [first, bad]})])
        for number in range(1, kills + 1):
            share = chance.uniform(number - 0.5, number) / (kills + 1)
            wait_until(lambda share=share: daemon.count("outbox") >= share * count, "more answers", 120)
            daemon.kill()
            ended = {name.removesuffix(".json") for name in daemon.names("outbox")}
            # A call that the server has taken in may not stand in its list for a moment.
            time.sleep(0.1)
            finished.append((time.monotonic(), ended))
            daemon.start()
        daemon.wait_for_answers(count, 240)
        code, _ = daemon.terminate(30)
        statuses = Counter(answer["status"] for answer in daemon.answers())
        names = {answer["name"] for answer in daemon.answers()}
        calls = server.calls()
        left = [name for where in ("inbox", "active", "deferred") for name in daemon.names(where)]
    again = sum(call.at > at and call.key in ended for at, ended in finished for call in calls)
    expected = Counter({"done": count - 3, "failed": 1, "skipped": 2})
    passed = (statuses, len(names), again, left, code) == (expected, count, 0, [], 0)
    twice = len(calls) - len({call.key for call in calls})
    return Outcome(
        passed,
        f"{kills} kills; {statuses.total()} answers of {count} ({dict(statuses)}), {len(names)} names; calls of jobs "
        f"that had ended {again}, of others {twice} again; left behind {len(left)}",
    )


def _name(call: Call) -> str:
    return call.path.split("/")[2].partition("?")[0]


def batch(folder: Path) -> Outcome:
    """200,000 lines need no more memory than 1,000; killed half way, the batch goes on where it was."""
    lines, within = 200_000, 20
    with Server() as server:
        with Daemon(folder / "small") as daemon:
            daemon.drop([("small", [{"url": server.url(f"/ok/{n}")} for n in range(1000)])])
            wait_until(lambda: "small.jsonl" in daemon.names("outbox"), "the small batch", 60)
            small = daemon.memory("VmHWM")
        before = len(server.calls())
        with Daemon(folder / "large") as daemon:
            daemon.drop([("large", [{"url": server.url(f"/ok/{n}")} for n in range(lines)])])
            began = time.monotonic()
            part = _part(daemon, lines // 2)
            first = daemon.memory("VmHWM")
            daemon.kill()
            answered = {json.loads(line)["line"] - 1 for line in part.read_bytes().splitlines()[:-1]}
            time.sleep(0.2)
            in_flight = {int(_name(call)) for call in server.calls()[before:]} - answered
            daemon.start()
            wait_until(lambda: "large.jsonl" in daemon.names("outbox"), "the large batch", 240, 0.2)
            took = time.monotonic() - began
            large = max(first, daemon.memory("VmHWM"))
            statuses, numbers = _tallied(daemon.spool / "outbox" / "large.jsonl")
        times = Counter(int(_name(call)) for call in server.calls()[before:])
    again = {number for number, made in times.items() if made > 1}
    passed = (
        (statuses["done"], statuses.total(), len(numbers), len(times)) == (lines, lines, lines, lines)
        and again <= in_flight
        and times.total() <= lines + len(in_flight)
        and large - small < within
    )
    return Outcome(
        passed,
        f"{statuses['done']} done in {took:.0f} s ({lines / took:.0f}/s); memory {large:.0f} MiB, of 1,000 lines "
        f"{small:.0f} MiB; killed at {len(answered)}: {times.total() - lines} calls again, {len(in_flight)} in flight",
    )


def _tallied(answers: Path) -> tuple[Counter[str], set[int]]:
    """Return how often each status stands in a batch's answers, and the lines that were answered."""
    statuses, numbers = Counter[str](), set[int]()
    with answers.open("rb") as file:
        for line in file:
            answer = json.loads(line)
            statuses[answer["status"]] += 1
            numbers.add(answer["line"])
    return statuses, numbers


def _part(daemon: Daemon, lines: int) -> Path:
    """Wait until a batch has so many answers; returns the file they are in."""
    outbox = daemon.spool / "outbox"
    wait_until(lambda: [*outbox.glob(".*.part")], "the first answers", 60)
    part = next(outbox.glob(".*.part"))
    with part.open("rb") as file:
        seen = 0

        def enough() -> bool:
            nonlocal seen
            seen += file.read().count(b"\n")
            return seen >= lines

        wait_until(enough, f"{lines} answers", 240)
    return part


def stop(folder: Path) -> Outcome:
    """SIGTERM in the middle: exit 0 within drain; every job is answered, or lies untouched where it lay."""
    count, drain = 3000, 5
    with Server() as server, Daemon(folder, f"drain = {drain}\n") as daemon:
        jobs = {f"job-{n}": {"url": server.url(f"/ok/job-{n}?ms=300")} for n in range(count)}
        daemon.drop(jobs.items())
        wait_until(lambda: daemon.count("outbox") > 100, "the first answers", 60)
        code, took = daemon.terminate(60)
        answered = {name.removesuffix(".json") for name in daemon.names("outbox")}
        waiting = {name.removesuffix(".json") for name in daemon.names("inbox")}
        elsewhere = daemon.names("active") + daemon.names("deferred")
        touched = [
            name
            for name in waiting
            if json.loads((daemon.spool / "inbox" / f"{name}.json").read_bytes()) != jobs.get(name)
        ]
        called = {_name(call) for call in server.calls()}
        passed = (
            (code, len(answered) + len(waiting) + len(elsewhere)) == (0, count)
            and took < drain
            and called == answered
            and not touched
        )
        hurried = _hurried(server, folder)
    return Outcome(
        passed and hurried < drain / 2,
        f"exit {code} after {took:.2f} s of {drain} s: {len(answered)} answered, {len(waiting)} back in the inbox, "
        f"{len(elsewhere)} in deferred, {len(called - answered)} called without an answer, {len(touched)} changed; "
        f"second SIGTERM during endless calls: exit after {hurried:.2f} s",
    )


def _hurried(server: Server, folder: Path) -> float:
    """Stop twice in a row during calls that do not end; returns the seconds from the second signal to the end."""
    with Daemon(folder / "hurried", "processes = 2\ndrain = 30\n") as hurried:
        # The threads are divided among them, so the house alone makes half of the calls.
        wait_until(lambda: hurried.log.read_text().count("a process helps") == 2, "two processes", 30)
        hurried.drop((f"job-{n}", {"url": server.url(f"/drip-head/{n}")}) for n in range(20))
        wait_until(lambda: sum("/drip" in call.path for call in server.calls()) >= 16, "calls under way", 30)
        hurried.signal(signal.SIGTERM)
        time.sleep(1)
        code, took = hurried.terminate(60)
        kept = hurried.count("inbox") + hurried.count("deferred")
    return took if (code, kept) == (0, 20) else float("inf")
