"""The page in a real browser: what it shows, that it stays current, what its buttons do, and that everybody can use it.

Chromium comes from the system; where there is none these tests are skipped, and CI has one.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.daemonkit import CountingServer, wait_until
from tests.gatewaykit import Served
from tests.pagekit import PATIENCE, chromium, opened, sync_api

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def server() -> Iterator[CountingServer]:
    with CountingServer() as server:
        yield server


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, server: CountingServer) -> Iterator[Served]:
    more = f'[api.shop]\nbase_url = "{server.url("/ok")}"\nrate = "50/s"\n'
    with Served(tmp_path_factory.mktemp("page"), more=more) as served:
        served.ask("PUT", "/queues/orders")
        served.ask("POST", "/queues/orders/messages", json={"n": 1})
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Any, served: Served) -> Iterator[Any]:
    """Return a page at / in which nothing may go wrong: no error in the console, nothing refused by the policy."""
    wrong: list[str] = []
    hosts: set[str] = set()
    with opened(browser, served.address(), width=390) as page:
        page.on("console", lambda said: wrong.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
        page.goto("/")
        yield page
    assert wrong == []
    assert hosts == {served.address()}


def test_the_page_shows_folders_apis_and_queues(page: Any) -> None:
    text = page.inner_text("main")
    for shown in ("inbox/", "outbox/", "shop", "of 50 /s", "orders"):
        assert shown in text


def test_an_answer_appears_by_itself_and_leads_to_its_story(page: Any, served: Served, server: CountingServer) -> None:
    served.post({"id": "seen-by-itself", "url": server.url("/ok/1")})
    page.get_by_role("link", name="seen-by-itself").click()
    page.wait_for_url("**/page/job?q=seen-by-itself")
    text = page.inner_text("main")
    for shown in ("done", "http-seen-by-itself", "shop", "Attempts", "event=answered"):
        assert shown in text


def test_a_failed_job_is_tried_again_at_the_press_of_a_key(page: Any, served: Served, server: CountingServer) -> None:
    served.post({"id": "comes-back", "url": server.url("/flaky/page?status=404")})
    button = page.get_by_role("button", name="Try again http-comes-back")
    button.focus()
    page.keyboard.press("Enter")
    sync_api.expect(page.get_by_role("status")).to_contain_text("http-comes-back.json is tried again", timeout=PATIENCE)
    assert wait_until(lambda: served.outcome("comes-back")["state"] == "done", "the second try")
    sync_api.expect(button).to_have_count(0, timeout=PATIENCE)


def test_a_job_is_found_by_id_or_by_name(page: Any, served: Served, server: CountingServer) -> None:
    served.drop("by-hand", {"url": server.url("/ok/2")})
    served.answer("by-hand")
    page.get_by_role("searchbox").fill("by-hand")
    page.keyboard.press("Enter")
    page.wait_for_url("**/page/job?q=by-hand")
    assert "done" in page.inner_text("main")


def test_a_job_that_is_unknown_is_said_to_be(page: Any) -> None:
    # Not followed by the page's own check of errors: a 404 is one to the browser.
    assert "Nothing is known" in page.request.get("/page/job?q=nobody").text()


def test_what_a_job_is_called_is_text_and_nothing_else(page: Any, served: Served, server: CountingServer) -> None:
    name = '<img src=x onerror=alert(1)>"'
    served.drop(name, {"url": server.url("/status/404")})
    page.get_by_text(name, exact=False).first.wait_for()
    assert page.locator("main img").count() == 0


def test_the_plots_are_drawn_and_their_numbers_told(page: Any, served: Served, server: CountingServer) -> None:
    served.post(*[{"url": server.url(f"/ok/{number}")} for number in range(20)])
    assert page.locator("canvas").count() == 2
    wait_until(lambda: "/s" in page.inner_text("#now-rate"), "the rate in words")


def test_nothing_is_wider_than_a_phone(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_first_tab_leads_past_the_head_to_the_content(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(browser: Any, served: Served, scheme: str) -> None:
    """WCAG 1.4.3: at least 4.5 to 1 between text and what lies behind it."""
    context = browser.new_context(color_scheme=scheme, base_url=f"http://{served.address()}")
    page = context.new_page()
    page.goto("/")
    for selector in ("main p", ".tile dt", ".tile dd", "h2", "a", "button", "thead th"):
        # Looked up and judged in one go: the page is renewed all the time.
        assert page.evaluate(_CONTRAST, selector) >= 4.5, selector
    context.close()


_CONTRAST = """
(selector) => {
  const element = document.querySelector(selector);
  const light = (color) => {
    const linear = (part) => (part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4);
    const [r, g, b] = color.match(/[\\d.]+/g).map((part) => linear(part / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  let behind = element;
  while (/, 0\\)$|transparent/.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
  const [one, two] = [light(getComputedStyle(element).color), light(getComputedStyle(behind).backgroundColor)];
  return (Math.max(one, two) + .05) / (Math.min(one, two) + .05);
}
"""
