"""Accessibility of the box office page and the mail, checked by axe-core: light, dark, and on a small phone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from pycontw_assets.sandbox.page.view import Refusal
from pycontw_assets.sandbox.seed import seed_demo
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets.send_email.invitation.template import render_invitation
from pycontw_assets_tests.sandbox.conftest import Klaviyo

with suppress(ImportError):  # the fixture ``browser`` skips without it
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

PHONE, DESKTOP = {"width": 320, "height": 640}, {"width": 1280, "height": 900}
LOOKS = [("light", DESKTOP), ("dark", DESKTOP), ("light", PHONE), ("dark", PHONE)]
SINCE = datetime(2031, 6, 1, tzinfo=timezone.utc)
REFUSALS = [
    Refusal(
        partition_key="2031-individual-90001",
        text="gather_guestlist: 12 revocations are due",
        is_failure=False,
        since=SINCE,
        times=3,
    ),
    Refusal(partition_key="", text="Klaviyo answers 500", is_failure=True, since=SINCE, times=1),
]
MAIL = render_invitation("2031", venue_url="https://example.org/venue", video_url="https://youtu.be/invented0000")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    """Start a sandbox in which every section of the page shows entries of every kind."""
    world = World()
    seed_demo(world, attendees=20)
    with SandboxServer(world, ask_pipeline=lambda: REFUSALS) as running:
        address = next(ticket.address for ticket in world.kktix.tickets.values() if ticket.is_usable)
        klaviyo = Klaviyo(running.url)
        klaviyo.send(klaviyo.a_campaign(klaviyo.a_list("holders", address)))
        yield running


@pytest.fixture(params=LOOKS, ids=lambda look: f"{look[0]}-{look[1]['width']}")
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    scheme, size = request.param
    context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    yield context.new_page()
    context.close()


def serious(page: Page) -> list[tuple[str, Any]]:
    violations = Axe().run(page).response["violations"]
    return [
        (violation["id"], [node["target"] for node in violation["nodes"]][:5])
        for violation in violations
        if violation["impact"] in ("serious", "critical")
    ]


def test_the_page(page: Page, sandbox: SandboxServer) -> None:
    page.goto(sandbox.url)
    expect(page.locator("#letter")).to_be_visible()
    expect(page.locator("#tickets > li")).not_to_have_count(0)
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page must not scroll sideways"

    page.locator("#events").get_by_role("button", name="Rename").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert serious(page) == []


def test_the_mail(page: Page) -> None:
    page.set_content(MAIL.html.replace("{% unsubscribe %}", '<a href="https://example.org">Unsubscribe</a>'))
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page must not scroll sideways"
