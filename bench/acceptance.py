"""The acceptance checks at full size: `python -m bench.acceptance [--dir DIR] [NAME…]`.

Each check runs the real daemon on a spool of its own against a loopback server in another process, and prints one
line: its name, PASS or FAIL, the seconds it took, and its figures. The exit status is 1 if any fails.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.doors import flood, openapi, polls
from bench.leases import messages
from bench.manners import dead, drip, fairness, latency, rates
from bench.rig import ROOT, Late, Outcome
from bench.survival import batch, burst, kill, stop, trees

_ENGINE = (burst, kill, trees, fairness, batch, rates, dead, latency, drip, stop)
_DOORS = (openapi, polls, flood, messages)
CHECKS: dict[str, Callable[[Path], Outcome]] = {check.__name__: check for check in (*_ENGINE, *_DOORS)}


def main() -> int:
    """Run the checks that are named, or all; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.acceptance", description="Acceptance checks at full size.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CHECKS))
    parser.add_argument(
        "--dir", default=str(ROOT.parent), help="where the spools are made; default: beside the checkout"
    )
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in CHECKS]
    if unknown:
        parser.error(f"no such check: {', '.join(unknown)}; there are {', '.join(CHECKS)}")
    results = [run(name, given.dir) for name in given.names or CHECKS]
    return 0 if all(results) else 1


def run(name: str, beside: str) -> bool:
    """Run one check and print its line."""
    folder = Path(tempfile.mkdtemp(prefix=f"acceptance-{name}-", dir=beside))
    began = time.monotonic()
    try:
        outcome = CHECKS[name](folder)
    except Late as late:
        outcome = Outcome(passed=False, figures=str(late))
    finally:
        shutil.rmtree(folder)
    verdict = "PASS" if outcome.passed else "FAIL"
    print(f"{name:<8} {verdict} {time.monotonic() - began:5.0f} s  {outcome.figures}", flush=True)
    return outcome.passed


if __name__ == "__main__":
    sys.exit(main())
