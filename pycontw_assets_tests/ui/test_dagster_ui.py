"""``pycontw-assets dev`` as a volunteer sees it in a browser: the whole pipeline at work on the sandbox."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from pycontw_assets.pseudonyms import is_mailable, normalise_address
from pycontw_assets_tests.pipeline.harness import spellings
from pycontw_assets_tests.ui.conftest import Visitor
from pycontw_assets_tests.ui.processes import HOST, Command, Dagster, free_port

pytestmark = pytest.mark.browser

SENSOR = "kktix_orders_sensor"
STAGES = ("extract", "authorize", "send_email")
KEYS = ("2031-corporate-90002", "2031-individual-90001", "2031-reserved-90003")
ACCESS_CHAIN = ("raw_kktix_orders", "gather_guestlist", "klaviyo_list", "klaviyo_campaign")
PARTITIONS = dict.fromkeys(ACCESS_CHAIN, KEYS) | {
    f"ods_kktix_ticket_{key.split('-')[1]}_attendees": (key,) for key in KEYS
}
ASSETS = (*PARTITIONS, "klaviyo_template")


@dataclass(frozen=True)
class Sandbox:
    """The control API of the sandbox of ``dev``."""

    url: str

    def state(self) -> dict[str, Any] | None:
        return dict(requests.get(f"{self.url}/control/state", timeout=5).json())

    def complete_every_order(self) -> None:
        """Pay what is unpaid, and correct what no mail can reach: every tick reads such tickets again."""
        for attendee in (self.state() or {})["attendees"]:
            if not attendee["is_paid"] and attendee["state"] == "activated":
                self._act("pay", attendee_id=attendee["id"])
            if not is_mailable(normalise_address(attendee["address"])):
                self._act("transfer", attendee_id=attendee["id"], address=f"corrected-{attendee['id']}@example.org")

    def _act(self, action: str, **arguments: Any) -> None:
        requests.post(f"{self.url}/control/{action}", json=arguments, timeout=5).raise_for_status()


@dataclass(frozen=True)
class Dev:
    command: Command
    dagster: Dagster
    sandbox: Sandbox

    def is_quiet(self) -> bool | None:
        """Return whether the latest tick requested no run, and every run has succeeded."""
        states = {run["status"] for run in self.dagster.runs()}
        assert "FAILURE" not in states, self.command.output[-5000:]
        reasons = [tick["skipReason"] or "" for tick in self.dagster.latest_ticks(SENSOR, 1)]
        is_idle = [reason.count("nothing new") for reason in reasons] == [len(KEYS)]
        return True if is_idle and "behind" not in reasons[0] and states == {"SUCCESS"} else None

    def is_looking(self) -> bool | None:
        """Return whether a tick is running."""
        states = [tick["status"] for tick in self.dagster.latest_ticks(SENSOR, 1)]
        return True if states == ["STARTED"] else None


@pytest.fixture(scope="module")
def dev(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """Start ``dev`` and wait for its first polls. ``browser`` comes first: without a browser nothing is started."""
    folder = tmp_path_factory.mktemp("dev")
    port, sandbox_port = free_port(), free_port()
    arguments = ("dev", "--port", str(port), "--sandbox-port", str(sandbox_port))
    with Command(
        "pycontw_assets", *arguments, home=folder / "home", folder=folder, POLL_INTERVAL_SECONDS="3"
    ) as command:
        running = Dev(command, Dagster(port), Sandbox(f"http://{HOST}:{sandbox_port}"))
        command.wait_for(running.sandbox.state, "sandbox")
        running.sandbox.complete_every_order()
        command.wait_for(running.is_quiet, "quiet")
        yield running


@pytest.fixture(scope="module")
def people(dev: Dev) -> set[str]:
    """Return the addresses and nicknames of all invented buyers, and the common part of their names and phones."""
    attendees = (dev.sandbox.state() or {})["attendees"]
    names = {attendee[name].strip() for attendee in attendees for name in ("address", "nickname")}
    return (names | {"測試", "0900-000-"}) - {""}


def open_page(visitor: Visitor, dev: Dev, path: str, awaited: str) -> None:
    visitor.page.goto(dev.dagster.url + path)
    visitor.page.get_by_text(awaited).first.wait_for()


def test_the_lineage_shows_the_assets_by_stage(dev: Dev, visitor: Visitor) -> None:
    """The stages run from left to right; load and authorize both depend on the orders."""
    page = visitor.page
    page.set_viewport_size({"width": 3600, "height": 2800})  # all of them have to fit
    open_page(visitor, dev, "/asset-groups", "send_email")
    for stage in ("send_email", "authorize", "load", "extract"):
        group = page.locator(f'[data-tooltip="{stage}"]')
        if not group.is_visible():  # what the window has no room for is not on the page
            page.reload()
        group.click()
        page.wait_for_url(f"**expanded=*{stage}*")
    page.reload()  # the URL keeps the expanded groups; after a reload all of them fit the window
    page.get_by_text("100% filled").nth(len(PARTITIONS) - 1).wait_for()
    visitor.look("lineage")

    across = {name: left_edge(visitor, name) for name in (*STAGES, "load", *ASSETS)}
    assert sorted(STAGES, key=across.__getitem__) == list(STAGES)
    assert across["extract"] < across["load"]
    assert across["raw_kktix_orders"] < across["gather_guestlist"] < across["klaviyo_list"] < across["klaviyo_campaign"]
    assert across["klaviyo_template"] < across["klaviyo_campaign"]


def left_edge(visitor: Visitor, name: str) -> float:
    box = visitor.page.locator(f'[data-tooltip="{name}"]').bounding_box()
    assert box, f"{name} is not on the page"
    return box["x"]


@pytest.mark.parametrize(("asset", "keys"), PARTITIONS.items())
def test_every_partition_is_materialized(dev: Dev, visitor: Visitor, asset: str, keys: tuple[str, ...]) -> None:
    open_page(visitor, dev, f"/assets/{asset}?view=partitions", f"Materialized ({len(keys)})")
    text = visitor.look(asset)
    assert [words for words in ("Failed (0)", "Missing (0)", "Materializing (0)") if words not in text] == []
    assert [key for key in keys if key not in text] == []


def test_an_asset_page_shows_counts_and_owner(dev: Dev, visitor: Visitor) -> None:
    open_page(visitor, dev, "/assets/raw_kktix_orders", "tickets_without_usable_address")
    text = visitor.look("raw_kktix_orders_overview")
    expected = ("Every attendee of one KKTIX event", "pycontw-registration", "grant_access_job", "kktix_orders_sensor")
    assert [words for words in expected if words not in text] == []


def test_a_table_page_describes_its_columns(dev: Dev, visitor: Visitor) -> None:
    open_page(visitor, dev, "/assets/ods_kktix_ticket_individual_attendees", "Column name")
    assert "In the attendance book, paid and activated: may enter." in visitor.look("individual_overview")


def test_events_left_alone_show_the_reason(dev: Dev, visitor: Visitor) -> None:
    open_page(visitor, dev, "/assets/kktix", "left_alone")
    assert re.search(r"90007\s+PyCon TW 2031 Volunteer Party\s+\S+", visitor.look("kktix"))


def test_the_sensor_explains_why_it_skips(dev: Dev, visitor: Visitor) -> None:
    page = visitor.page
    open_page(visitor, dev, f"/locations/pycontw_assets.definitions/sensors/{SENSOR}", "View logs")
    assert page.get_by_role("row", name="Running").get_by_role("checkbox").is_checked()
    assert re.search(r"[1-9]\d* runs? requested", visitor.look("sensor"))

    page.get_by_role("button", name="0 runs requested").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Skip reason").wait_for()
    visitor.look("tick")
    reason = dialog.inner_text().partition("Skip reason:")[2]
    assert [key for key in KEYS if not re.search(rf"{key}: [1-9]\d* attendees known, nothing new", reason)] == []


def test_no_run_failed(dev: Dev, visitor: Visitor) -> None:
    page = visitor.page
    open_page(visitor, dev, "/runs", "grant_access_job")
    assert "Success" in visitor.look("runs")
    page.get_by_role("tab", name="Failed").click()
    page.get_by_text("No runs").first.wait_for()
    visitor.look("failed_runs")


def test_the_log_of_a_run_can_be_read(dev: Dev, visitor: Visitor) -> None:
    run_id = next(run["runId"] for run in dev.dagster.runs() if run["jobName"] == "grant_access_job")
    open_page(visitor, dev, f"/runs/{run_id}", "RUN_SUCCESS")
    assert "klaviyo_campaign" in visitor.look("run")


def test_nobody_is_named(dev: Dev, visitor: Visitor, people: set[str]) -> None:
    """No page, output or file names a buyer. The sandbox's own page does: so the search works."""
    visitor.page.goto(dev.sandbox.url)
    visitor.page.get_by_text("Saiga").first.wait_for()
    sandbox_page = visitor.page.inner_text("body")
    assert sum(name in sandbox_page for name in people) > len(people) / 2
    assert [(page, name) for page, text in visitor.seen.items() for name in people if name in text] == []
    assert [name for name in people if name in dev.command.output] == []

    needles = {needle for name in people for needle in spellings(name)}
    files = {file: file.read_bytes() for file in dev.command.home.rglob("*") if file.is_file()}
    assert len(files) > len(PARTITIONS)
    assert [str(file) for file, content in files.items() if any(needle in content for needle in needles)] == []


def test_no_page_broke(visitor: Visitor) -> None:
    assert visitor.errors == []


def test_ctrl_c_ends_every_process(dev: Dev) -> None:
    """An interrupt during a tick ends the sandbox, UI, daemon, code server and all their children."""
    assert len(dev.command.processes()) >= len(("dev", "sandbox", "dagster", "webserver", "daemon", "code server"))
    dev.command.wait_for(dev.is_looking, "tick at work", pause=0.05)
    assert dev.command.interrupt() == 0
    assert dev.command.processes() == []
    assert "Traceback" not in dev.command.output
