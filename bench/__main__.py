"""The bench: `python -m bench [PAGE…] [--rounds N] [--scale F] [--quick] [--most N]`.

It prints what it finds. A run at full size writes docs/benchmarks.md; a smaller one writes beside, into .bench/report.
"""

import argparse
import contextlib
import shutil
import signal
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from bench import pages
from bench.field import Field, Options
from bench.kit import PLACE, Kit, Missing
from bench.report import Page, machine, page_text, save, today
from bench.rig import ROOT, Late
from bench.servers import Nginx

FULL = Options()


def main() -> int:
    """Measure the pages that are named, or all that do not take minutes; returns the exit status."""
    known = pages.find()
    parser = argparse.ArgumentParser(prog="python -m bench", description="inboxd and its peers on the same work.")
    parser.add_argument("pages", nargs="*", metavar="PAGE", help=", ".join(known))
    parser.add_argument("--rounds", type=int, default=FULL.rounds, help="how often each side runs (%(default)s)")
    parser.add_argument("--scale", type=float, default=FULL.scale, help="the share of the full size (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="one round at a twentieth of the size: does it work?")
    parser.add_argument(
        "--most", type=int, default=FULL.most, help="the longest backlog (%(default)s; the bar: 1000000)"
    )
    parser.add_argument("--dir", type=Path, default=PLACE, help="where the spools are made, on the disk to be measured")
    given = parser.parse_args()
    if unknown := [name for name in given.pages if name not in known]:
        parser.error(f"no such page: {', '.join(unknown)}; there are {', '.join(known)}")
    options = Options(1, 0.05, 5000) if given.quick else Options(given.rounds, given.scale, given.most)
    names = given.pages or [name for name, page in known.items() if not getattr(page, "ALONE", False)]
    full = options.rounds >= FULL.rounds and options.scale >= 1
    place = ROOT / "docs" if full else PLACE / "report"
    kit, status = Kit(), 0
    # Whoever ends the bench ends its servers and peers too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for name in names:
        print(f"{name}:", flush=True)
        try:
            page = measure(name, known[name].measure, kit, options, given.dir)
        except (Late, Missing) as reason:
            print(f"  not measured: {reason}", file=sys.stderr)
            status = 1
            continue
        save(place, [page], list(known))
        print(f"\n{page_text(page)}\n", flush=True)
    print(f"written: {place / 'benchmarks.md'}")
    return status


def measure(name: str, run: pages.Measure, kit: Kit, options: Options, place: Path) -> Page:
    """Measure one page with a server of its own, in a folder that is gone afterwards."""
    place.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=place))
    kit.versions.clear()
    try:
        with contextlib.ExitStack() as stack:
            field = Field(folder, kit, options, stack.enter_context(Nginx(kit, folder / "nginx")), stack)
            page = run(field)
        page.missing = field.missing
        page.measured = {
            "date": today(),
            "inboxd": version("inboxd"),
            "rounds": options.rounds,
            "scale": options.scale,
            "machine": machine(folder),
            "versions": dict(kit.versions),
        }
        return page
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
