"""Acceptance checks: limits hold and are reached, nobody waits for somebody else's API, every call ends."""

import time
from bisect import bisect_left
from collections import Counter
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles

from bench.rig import Daemon, Outcome, Server, wait_until
from bench.stillness import Stillness

# Figures to come close to on a machine with nothing else to do.
SECONDS = 20
# A limit is measured anew while the machine stood still for more than so many seconds meanwhile; so often at most.
STILL, TRIES = 0.01 * SECONDS, 5


def fairness(folder: Path) -> Outcome:
    """100,000 jobs for an API at 1/s, then 10 for another: these are answered within 2 s, and memory stays flat."""
    count, few, within, room = 100_000, 10, 2.0, 50
    config = 'defaults = { attempts = 1 }\n[api.slow]\nbase_url = "{}"\nrate = "1/s"\n'
    with Server() as server, Server() as fast, Daemon(folder, config.replace("{}", server.url("/ok"))) as daemon:
        many = daemon.make((f"slow-{n}", {"url": server.url(f"/ok/{n}")}) for n in range(count))
        idle = daemon.memory("VmRSS")
        daemon.move_in(many)
        at_once = _fast(daemon, fast, "at-once", few)
        wait_until(lambda: not daemon.count("inbox"), "the slow jobs to be claimed", 180, 0.5)
        settled = _fast(daemon, fast, "settled", few)
        grown = daemon.memory("VmHWM") - idle
        called = len(server.calls())
    passed = at_once < within and settled < within and grown < room
    return Outcome(
        passed,
        f"10 fast jobs right after {count} slow ones: {at_once:.2f} s; when these were claimed: {settled:.2f} s; "
        f"memory {idle:.0f} MiB + {grown:.0f} MiB; slow calls meanwhile {called}",
    )


def _fast(daemon: Daemon, server: Server, name: str, few: int) -> float:
    """Drop a few jobs; returns the seconds until the last is answered."""
    names = daemon.make((f"{name}-{n}", {"url": server.url(f"/ok/{name}-{n}")}) for n in range(few))
    began = time.monotonic()
    daemon.move_in(names)
    outbox = daemon.spool / "outbox"
    wait_until(lambda: all((outbox / answer).exists() for answer in names), f"the jobs {name}", 120, 0.005)
    return time.monotonic() - began


def rates(folder: Path) -> Outcome:
    """10/s, 100/s and 1000/s: at least 97 % is reached, and no second sees more than 2 % and one call above."""
    passed, figures = True, []
    with Server() as server:
        for rate in (10, 100, 1000):
            for attempt in range(1, TRIES + 1):
                with Stillness() as machine:
                    seen, permitted = _paced(folder / f"{rate}-{attempt}", server, f"{rate}/{attempt}", rate)
                if machine.seconds <= STILL:
                    break
            reached = len(seen) / SECONDS / rate
            most_seen, most_permitted = _busiest(seen), _busiest(permitted)
            bound = rate * 1.02 + 1
            passed = passed and reached >= 0.97 and most_seen <= bound and most_permitted <= bound
            figures.append(
                f"{rate}/s: {reached:.1%}, busiest second {most_seen} seen, {most_permitted} permitted "
                f"(attempt {attempt}, the machine stood still for {machine.seconds:.2f} s)"
            )
    return Outcome(passed, "; ".join(figures))


def _paced(folder: Path, server: Server, place: str, rate: int) -> tuple[list[float], list[float]]:
    """Make calls at a rate for SECONDS; returns when the server saw each, and when each was permitted."""
    config = f'[api.paced]\nbase_url = "{server.url("/ok/")}{place}"\nrate = "{rate}/s"\n'
    with Daemon(folder, config) as daemon:
        daemon.drop([("paced", [{"url": server.url(f"/ok/{place}/{n}")} for n in range(rate * (SECONDS + 10))])])
        ours = f"/ok/{place}/"
        wait_until(lambda: any(call.path.startswith(ours) for call in server.calls()), "the first call", 30)
        time.sleep(SECONDS + 1)
        seen = sorted(call.at for call in server.calls() if call.path.startswith(ours))
        part = next((daemon.spool / "outbox").glob(".*.part"))
        daemon.terminate(30)
        # The first moment of an attempt is the one after its permit.
        stamps = [line.partition(b'"attempts":[{"at":"')[2][:24] for line in part.read_bytes().splitlines()]
    permitted = sorted(datetime.fromisoformat(stamp.decode()).timestamp() for stamp in stamps)
    return [at for at in seen if at < seen[0] + SECONDS], permitted


def _busiest(moments: list[float]) -> int:
    """Return the most calls in any second, from each call to a second after it."""
    return max(bisect_left(moments, at + 1.0) - number for number, at in enumerate(moments))


