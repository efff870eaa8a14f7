"""The system's chromium, for tests that open the page. Whoever imports this is skipped where there is none.

with chromium() as browser, opened(browser, served.address(), width=390) as page:
    page.goto("/")
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("needs chromium (apt-get install chromium)", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install playwright)")
# Milliseconds.
PATIENCE = 30_000


@contextmanager
def chromium() -> Iterator[Any]:
    """Have a browser in a `with` block."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, address: str, *, width: int, patience: int = PATIENCE, **more: Any) -> Iterator[Any]:
    """Have a blank page in a `with` block, for which paths are those of the gateway at `address`."""
    viewport = {"width": width, "height": 844}
    context = browser.new_context(viewport=viewport, base_url=f"http://{address}", **more)
    context.set_default_timeout(patience)
    yield context.new_page()
    context.close()
