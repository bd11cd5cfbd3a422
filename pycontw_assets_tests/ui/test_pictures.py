"""The pictures of README and docs/, taken of the running system; every picture must contain the text it illustrates.

A run reads the pages and keeps nothing. To take new pictures:
``PYTEST_PICTURES=docs/pictures .venv/bin/pytest -m browser -n 0 pycontw_assets_tests/ui/test_pictures.py``
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import pytest
from dagster import AssetMaterialization
from dagster._core.test_utils import freeze_time

from pycontw_assets.commands.sandbox import pipeline_of
from pycontw_assets.orchestration.instance import open_instance
from pycontw_assets.orchestration.reporting.daily_sales import show_sales
from pycontw_assets.sandbox.context import SkippingClock
from pycontw_assets.sandbox.klaviyo.reactions.reactions import Habits
from pycontw_assets.sandbox.oracle import is_mailable, normalise
from pycontw_assets.sandbox.seed import seed_demo
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets.settings import load_settings
from pycontw_assets_tests.pipeline.harness import INTERVAL_SECONDS, Pipeline
from pycontw_assets_tests.ui.processes import Command, Dagster, free_port
from pycontw_assets_tests.unit.reporting.seasons import opening, sales_days, season

with suppress(ImportError):  # the fixture ``browser`` skips without it
    from playwright.sync_api import Browser, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]  # run by the command above, not by CI

CHECKOUT = Path(__file__).parents[2]
SENSOR = "kktix_orders_sensor"
KEY = "2031-individual-90001"
HOUR = 3600.0
SALES_AN_HOUR = (5, 9, 3)
FAILED_POLLS = 5  # after that, the pauses are longer than the time between two ticks of ``dev``
MOST_BYTES = 250_000
SETTLING_MILLISECONDS = 1000  # dialogs fade in, icons load last
COLOURING_MILLISECONDS = 4000  # until every box of the lineage shows the state of its asset
STAGES = ("extract", "load", "authorize", "send_email")
DESKTOP, PHONE = (1280, 900), (390, 844)


@dataclass
class Camera:
    """A browser window, and the folder for its pictures."""

    page: Page
    folder: Path

    def resize(self, width: int, height: int) -> None:
        self.page.set_viewport_size({"width": width, "height": height})

    def take(self, name: str, *expected: str) -> str:
        """Take a picture of the page, which must contain all ``expected`` texts, and return the text of the page."""
        text = self.page.inner_text("body")
        assert [words for words in expected if words not in text] == []
        assert [words for words in ("Loading", "Welcome to Dagster", "Traceback") if words in text] == []
        file = self.folder / f"{name}.png"
        self.page.screenshot(path=file)
        assert file.stat().st_size < MOST_BYTES
        return text


@dataclass(frozen=True, kw_only=True)
class Sale:
    """A past day of an invented sale, and the installation that served it."""

    server: SandboxServer
    clock: SkippingClock
    home: Path
    pipeline: Pipeline
    events: dict[str, int]
    executor: ThreadPoolExecutor

    @property
    def world(self) -> World:
        return self.server.world

    def calm_down(self) -> None:
        """Pay unpaid tickets, and cancel those of buyers whom no mail reaches.

        Every tick reads both kinds again, so the sensor would never be quiet.
        """
        suppressed = {normalise(one.email or "") for one in self.world.klaviyo.profiles.values() if one.suppressions}
        for ticket in self.world.kktix.tickets.values():
            if ticket.state != "activated":
                continue
            if not is_mailable(normalise(ticket.address)) or normalise(ticket.address) in suppressed:
                self.world.cancel(ticket.attendee_id)
            elif not ticket.is_paid:
                self.world.pay(ticket.attendee_id)

    def poll(self) -> bool:
        """Poll at the time of the sale: Dagster writes that time into its history.

        The poll runs in another thread: while Playwright is up, this thread counts as running an event loop.
        """
        self.clock.advance(INTERVAL_SECONDS)
        with freeze_time(self.clock()):
            return self.executor.submit(self.pipeline.poll).result().ok


@pytest.fixture(scope="module")
def sale(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sale]:
    """Play the sale. ``browser`` comes first: without a browser there are no pictures."""
    home = tmp_path_factory.mktemp("pictures") / "home"
    clock = SkippingClock(-(len(SALES_AN_HOUR) + 2) * HOUR)
    ask_pipeline = pipeline_of(load_settings(pycontw_home=home))
    with SandboxServer(World(clock), ask_pipeline=ask_pipeline) as server, ThreadPoolExecutor(1) as executor:
        pipeline = executor.submit(Pipeline, server, clock, home, on_disk=True, refresh_seconds=86_400).result()
        sale = Sale(
            server=server,
            clock=clock,
            home=home,
            pipeline=pipeline,
            events=seed_demo(server.world, attendees=20),
            executor=executor,
        )
        server.world.klaviyo.switches.habits = Habits(
            comes_back_late=0, unsubscribed=0
        )  # people whom no mail reaches are no quiet sale
        sale.calm_down()
        assert sale.poll()
        for sold in SALES_AN_HOUR:
            clock.advance(HOUR)
            for _ in range(sold):
                server.world.sell(sale.events["individual"])
                clock.advance(20)
            assert sale.poll()
        yield sale


@pytest.fixture(scope="module")
def camera(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Camera:
    pictures = os.environ.get("PYTEST_PICTURES")
    folder = CHECKOUT / pictures if pictures else tmp_path_factory.mktemp("taken")
    folder.mkdir(parents=True, exist_ok=True)
    context = browser.new_context(timezone_id="Asia/Taipei", locale="en-GB", reduced_motion="reduce")
    context.set_default_timeout(60_000)
    return Camera(context.new_page(), folder)


def test_the_box_office_during_a_sale(sale: Sale, camera: Camera) -> None:
    """Two buyers have just paid, another will pay at an ATM, and the latest mail is open."""
    page = camera.page
    camera.resize(1280, 1180)
    page.goto(sale.server.url)
    expect(page.locator("#letter")).to_be_visible()
    sell = page.get_by_role("button", name="Sell 1", exact=True)
    for payment in ("Pays later (ATM)", "Paid at once", "Paid at once"):
        page.get_by_role("radio", name=payment).check()
        sell.click()
        sale.clock.advance(17)
    expect(page.locator("#tickets > li.waiting")).to_have_count(2)
    expect(page.locator("#tickets > li.unpaid").first).to_be_visible()
    page.evaluate("document.activeElement.blur()")
    text = camera.take("box-office", "Box office", "2 waiting", "event 90007 is listed and left alone")
    assert re.search(r"Let in\s+after [2-9] min", text)
    assert "not yet" in text


@dataclass(frozen=True)
class Dev:
    command: Command
    dagster: Dagster

    def reason_to_wait(self) -> str | None:
        """Return why the latest tick requested no run, if the reason is a recent failure."""
        reason = self._skip_reason()
        return reason if "next attempt at" in reason else None

    def is_quiet(self) -> bool | None:
        is_idle = self._skip_reason().count("nothing new") == 3
        is_done = {run["status"] for run in self.dagster.runs()} <= {"SUCCESS", "FAILURE"}
        return True if is_idle and is_done else None

    def _skip_reason(self) -> str:
        return "".join(tick["skipReason"] or "" for tick in self.dagster.latest_ticks(SENSOR, 1))


@pytest.fixture(scope="module")
def dev(sale: Sale, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """Start ``dev`` in the home of the sale, after some polls during which Gather was down and tickets were sold."""
    sale.calm_down()
    sale.world.sell(sale.events["individual"], 3)
    sale.world.faults.set_preset("gather", "500")
    assert [sale.poll() for _ in range(FAILED_POLLS)] == [False] * FAILED_POLLS
    sale.clock.skipped = 0.0
    port = free_port()
    with Command(
        "pycontw_assets",
        *("dev", "--port", str(port)),
        home=sale.home,
        folder=tmp_path_factory.mktemp("dev"),
        POLL_INTERVAL_SECONDS="5",
        **sale.server.environment,
    ) as command:
        running = Dev(command, Dagster(port))
        command.wait_for(running.dagster.location, "code location")
        yield running


@pytest.fixture(scope="module")
def setback(dev: Dev) -> str:
    """Return the reason of a tick that waits with an event after a failed attempt."""
    return dev.command.wait_for(dev.reason_to_wait, "tick that waits")


@pytest.fixture(scope="module")
def recovered(setback: str, sale: Sale, dev: Dev) -> Dev:
    """Repair Gather, and wait until the sensor has caught up."""
    sale.world.faults.set_preset("gather", "fine")
    dev.command.wait_for(dev.is_quiet, "quiet")
    return dev


def test_a_tick_names_the_next_attempt(setback: str, dev: Dev, camera: Camera) -> None:
    assert re.search(rf"{KEY}: .*failed \d+ times, next attempt at [\d:]+ UTC", setback)
    camera.resize(1280, 780)
    page = camera.page
    page.goto(f"{dev.dagster.url}/locations/pycontw_assets.definitions/sensors/{SENSOR}")
    page.get_by_role("button", name="0 runs requested").first.click()
    page.get_by_role("dialog").get_by_text("next attempt at").wait_for()
    page.wait_for_timeout(SETTLING_MILLISECONDS)
    camera.take("retry", "Skip reason", "next attempt at", KEY)


def test_only_one_partition_fails(setback: str, dev: Dev, camera: Camera) -> None:
    camera.resize(1280, 800)
    page = camera.page
    page.goto(f"{dev.dagster.url}/assets/gather_guestlist?view=partitions&partition={KEY}")
    page.get_by_text("failed, and did not materialize this asset").wait_for()
    page.wait_for_timeout(SETTLING_MILLISECONDS)
    camera.take("failed-partition", "Failed (1)", "Materialized (2)", "Missing (0)", KEY)


def test_the_ticks_of_the_sensor(recovered: Dev, camera: Camera) -> None:
    camera.resize(1280, 900)
    page = camera.page
    page.goto(f"{recovered.dagster.url}/locations/pycontw_assets.definitions/sensors/{SENSOR}")
    page.get_by_text("View logs").nth(3).wait_for()
    text = camera.take("ticks", "Compares KKTIX with the ledger", "0 runs requested", "~5 sec")
    assert re.search(r"[1-9]\d* runs? requested", text)


def test_the_lineage(recovered: Dev, camera: Camera) -> None:
    """Every stage is expanded, and nothing failed."""
    camera.resize(1600, 800)
    page = camera.page
    expanded = "%2C".join(f"global%40global%3A{stage}" for stage in STAGES)
    page.goto(f"{recovered.dagster.url}/asset-groups?expanded={expanded}")
    page.get_by_role("button", name="Hide navigation").click()
    page.get_by_text("klaviyo_campaign").first.wait_for()
    page.wait_for_timeout(COLOURING_MILLISECONDS)
    text = camera.take("lineage", *STAGES, "raw_kktix_orders", "gather_guestlist", "klaviyo_campaign", "gather_town")
    assert "failed" not in text.lower()


def test_a_table_and_its_columns(recovered: Dev, camera: Camera) -> None:
    camera.resize(1280, 900)
    page = camera.page
    page.goto(f"{recovered.dagster.url}/assets/ods_kktix_ticket_individual_attendees")
    page.get_by_text("In the attendance book, paid and activated: may enter.").wait_for()
    page.get_by_text("Latest check results").wait_for()
    camera.take("table", "Column name", "is_usable", "DuckDB", "personal_data: pseudonyms", "Latest materialization")


def test_the_counts_of_an_asset_as_plots(recovered: Dev, camera: Camera) -> None:
    camera.resize(1280, 970)
    page = camera.page
    page.goto(f"{recovered.dagster.url}/assets/klaviyo_campaign")
    page.get_by_role("button", name="Plots").click()
    page.get_by_role("button", name="Events").click()
    page.get_by_text("invited_in_total").wait_for()
    page.evaluate("document.activeElement.blur()")
    camera.take("plots", "People who were let in get one invitation each", "invited", "unreachable", "waiting")
    assert page.locator("canvas").count() >= 4


def show_picture(camera: Camera, dev: Dev, asset: str, size: tuple[int, int], scheme: Literal["light", "dark"]) -> None:
    """Open the picture of an asset's latest materialization, as a person does."""
    page = camera.page
    page.emulate_media(color_scheme=scheme)
    camera.resize(*size)
    page.goto(f"{dev.dagster.url}/assets/{asset}?view=events")
    markdown = page.get_by_text("[Show Markdown]").last
    markdown.wait_for()
    navigation = page.get_by_text("Hide navigation")  # Dagster remembers that it was hidden
    if size == PHONE and navigation.is_visible():
        navigation.click()
    markdown.click()
    picture = page.locator("img[src^='data:image']").last
    picture.wait_for()
    box = picture.bounding_box()
    assert box
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= size[0], "nothing of the picture is cut off"
    page.wait_for_timeout(SETTLING_MILLISECONDS)


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_the_funnel(recovered: Dev, camera: Camera, size: tuple[int, int], scheme: Literal["light", "dark"]) -> None:
    show_picture(camera, recovered, "invitation_funnel", size, scheme)
    camera.take(f"funnel-{'phone' if size == PHONE else 'desktop'}", "trust clicks")


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_the_curve_of_sales(
    recovered: Dev, sale: Sale, camera: Camera, size: tuple[int, int], scheme: Literal["light", "dark"]
) -> None:
    """Show five invented editions: the sale of the other pictures lasts a day."""
    editions = {edition: opening(edition) for edition in ("2027", "2028", "2029", "2030", "2031")}
    chance, as_of = random.Random(3), datetime(2031, 7, 24, 4, tzinfo=timezone.utc)
    sold = {edition: season(chance, edition, 400 + 90 * place) for place, edition in enumerate(editions)}
    days = [day for edition, by_day in sold.items() for day in sales_days(edition, by_day) if day.day < as_of.date()]
    with open_instance(sale.home / "dagster") as instance:
        instance.report_runless_asset_event(
            AssetMaterialization("daily_sales", metadata=show_sales(days, editions, as_of))
        )
    show_picture(camera, recovered, "daily_sales", size, scheme)
    camera.take(f"sales-{'phone' if size == PHONE else 'desktop'}", "the edition before")