def dead(folder: Path) -> Outcome:
    """One of three APIs refuses connections: its jobs rest, the others are as quick as ever, then all is done."""
    many, rounds = 300, 150
    with Server() as one, Server() as two, Daemon(folder) as daemon:
        gone = Server()
        gone.stop()
        before = _latencies(daemon, "before", [one, two], rounds)
        daemon.drop((f"dead-{n}", {"url": gone.url(f"/ok/{n}")}) for n in range(many))
        began = time.monotonic()
        meanwhile = _latencies(daemon, "meanwhile", [one, two], rounds)
        time.sleep(max(0.0, 8 - (time.monotonic() - began)))
        failed = daemon.count("failed")
        with Server(gone.port) as back:
            came = daemon.wait_for_answers(4 * rounds + many, 120)
            calls = Counter(call.path for call in back.calls())
        statuses = Counter(answer["status"] for answer in daemon.answers())
    was, is_now = median(before), median(meanwhile)
    passed = statuses["done"] == statuses.total() == 4 * rounds + many and not failed and is_now < 1.5 * was + 0.003
    return Outcome(
        passed and len(calls) == many,
        f"the others' median {was * 1000:.1f} ms before, {is_now * 1000:.1f} ms meanwhile (p95 {_p95(before):.1f}, "
        f"{_p95(meanwhile):.1f} ms); failed {failed}; {came:.1f} s after it was back {dict(statuses)}, "
        f"calls {calls.total()}",
    )


def _p95(seconds: list[float]) -> float:
    return quantiles(seconds, n=20)[-1] * 1000


def _latencies(daemon: Daemon, name: str, servers: list[Server], rounds: int) -> list[float]:
    """Drop one job after the other; returns the seconds that each took to its answer."""
    jobs = [
        (f"{name}-{turn}-{number}", {"url": server.url(f"/ok/{name}-{turn}-{number}")})
        for turn in range(rounds)
        for number, server in enumerate(servers)
    ]
    found = []
    for filename in daemon.make(jobs):
        answer = daemon.spool / "outbox" / filename
        began = time.monotonic()
        daemon.move_in([filename])
        wait_until(answer.exists, filename, 30, 0.0003)
        found.append(time.monotonic() - began)
    return found


def latency(folder: Path) -> Outcome:
    """From drop to answer with nothing else to do: median below 10 ms."""
    with Server() as server, Daemon(folder) as daemon:
        _latencies(daemon, "warm", [server], 5)
        found = _latencies(daemon, "cold", [server], 300)
    return Outcome(
        median(found) < 0.010,
        f"median {median(found) * 1000:.1f} ms, p95 {_p95(found):.1f} ms, worst {max(found) * 1000:.1f} ms of 300",
    )


def drip(folder: Path) -> Outcome:
    """A server that drips holds nobody beyond the timeout; of a body of 1 GiB no more comes than is allowed."""
    timeout, bound = 2.0, 64 << 20
    with Server() as server, Daemon(folder) as daemon:
        jobs = [
            (f"{what}-{n}", {"url": server.url(f"/drip-{what}/{n}")}) for what in ("head", "body") for n in range(8)
        ]
        daemon.drop((name, {**job, "timeout": timeout, "attempts": 1}) for name, job in jobs)
        daemon.wait_for_answers(len(jobs), 30)
        held = max(answer["attempts"][0]["ms"] for answer in daemon.answers()) / 1000
        # The server notices the end of a connection a moment later.
        wait_until(lambda: len(server.ends()) == len(jobs), "the end of the drips", 10)
        seen = max(seconds for seconds, _, _ in server.ends())
        kinds = Counter(answer["error"]["kind"] for answer in daemon.answers())
        before = daemon.memory("VmHWM")
        daemon.drop((what, {"url": server.url(f"/{what}/1"), "attempts": 1}) for what in ("huge", "endless"))
        daemon.wait_for_answers(len(jobs) + 2, 60)
        grown = daemon.memory("VmHWM") - before
        kinds.update(answer["error"]["kind"] for answer in daemon.answers() if answer["name"] in {"huge", "endless"})
        wait_until(lambda: len(server.ends()) == len(jobs) + 2, "the end of the floods", 10)
        sent = max(size for _, size, _ in server.ends())
        left = [name for name in daemon.names("outbox") if name.endswith(".body")] + daemon.names("state/staged")
    passed = (
        held < timeout + 0.5
        and seen < timeout + 0.5
        and grown < 10
        and sent < bound * 1.25
        and not left
        and kinds == {"timeout": len(jobs), "too_large": 2}
    )
    return Outcome(
        passed,
        f"a drip held a worker for {held:.2f} s (the server saw {seen:.2f} s) at a timeout of {timeout:g} s; "
        f"of 1 GiB and of an endless body {sent / 2**20:.0f} MiB were sent at a bound of {bound >> 20} MiB, "
        f"memory + {grown:.1f} MiB, left behind {len(left)}; {dict(kinds)}",
    )
