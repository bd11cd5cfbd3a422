"""Each cause sends one alarm and one recovery, a blip sends none, and no alert names a person."""

from __future__ import annotations

import pytest
from dagster import Failure

from pycontw_assets.api.client import ServiceError
from pycontw_assets.ledger.batches import count_invitations
from pycontw_assets.ledger.events import known_events
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import INTERVAL_SECONDS, Pipeline
from pycontw_assets_tests.pipeline.mishaps import BrokenWarehouse
from pycontw_assets_tests.pipeline.test_sensor import tick

pytestmark = pytest.mark.long


class Notes:
    """A messenger that keeps alarms. ``works`` is false while the channel is down."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.works = True

    def send(self, title: str, body: str) -> bool:
        if self.works and "sales of " not in title:
            self.sent.append((title.removeprefix("pycontw-assets: "), body))
        return self.works

    @property
    def titles(self) -> list[str]:
        return [title for title, _ in self.sent]


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def pipeline(install: Install, world: World, notes: Notes) -> Pipeline:
    """Set up two events with an invited holder each, and a messenger without alerts."""
    for name in ("Individual", "Corporate"):
        world.sell(world.add_event(f"PyCon TW 2031 Registration: {name}"))
    pipeline = install()
    pipeline.restart({"alerts": notes})
    assert pipeline.until_quiet().ok
    assert notes.sent == []
    return pipeline


def sell_everywhere(world: World) -> None:
    for event in world.kktix.events:
        world.sell(event)


def polls(pipeline: Pipeline, number: int) -> None:
    for _ in range(number):
        try:
            pipeline.later_poll()
        except ServiceError:
            continue


@pytest.mark.parametrize("service", ["kktix", "gather", "klaviyo"])
def test_a_service_that_stays_down_is_one_alarm_and_one_recovery(
    pipeline: Pipeline, world: World, notes: Notes, service: str
) -> None:
    sell_everywhere(world)
    world.faults.add(service, "status", times=None, status=503)
    polls(pipeline, 5)
    assert len(notes.sent) == 1, notes.sent
    assert notes.titles[0].lower().startswith(f"{service} fails")
    world.faults.clear()
    pipeline.until_quiet()
    assert notes.titles[1:] == [f"over: {notes.titles[0]}"]
    assert pipeline.verdict() == []


@pytest.mark.parametrize(("switch", "value"), [("shape", "new"), ("stated_revision", "2026-10-15")])
@pytest.mark.parametrize("is_on_its_way", [False, True])
def test_the_day_klaviyo_changes_shape_is_one_alarm_and_nobody_is_mailed_or_marked(
    pipeline: Pipeline, world: World, notes: Notes, switch: str, value: str, is_on_its_way: bool
) -> None:
    sell_everywhere(world)
    switches = world.klaviyo.switches
    if is_on_its_way:
        switches.status_step = 3600
        pipeline.later_poll()
        sell_everywhere(world)
    before = len(world.klaviyo.campaigns)
    setattr(switches, switch, value)
    mark, invited = pipeline.mark(), accepted(pipeline)
    polls(pipeline, 6)
    assert len(notes.sent) == 1, notes.sent
    [(title, body)] = notes.sent
    assert title.startswith("Klaviyo fails")
    assert "a developer has moved the client up" in body
    assert pipeline.mailed(mark) == []
    assert accepted(pipeline) == invited
    assert len(world.klaviyo.campaigns) <= before + len(world.kktix.events), "not a draft with every poll"
    switches.shape, switches.stated_revision, switches.status_step = "old", None, 0.05
    pipeline.clock.advance(4 * 3600)
    pipeline.until_quiet()
    assert pipeline.verdict() == []
    assert notes.titles[1:] == [f"over: {title}"]


def accepted(pipeline: Pipeline) -> int:
    keys = [partition.key for partition in known_events(pipeline.ledger).values()]
    return sum(count_invitations(pipeline.ledger, key).get("accepted", 0) for key in keys)


def test_a_warehouse_that_stays_down_is_one_alarm_and_keeps_nobody_out(
    pipeline: Pipeline, world: World, notes: Notes
) -> None:
    pipeline.restart({"alerts": notes, "warehouse": BrokenWarehouse()})
    sell_everywhere(world)
    mark = pipeline.mark()
    polls(pipeline, 4)
    assert len(pipeline.mailed(mark)) == 2
    assert notes.titles == ["the warehouse fails, 2 events waiting"]
    pipeline.restart({"alerts": notes})
    pipeline.until_quiet()
    assert notes.titles[1:] == ["over: the warehouse fails, 2 events waiting"]


def test_a_blip_wakes_nobody(pipeline: Pipeline, world: World, notes: Notes) -> None:
    sell_everywhere(world)
    world.faults.add("gather", "status", times=8, status=503)
    pipeline.until_quiet()
    assert notes.sent == []


def test_an_unsent_alert_is_sent_by_the_next_poll(pipeline: Pipeline, world: World, notes: Notes) -> None:
    notes.works = False
    sell_everywhere(world)
    world.faults.add("gather", "status", times=None, status=503)
    polls(pipeline, 3)
    notes.works = True
    polls(pipeline, 1)
    assert len(notes.sent) == 1


def test_an_unmatched_event_is_one_alert_at_once_that_says_what_to_do(
    pipeline: Pipeline, world: World, notes: Notes
) -> None:
    event = world.add_event("PyCon TW 2031 Registration: Students")
    polls(pipeline, 3)
    [(title, body)] = notes.sent
    assert title == f"event {event} is listed and left alone: its name gives no ticket family; map it in KKTIX_EVENTS"
    assert body.count(str(event)) == 2


def test_an_alarm_names_no_person(pipeline: Pipeline, world: World, notes: Notes) -> None:
    [event, *_] = world.kktix.events
    [malformed] = world.sell(event)
    world.kktix.tickets[malformed].overrides["data"] = "nonsense"
    for address in ("not-an-address", "blank @example.org"):
        world.sell(event, address=address)
    world.faults.add("klaviyo", "status", times=None, status=503)
    polls(pipeline, 4)
    assert any(str(malformed) in body for _, body in notes.sent)
    people = {word for ticket in world.kktix.tickets.values() for word in (ticket.address, ticket.person.name)}
    assert not [word for word in people if word and word in str(notes.sent)]


def test_a_sensor_that_cannot_look_alerts_once(install: Install, world: World, notes: Notes) -> None:
    pipeline = install(on_disk=True)
    pipeline.restart({"alerts": notes})
    world.faults.add("kktix", "status", times=None, status=503)
    for _ in range(3):
        pipeline.clock.advance(INTERVAL_SECONDS)
        with pytest.raises(Failure):
            tick(pipeline)
    assert notes.titles == ["KKTIX fails"]
