"""The Dagster UI with hostile names of events and tickets in it: the browser fetches nothing and links nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from pycontw_assets.sandbox.context import SkippingClock
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.harness import Pipeline
from pycontw_assets_tests.pipeline.test_outside_texts import TABLE, make_hostile
from pycontw_assets_tests.ui.conftest import Visitor
from pycontw_assets_tests.ui.processes import HOST, Command, free_port

pytestmark = pytest.mark.browser

KEY = "2031-individual-90001"
# Pages that show names of events, tickets and questions, with the text to wait for.
PAGES = {
    "/assets/kktix?view=events": "left_alone",
    f"/assets/raw_kktix_orders?view=partitions&partition={KEY}": "newest",
    f"/assets/{TABLE}?view=partitions&partition={KEY}": "unknown_questions",
}


@pytest.fixture(scope="module")
def url(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Poll a hostile world, and show the history of that. ``browser`` comes first: without one nothing is started."""
    home, clock = tmp_path_factory.mktemp("hostile") / "home", SkippingClock()
    with SandboxServer(World(clock)) as server, ThreadPoolExecutor(1) as executor:
        make_hostile(server.world)
        executor.submit(_poll, server, clock, home).result()
    port = free_port()
    arguments = ("-m", "pycontw_assets.definitions", "-h", HOST, "-p", str(port))
    with Command(
        "dagster_webserver", *arguments, home=home, folder=home, DAGSTER_HOME=str(home / "dagster")
    ) as command:
        command.wait_for(lambda: requests.get(f"http://{HOST}:{port}/server_info", timeout=5).ok or None, "server")
        yield f"http://{HOST}:{port}"


def _poll(server: SandboxServer, clock: SkippingClock, home: Path) -> None:
    pipeline = Pipeline(server, clock, home, on_disk=True)  # type: ignore[arg-type]
    pipeline.poll()
    pipeline.instance.dispose()


@pytest.mark.parametrize("path", PAGES)
def test_a_page_with_hostile_names_fetches_nothing_and_links_nowhere(url: str, visitor: Visitor, path: str) -> None:
    page, asked = visitor.page, list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url + path)
    page.get_by_text(PAGES[path]).first.wait_for()
    page.wait_for_timeout(2000)  # Markdown is rendered by code that is loaded late
    assert "evil.example" in visitor.look(path.partition("?")[0].strip("/").replace("/", "-"))
    assert [address for address in asked if not address.startswith((url, url.replace("http", "ws"), "data:"))] == []
    evil = page.locator("a[href*='evil'], a[href^='mailto'], img[src*='evil'], h1:has-text('head')")
    assert [item.evaluate("node => node.outerHTML") for item in evil.all()] == []
    assert visitor.errors == []
