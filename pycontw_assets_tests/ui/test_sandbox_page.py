"""The sandbox's page, pressed like a person would: buttons and forms, not the control API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests

from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.ui.conftest import Visitor

with suppress(ImportError):  # the fixture ``browser`` skips without it
    from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.browser

INDIVIDUAL = "PyCon TW 2031 Registration: Individual"
BUYER = "buyer@example.org"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(World()) as running:
        yield running


@pytest.fixture
def world(sandbox: SandboxServer) -> World:
    sandbox.world.reset()
    sandbox.world.add_event(INDIVIDUAL, 90001)
    return sandbox.world


@pytest.fixture
def page(visitor: Visitor, sandbox: SandboxServer, world: World, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page as it opens; whatever is done on it must not break its script."""
    visitor.page.goto(sandbox.url)
    expect(rows(visitor.page, "events")).to_have_count(1)
    yield visitor.page
    visitor.look(request.node.name)
    assert visitor.errors == []


def rows(page: Page, table: str) -> Locator:
    return page.locator(f"#{table} tr").filter(has=page.locator("td"))


def sell(page: Page, *, paid: bool) -> Locator:
    """A ticket sold with the form; its row."""
    form = page.locator("form[data-action=sell]")
    form.get_by_label("Address").fill(BUYER)
    form.get_by_label("Paid").set_checked(paid)
    form.get_by_role("button", name="Sell").click()
    row = rows(page, "attendees").filter(has_text=BUYER)
    expect(row).to_have_count(1)
    return row


def buttons(row: Locator) -> list[str]:
    return row.get_by_role("button").all_inner_texts()


def test_a_ticket_sold_appears(page: Page, world: World) -> None:
    row = sell(page, paid=True)
    assert row.locator("td").all_inner_texts()[3:7] == [BUYER, "yes", "activated", "yes"]
    assert buttons(row) == ["Cancel", "Refund", "Transfer"]
    expect(page.get_by_role("status")).to_have_text("Done: sell")
    expect(rows(page, "events").first.locator("td").nth(3)).to_have_text("1")
    assert [ticket.address for ticket in world.kktix.tickets.values()] == [BUYER]


def test_a_late_payment_makes_a_ticket_usable(page: Page) -> None:
    row = sell(page, paid=False)
    assert row.locator("td").all_inner_texts()[4:7] == ["no", "activated", "no"]
    row.get_by_role("button", name="Pay").click()
    expect(row.locator("td").nth(6)).to_have_text("yes")
    assert "Pay" not in buttons(row)


def test_a_cancelled_ticket_is_not_usable(page: Page) -> None:
    row = sell(page, paid=True)
    row.get_by_role("button", name="Cancel").click()
    expect(row.locator("td").nth(5)).to_have_text("cancelled")
    expect(row.locator("td").nth(6)).to_have_text("no")
    assert buttons(row) == ["Transfer"]


def test_a_transferred_ticket_has_the_new_address(page: Page, world: World) -> None:
    row = sell(page, paid=True)
    page.once("dialog", lambda dialog: dialog.accept("heir@example.org"))
    row.get_by_role("button", name="Transfer").click()
    expect(rows(page, "attendees").filter(has_text="heir@example.org")).to_have_count(1)
    assert [ticket.address for ticket in world.kktix.tickets.values()] == ["heir@example.org"]


def test_trouble_ordered_befalls_the_service_once(page: Page, sandbox: SandboxServer) -> None:
    form = page.locator("form[data-action=add_fault]")
    form.get_by_label("Service").select_option("kktix")
    form.get_by_role("spinbutton", name="Status").fill("502")
    form.get_by_role("button", name="Order trouble").click()
    expect(rows(page, "faults")).to_have_count(1)
    assert rows(page, "faults").locator("td").all_inner_texts()[:2] == ["kktix", "status"]

    variables = sandbox.environment
    headers = {"Authorization": f"bearer {variables['KKTIX_API_TOKEN']}"}
    replies = [requests.get(variables["KKTIX_API_URL"], headers=headers, timeout=5).status_code for _ in range(2)]
    assert replies == [502, 200]
    expect(rows(page, "faults")).to_have_count(0)  # the page looks again by itself


def test_what_the_world_refuses_is_said(page: Page) -> None:
    form = page.locator("form[data-action=add_fault]")
    form.get_by_label("Path").fill("(")
    form.get_by_role("button", name="Order trouble").click()
    expect(page.get_by_role("status")).to_contain_text("Refused")
