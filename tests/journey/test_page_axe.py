"""The pages as axe-core sees them, at the widths of a phone and a desk, light and dark: nothing serious is found.

axe-core 4.14.1 lies in tests/axe with its licence (MPL 2.0), from the npm package of that name; it is no part of what
is installed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemonkit import CountingServer
from tests.gatewaykit import Served
from tests.pagekit import chromium, opened

pytestmark = pytest.mark.journey

AXE = Path(__file__).parent.parent / "axe" / "axe.min.js"
PATIENCE = 60_000
SERIOUS = """
async () => (await axe.run()).violations
  .filter((found) => ["serious", "critical"].includes(found.impact))
  .map((found) => `${found.id}: ${found.nodes.map((node) => node.target.join(" ")).join(", ")}`)
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return a gateway that has something to show of everything."""
    with CountingServer() as server:
        more = f'[api.shop]\nbase_url = "{server.url("/ok")}"\nrate = "50/s"\n'
        with Served(tmp_path_factory.mktemp("axe"), more=more) as served:
            served.ask("PUT", "/queues/orders")
            served.ask("POST", "/queues/orders/messages", json={"n": 1})
            served.post({"id": "went-well", "url": server.url("/ok/1")})
            served.post({"id": "went-wrong", "url": server.url("/status/404")})
            served.post({"id": "waits", "url": server.url("/ok/2"), "delay": "1h"})
            for identifier in ("went-well", "went-wrong"):
                served.outcome(identifier)
            yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_serious(browser: Any, served: Served, width: int, scheme: str) -> None:
    found = {}
    jobs = [f"/page/job?q={identifier}" for identifier in ("went-well", "went-wrong", "waits", "nobody")]
    with opened(browser, served.address(), width=width, patience=PATIENCE, color_scheme=scheme) as page:
        for path in ("/", "/docs", *jobs):
            page.goto(path)
            # Run beside the page: its policy lets no page add a script.
            page.evaluate(AXE.read_text("utf-8"))
            found[path] = page.evaluate(SERIOUS)
    assert found == {path: [] for path in found}
