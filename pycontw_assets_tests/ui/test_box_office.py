"""The real pipeline processes a ticket sold on the page; the page shows the access and its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.harness import Pipeline, TestClock
from pycontw_assets_tests.ui.conftest import Visitor

with suppress(ImportError):  # the fixture ``browser`` skips without it
    from playwright.sync_api import FrameLocator, Locator, Page, expect

pytestmark = pytest.mark.browser

Poll = Callable[[], None]
MOST_TABS = 400


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(World()) as running:
        yield running


@pytest.fixture
def page(visitor: Visitor, sandbox: SandboxServer) -> Iterator[Page]:
    sandbox.world.reset(TestClock())
    event = sandbox.world.add_event("PyCon TW 2031 Registration: Individual")
    for _ in range(4):
        sandbox.world.sell(event, paid=False)  # the pipeline distrusts a book that loses everybody
    sandbox.world.add_guest("speaker@example.org")
    visitor.page.goto(sandbox.url)
    expect(visitor.page.locator("#guests > li")).to_have_count(1)
    yield visitor.page
    assert visitor.errors == []


@pytest.fixture
def poll(page: Page, sandbox: SandboxServer, tmp_path: Path) -> Iterator[Poll]:
    """Poll in another thread: while Playwright is up, this thread counts as running an event loop."""
    with ThreadPoolExecutor(1) as executor:
        clock = sandbox.world.context.clock
        pipeline = executor.submit(Pipeline, sandbox, clock, tmp_path / "home").result()
        yield lambda: executor.submit(pipeline.later_poll).result()


def guests(page: Page) -> Locator:
    return page.locator("#guests > li").filter(has_text="by pipeline")


def ticket(page: Page) -> Locator:
    """Return the row of the latest ticket."""
    return page.locator("#tickets > li").first


def letter(page: Page) -> FrameLocator:
    return page.frame_locator("#letter-html")


def test_access_follows_the_ticket(page: Page, poll: Poll, visitor: Visitor) -> None:
    page.get_by_role("button", name="Sell 1", exact=True).click()
    expect(ticket(page)).to_have_class("ticket waiting")
    address = ticket(page).locator(".address").inner_text()
    poll()
    expect(ticket(page)).to_have_class("ticket done")
    expect(ticket(page)).to_contain_text("after")
    expect(guests(page)).to_contain_text(address)
    expect(page.locator("#mails > li")).to_contain_text(address)
    expect(letter(page).get_by_role("heading", name="您的線上會場已經開放")).to_be_visible()
    expect(letter(page).get_by_role("heading", name="Your online venue is open")).to_be_attached()
    page.get_by_role("radio", name="Text").check()
    page.get_by_role("button", name="English", exact=True).click()
    expect(page.locator("#letter-text").get_by_text("Your online venue is open")).to_be_in_viewport()
    visitor.look("arrived")

    ticket(page).get_by_role("button", name="Cancel").click()
    expect(ticket(page)).to_have_class("ticket leaving")
    poll()
    poll()
    expect(guests(page)).to_have_count(0)
    expect(ticket(page)).to_contain_text("taken off after")
    expect(page.locator("#guests > li")).to_contain_text("by hand")


def test_access_by_keyboard(page: Page, poll: Poll) -> None:
    press(page, "Sell 1")
    expect(ticket(page)).to_have_class("ticket waiting")
    poll()
    expect(guests(page)).to_have_count(1)
    press(page, "Text", key="ArrowRight")
    expect(page.locator("#letter-text")).to_contain_text("Your online venue is open")
    press(page, "Cancel")
    expect(ticket(page)).to_have_class("ticket leaving")
    poll()
    poll()
    expect(guests(page)).to_have_count(0)


def press(page: Page, name: str, key: str = "Enter") -> None:
    """Press Tab until the named element has the focus; every focused element must show its focus."""
    page.evaluate("document.activeElement.blur()")
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUS)
        assert focused["shows"], f"the focus on {focused['names']} cannot be seen"
        if name in focused["names"]:
            return page.keyboard.press(key)
    raise AssertionError(f"{name} cannot be reached with the keyboard")


# The names of the focused element, and whether it is outlined. A radio button has the names of its group, and its
# label is outlined in its place.
FOCUS = """() => {
  const focused = document.activeElement;
  const names = focused.name ? [...document.getElementsByName(focused.name)] : [focused];
  const label = focused.type === "radio" ? focused.nextElementSibling : focused;
  return {
    names: names.map((named) => (named.type === "radio" ? named.parentElement : named).innerText.trim()),
    shows: focused === document.body || focused.tagName === "IFRAME" || getComputedStyle(label).outlineStyle !== "none",
  };
}"""
