"""The box office page, used as a person uses it: buttons and forms, not the control API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone

import pytest
import requests

from pycontw_assets.sandbox.page.view import MOST_SHOWN, Refusal
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.ui.conftest import Visitor

with suppress(ImportError):  # the fixture ``browser`` skips without it
    from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.browser

INDIVIDUAL = "PyCon TW 2031 Registration: Individual"
REFUSAL = Refusal(
    partition_key="2031-individual-90001",
    text="gather_guestlist: 12 revocations are due, more than REVOKE_LIMIT",
    is_failure=False,
    since=datetime(2031, 6, 1, tzinfo=timezone.utc),
    times=3,
)


@pytest.fixture(scope="module")
def refusals() -> list[Refusal]:
    """Return the pipeline's open problems; a test adds to them."""
    return []


@pytest.fixture(scope="module")
def sandbox(refusals: list[Refusal]) -> Iterator[SandboxServer]:
    with SandboxServer(World(), ask_pipeline=lambda: list(refusals)) as running:
        yield running


@pytest.fixture
def world(sandbox: SandboxServer) -> World:
    sandbox.world.reset()
    sandbox.world.add_event(INDIVIDUAL, 90001)
    return sandbox.world


@pytest.fixture
def page(visitor: Visitor, sandbox: SandboxServer, world: World, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Open the page; no test may cause a script error."""
    visitor.page.goto(sandbox.url)
    expect(rows(visitor.page, "events")).to_have_count(1)
    yield visitor.page
    visitor.look(request.node.name)
    assert visitor.errors == []


def rows(page: Page, board: str) -> Locator:
    return page.locator(f"#{board} > li")


def sell(page: Page, amount: str = "Sell 1", *, paid: bool = True) -> Locator:
    """Sell tickets with the form, and return the row of the latest."""
    page.get_by_role("radio", name="Paid at once" if paid else "Pays later (ATM)").check()
    page.get_by_role("button", name=amount, exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Sold")
    return rows(page, "tickets").first


def buttons(row: Locator) -> list[str]:
    return row.get_by_role("button").all_inner_texts()


def test_a_sold_ticket_shows_as_in_progress(page: Page, world: World) -> None:
    row = sell(page)
    (ticket,) = world.kktix.tickets.values()
    expect(row).to_contain_text(ticket.address)
    expect(row.locator(".progress li.done")).to_contain_text("Paid")
    assert buttons(row) == ["Cancel", "Transfer"]
    expect(page.locator("#n-people")).to_have_text("0 / 1")


def test_only_the_latest_of_many_are_listed(page: Page, world: World) -> None:
    sell(page, "1,000")
    expect(page.locator("#n-tickets")).to_have_text("1,000")
    expect(rows(page, "tickets")).to_have_count(MOST_SHOWN)
    expect(page.locator("#tickets-rest")).to_contain_text("latest 50 of 1,000")
    (first,) = [ticket.address for ticket in list(world.kktix.tickets.values())[:1]]
    page.get_by_role("searchbox", name="Find").fill(first)
    expect(rows(page, "tickets")).to_have_count(1)


def test_paying_keeps_the_focus_in_the_row(page: Page) -> None:
    row = sell(page, paid=False)
    expect(row.locator(".progress li.waiting")).to_contain_text("not yet")
    row.get_by_role("button", name="Pay").click()
    expect(row.locator(".progress li.done")).to_contain_text("Paid")
    assert buttons(row) == ["Cancel", "Transfer"]
    expect(row).to_be_focused()


def test_tickets_can_be_cancelled_and_transferred(page: Page, world: World) -> None:
    row = sell(page)
    row.get_by_role("button", name="Cancel").click()
    expect(row).to_contain_text("cancelled")
    row.get_by_role("button", name="Reinstate").click()
    expect(row).not_to_contain_text("cancelled")
    (before,) = [ticket.address for ticket in world.kktix.tickets.values()]
    row.get_by_role("button", name="Transfer").click()
    expect(row).not_to_contain_text(before)


def test_events_are_added_renamed_and_ended(page: Page, world: World) -> None:
    page.get_by_label("New event").fill("PyCon TW 2031 Registration: Corporate")
    page.get_by_role("button", name="Add event").click()
    expect(rows(page, "events")).to_have_count(2)
    rows(page, "events").nth(1).get_by_role("button", name="Rename").click()
    page.get_by_role("dialog").get_by_label("Name").fill("Another name")
    page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    expect(rows(page, "events").nth(1)).to_contain_text("Another name")
    rows(page, "events").nth(1).get_by_role("button", name="End").click()
    expect(rows(page, "events").nth(1)).to_contain_text("ended")
    expect(page.locator("#sell-event option")).to_have_count(1)


def test_weather_lasts_until_changed(page: Page, sandbox: SandboxServer) -> None:
    kktix = page.get_by_role("group", name="KKTIX")
    kktix.get_by_role("radio", name="500").check()
    expect(page.get_by_role("status")).to_have_text("KKTIX: 500.")
    variables = sandbox.environment
    headers = {"Authorization": f"bearer {variables['KKTIX_API_TOKEN']}"}
    ask = lambda: requests.get(variables["KKTIX_API_URL"], headers=headers, timeout=5).status_code  # noqa: E731
    assert [ask(), ask()] == [500, 500]
    expect(kktix).to_contain_text("2 calls")
    kktix.get_by_role("radio", name="Fine").check()
    expect(page.get_by_role("status")).to_have_text("KKTIX: Fine.")
    assert ask() == 200


def test_a_guest_is_added_by_hand_and_removed(page: Page) -> None:
    page.get_by_label("Add a guest by hand").fill("friend@example.org")
    page.get_by_role("button", name="Add guest").click()
    row = rows(page, "guests").filter(has_text="friend@example.org")
    expect(row).to_contain_text("by hand")
    row.get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)


def test_open_problems_are_shown(page: Page, refusals: list[Refusal]) -> None:
    expect(page.locator("#problems-none")).to_have_text("There are no open problems.")
    refusals.append(REFUSAL)
    row = rows(page, "problems").first
    expect(row).to_contain_text(REFUSAL.text)
    expect(row).to_contain_text("worth a look")
    refusals.clear()
    expect(rows(page, "problems")).to_have_count(0)


def test_a_refused_action_is_announced(page: Page, world: World) -> None:
    """The event disappears without the page noticing."""
    world.kktix.events.clear()
    page.get_by_role("button", name="Sell 1", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Refused")
    world.add_event(INDIVIDUAL, 90001)


def test_starting_again_asks_first(page: Page, world: World) -> None:
    sell(page)
    page.get_by_role("button", name="Start again").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert len(world.kktix.tickets) == 1
    page.get_by_role("button", name="Start again").click()
    page.get_by_role("dialog").get_by_role("button", name="Start again").click()
    expect(page.locator("#n-tickets")).to_have_text("0")
