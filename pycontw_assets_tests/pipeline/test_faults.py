"""Bad weather: any fault at one call costs at most one item for one poll, and heals without a person."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest

from pycontw_assets.api.client import ServiceError
from pycontw_assets.sandbox.oracle import entitled
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION, Pipeline, TestClock, describe
from pycontw_assets_tests.pipeline.mishaps import BrokenWarehouse

pytestmark = pytest.mark.thorough

Kind = dict[str, Any]

KINDS: dict[str, Kind] = {
    "500 before acting": {"kind": "status", "status": 500},
    "500 after acting": {"kind": "status", "status": 500, "acts": True},
    "429": {"kind": "status", "status": 429, "retry_after": 7},
    "reset before acting": {"kind": "reset"},
    "reset after acting": {"kind": "reset", "acts": True},
    "truncated": {"kind": "truncate", "acts": True},
    "HTML page": {"kind": "html"},
    "wrong shape": {"kind": "shape", "acts": True},
    "delay": {"kind": "latency", "seconds": 0.02},
}


class Place(NamedTuple):
    service: str
    method: str
    path: str


READ_GUESTS = Place("gather", "GET", "getEmailGuestlist")
WRITE_GUESTS = Place("gather", "POST", "setEmailGuestlist")
KLAVIYO_WRITES = [
    Place("klaviyo", "POST", "profile-import$"),
    Place("klaviyo", "POST", "relationships/profiles$"),
    Place("klaviyo", "POST", "/campaigns$"),
    Place("klaviyo", "POST", "assign-template$"),
    Place("klaviyo", "POST", "estimation-jobs?$"),
    Place("klaviyo", "POST", "send-jobs$"),
]
KLAVIYO_READS = [
    Place("klaviyo", "GET", "relationships/profiles$"),
    Place("klaviyo", "GET", "/campaigns/[^/]+$"),
    Place("klaviyo", "GET", "/template$"),
    Place("klaviyo", "GET", "estimations/"),
]


def storm(pipeline: Pipeline, event: int, cases: Iterable[tuple[Place, str]]) -> None:
    """Bring one newcomer and one fault after the other. No invariant is broken, and all is well in the end."""
    world = pipeline.world
    for place, name in cases:
        world.sell(event)
        fault = world.faults.add(place.service, method=place.method, path=place.path, **KINDS[name])
        pipeline.later_poll()
        assert fault.times == 0, f"{name} at {place} struck nobody"
        assert pipeline.verdict(settled=False) == [], f"{name} at {place}"
        report = pipeline.later_poll()
        assert report.ok, f"{name} at {place}: {describe(report)}"
        assert pipeline.verdict() == [], f"{name} at {place}"


@pytest.fixture
def running(pipeline: Pipeline, world: World, event: int) -> Pipeline:
    """Return a sale after its first poll."""
    world.sell(event)
    assert pipeline.poll().ok
    return pipeline


def test_a_fault_at_gather_costs_at_most_one_poll(running: Pipeline, event: int) -> None:
    """Test each kind once, at a read or at a write; the slow test below runs all combinations."""
    reads = ("HTML page", "wrong shape", "truncated")
    writes = ("500 after acting", "429", "reset before acting", "reset after acting")
    storm(running, event, [*((READ_GUESTS, name) for name in reads), *((WRITE_GUESTS, name) for name in writes)])


def test_a_fault_at_klaviyo_costs_at_most_one_poll(running: Pipeline, event: int) -> None:
    """Test each kind once, and each write once; the slow test below runs all combinations."""
    storm(running, event, zip([*KLAVIYO_WRITES, *KLAVIYO_READS], KINDS, strict=False))


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_every_fault_at_every_call_costs_at_most_one_poll(running: Pipeline, event: int, name: str) -> None:
    places = [READ_GUESTS, WRITE_GUESTS, *KLAVIYO_WRITES, *KLAVIYO_READS]
    storm(running, event, [(place, name) for place in places])


def test_an_attendee_that_cannot_be_read_costs_only_itself(pipeline: Pipeline, world: World, event: int) -> None:
    """Leave out lasting pages (a sign-in page) and lasting 429s: both are about everybody, not one attendee."""
    hit = {name: world.sell(event)[0] for name in KINDS if name not in ("HTML page", "429")}
    world.sell(event, 2)
    for name, attendee_id in hit.items():
        world.faults.add("kktix", path=f"/attendees/{attendee_id}$", times=None, **KINDS[name])
    healthy = {ticket.address for i, ticket in world.kktix.tickets.items() if i not in hit.values()}
    report = pipeline.poll()
    assert not report.ok, "unreadable attendees are reported"
    assert healthy <= pipeline.guests()
    assert pipeline.verdict(settled=False) == []
    world.faults.clear()
    assert pipeline.later_poll().ok
    assert pipeline.verdict() == []


def test_a_malformed_attendee_is_quarantined_and_invited_once_it_can_be_read(
    pipeline: Pipeline, world: World, event: int
) -> None:
    [spoilt] = world.sell(event)
    world.kktix.override(spoilt, is_paid="yes")
    world.sell(event)
    report = pipeline.poll()
    assert f"attendee {spoilt}" in describe(report)
    assert len(pipeline.mailed()) == 1
    world.kktix.override(spoilt)
    assert pipeline.later_poll().ok
    assert pipeline.verdict() == []


@pytest.mark.long
def test_an_unreadable_book_costs_one_poll_and_withdraws_nobody(running: Pipeline, world: World, event: int) -> None:
    other = world.add_event("PyCon TW 2031 Registration: Corporate")
    world.sell(other)
    for name in ("500 before acting", "truncated", "wrong shape"):
        world.sell(event)
        before = running.guests()
        world.faults.add("kktix", path=f"/{event}/attendance_books", times=None, **KINDS[name])
        report = running.later_poll()
        assert [problem for problem in report.tick.problems if str(event) in problem]
        assert before <= running.guests(), name
        assert running.ticket_holders(other), "the other event goes on"
        assert running.verdict(settled=False) == []
        world.faults.clear()
        assert running.later_poll().ok
        assert running.verdict() == []


def test_without_the_list_of_events_nothing_is_done_and_the_next_poll_goes_on(
    running: Pipeline, world: World, event: int
) -> None:
    world.sell(event)
    world.faults.add("kktix", "status", path="hosting_events$", times=None, status=503)
    mark = running.mark()
    with pytest.raises(ServiceError, match="list events"):
        running.later_poll()
    assert running.writes(mark) == []
    world.faults.clear()
    assert running.later_poll().ok
    assert running.verdict() == []


def test_one_blip_of_every_kind_at_every_service_is_healed_within_the_poll(
    pipeline: Pipeline, world: World, event: int
) -> None:
    pipeline.poll()
    world.sell(event, 6)
    blips = ("500 before acting", "429", "reset before acting", "truncated", "HTML page", "delay")
    for service, (skip, name) in itertools.product(("kktix", "gather", "klaviyo"), enumerate(blips)):
        world.faults.add(service, method="GET", skip=skip, **KINDS[name])
    assert pipeline.poll().ok
    assert not [fault for fault in world.faults.active() if fault.service != "gather"], "all of them struck"
    assert pipeline.verdict() == []


def test_while_klaviyo_is_down_buyers_get_in_and_tables_fill(pipeline: Pipeline, world: World, event: int) -> None:
    pipeline.poll()
    world.sell(event)
    world.faults.add("klaviyo", "status", times=None)
    report = pipeline.poll()
    assert not report.ok
    assert pipeline.guests() == entitled(world, EDITION)
    assert len(pipeline.tables()["individual"]) == 1
    world.faults.clear()
    pipeline.until_quiet()
    assert pipeline.verdict() == []


def test_klaviyo_down_from_the_first_poll_on_keeps_nobody_out(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event)
    world.faults.add("klaviyo", "status", times=None)
    assert not pipeline.poll().ok
    assert pipeline.guests() == entitled(world, EDITION)
    assert len(pipeline.tables()["individual"]) == 1
    world.faults.clear()
    pipeline.until_quiet()
    assert pipeline.verdict() == []


def test_while_the_warehouse_fails_buyers_get_in_and_are_mailed(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event)
    pipeline.restart({"warehouse": BrokenWarehouse()})
    report = pipeline.poll()
    assert [run.job for run in report.runs if not run.ok] == ["load_ods_kktix_ticket_individual_attendees_job"]
    assert pipeline.verdict() == []
    pipeline.restart()
    pipeline.until_quiet()
    assert len(pipeline.tables()["individual"]) == 1


@pytest.mark.embedded
def test_a_file_that_is_no_database_is_named_and_keeps_nobody_out(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event)
    broken = pipeline.home / "warehouse.duckdb"
    broken.write_bytes(b"not a database" * 1000)
    assert "warehouse.duckdb" in describe(pipeline.poll())
    assert pipeline.verdict() == []
    broken.unlink()
    pipeline.until_quiet()
    assert len(pipeline.tables()["individual"]) == 1


def test_a_failing_partition_waits_longer_every_time_and_recovers(
    install: Install, world: World, event: int, clock: TestClock
) -> None:
    """The pause is 300 s from the end of the last attempt, doubled each time. The first retry is in the next tick."""
    pipeline = install(poll_interval_seconds=1500)
    world.sell(event)
    world.faults.add("gather", "status", times=None)
    for waited, is_tried in ((0, True), (0, True), (250, False), (310, True), (500, False), (610, True)):
        clock.skipped = waited  # Dagster stamps the end of a run with the real time
        mark = pipeline.mark()
        report = pipeline.poll()
        assert not report.ok
        assert bool(pipeline.requests(mark, "gather")) == is_tried, waited
    assert "failed 4 times, next attempt at" in describe(pipeline.poll())
    world.faults.clear()
    pipeline.until_quiet()
    assert pipeline.verdict() == []
