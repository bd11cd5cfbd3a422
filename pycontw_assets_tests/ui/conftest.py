"""A real Chromium for the tests of this folder; without one they are skipped and say so.

What the tests start is in ``processes.py``.
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

# Nothing is fetched in the background: these tests run offline.
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
    """Somebody in front of the browser, who remembers every text and every script error seen on the way."""

    def __init__(self, page: Page, screenshots: Path) -> None:
        self.page = page
        self.seen: dict[str, str] = {}
        self.errors: list[str] = []
        self._screenshots = screenshots
        page.on("pageerror", lambda error: self.errors.append(error.message))

    def look(self, name: str) -> str:
        """The text of the page as it is now; a screenshot is kept with the test run's other temporary files."""
        self.page.screenshot(path=self._screenshots / f"{name}.png")
        self.seen[name] = self.page.inner_text("body")
        return self.seen[name]


# The browser lives as long as a module: while Playwright is up, its event loop counts as running in this thread,
# and tests of other folders could not start theirs.
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
    found = [path for name in _NAMES if (path := shutil.which(name))]
    bundled = playwright.chromium.executable_path
    if not found and not Path(bundled).exists():
        pytest.skip("the browser tests need Chromium: install it, or run `playwright install chromium`")
    return found[0] if found else bundled
