"""A real Chromium for the tests of this folder; without Chromium they are skipped with the reason.

``processes.py`` starts the commands under test.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

# These tests run offline, so the browser fetches nothing in the background.
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Visitor:
    """A visitor with a browser page; it keeps every text and every script error seen so far."""

    def __init__(self, page: Page, screenshots: Path) -> None:
        self.page = page
        self.seen: dict[str, str] = {}
        self.errors: list[str] = []
        self._screenshots = screenshots
        page.on("pageerror", lambda error: self.errors.append(error.message))

    def look(self, name: str) -> str:
        """Return the present text of the page, and keep a screenshot with the other temporary files of the test run."""
        self.page.screenshot(path=self._screenshots / f"{name}.png")
        self.seen[name] = self.page.inner_text("body")
        return self.seen[name]


# The browser lives as long as a module: while Playwright is up, its event loop counts as running in this thread,
# and tests of other folders could not start their own loops.
@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright (extra: dev)")
    with api.sync_playwright() as playwright:
        home = tmp_path_factory.mktemp("browser")
        running = playwright.chromium.launch(
            executable_path=_find_chromium(playwright), args=_QUIET, env={**os.environ, "HOME": str(home)}
        )
        yield running
        running.close()


@pytest.fixture(scope="module")
def visitor(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Visitor:
    page = browser.new_page(viewport={"width": 2600, "height": 1400})
    page.set_default_timeout(30_000)
    return Visitor(page, tmp_path_factory.mktemp("screenshots"))


def _find_chromium(playwright: Playwright) -> str:
    installed = [path for name in _NAMES if (path := shutil.which(name))]
    bundled = playwright.chromium.executable_path
    if not installed and not Path(bundled).exists():
        pytest.skip("the browser tests need Chromium: install it, or run `playwright install chromium`")
    return installed[0] if installed else bundled
