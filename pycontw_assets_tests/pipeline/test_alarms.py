"""Each cause sends one alarm and one recovery, a blip sends none, and no alert names a person."""

from __future__ import annotations

import pytest
from dagster import AssetCheckKey, AssetKey, Failure

from pycontw_assets.api.client import ServiceError
from pycontw_assets.commands.poll import as_document, describe_poll
from pycontw_assets.commands.status import look_up
from pycontw_assets.ledger.batches import count_invitations
from pycontw_assets.ledger.events import known_events
from pycontw_assets.orchestration.run_history import read_run_history
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.fakes.channels import Channels
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import INTERVAL_SECONDS, Pipeline
from pycontw_assets_tests.pipeline.mishaps import BrokenWarehouse
from pycontw_assets_tests.pipeline.test_sensor import tick

pytestmark = pytest.mark.long
BEN = "ben@example.com"


@pytest.fixture
def notes() -> Channels:
    return Channels()


@pytest.fixture
def pipeline(install: Install, world: World, notes: Channels) -> Pipeline:
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


@pytest.mark.parametrize(
    "service",
    [pytest.param("kktix", marks=pytest.mark.slow), pytest.param("gather", marks=pytest.mark.slow), "klaviyo"],
)
def test_a_service_that_stays_down_is_one_alarm_and_one_recovery(
    pipeline: Pipeline, world: World, notes: Channels, service: str
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


@pytest.mark.parametrize(
    ("switch", "value", "is_on_its_way"),
    [
        ("shape", "new", True),
        pytest.param("shape", "new", False, marks=pytest.mark.slow),
        pytest.param("stated_revision", "2026-10-15", True, marks=pytest.mark.slow),
        ("stated_revision", "2026-10-15", False),
    ],
)
def test_the_day_klaviyo_changes_shape_is_one_alarm_and_nobody_is_mailed_or_marked(
    pipeline: Pipeline, world: World, notes: Channels, switch: str, value: str, is_on_its_way: bool
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
    pipeline: Pipeline, world: World, notes: Channels
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


def test_a_blip_wakes_nobody(pipeline: Pipeline, world: World, notes: Channels) -> None:
    sell_everywhere(world)
    world.faults.add("gather", "status", times=8, status=503)
    pipeline.until_quiet()
    assert notes.sent == []


def test_an_unsent_alert_is_sent_by_the_next_poll(pipeline: Pipeline, world: World, notes: Channels) -> None:
    notes.works = False
    sell_everywhere(world)
    world.faults.add("gather", "status", times=None, status=503)
    polls(pipeline, 3)
    notes.works = True
    polls(pipeline, 1)
    assert len(notes.sent) == 1


def test_an_unmatched_event_is_one_alert_at_once_that_says_what_to_do(
    pipeline: Pipeline, world: World, notes: Channels
) -> None:
    event = world.add_event("PyCon TW 2031 Registration: Students")
    polls(pipeline, 3)
    [(title, body)] = notes.sent
    assert title == f"event {event} is listed and left alone: its name gives no ticket family; map it in KKTIX_EVENTS"
    assert body.count(str(event)) == 2


def test_an_alarm_names_no_person(pipeline: Pipeline, world: World, notes: Channels) -> None:
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


def test_a_sensor_that_cannot_look_alerts_once(install: Install, world: World, notes: Channels) -> None:
    pipeline = install(on_disk=True)
    pipeline.restart({"alerts": notes})
    world.faults.add("kktix", "status", times=None, status=503)
    for _ in range(3):
        pipeline.clock.advance(INTERVAL_SECONDS)
        with pytest.raises(Failure):
            tick(pipeline)
    assert notes.titles == ["KKTIX fails"]


def test_a_channel_that_fails_is_shown_by_poll_status_page_and_the_other_channel(
    pipeline: Pipeline, world: World
) -> None:
    channels = Channels(2)
    channels.broken = {2}
    pipeline.restart({"alerts": channels})
    world.add_event("PyCon TW 2031 Registration: Students")
    reports = [pipeline.later_poll() for _ in range(4)]
    assert [report.ok for report in reports] == [True, True, False, False]
    assert all(report.is_good for report in reports), "one channel works, so the dead man's switch stays quiet"
    [problem] = reports[-1].reach.problems
    assert "alarm channel 2 (json) has taken no message" in problem
    assert f"       ! {problem}" in list(describe_poll(reports[-1]))
    assert as_document(reports[-1])["problems"] == (problem,)
    history = read_run_history(pipeline.instance, pipeline.ledger)
    assert problem in [one.text for one in pipeline.call(look_up, history=history).problems]
    assert problem in channels.titles_of(1)
    check = AssetCheckKey(AssetKey("kktix"), "alarms_arrive")
    [shown] = pipeline.instance.event_log_storage.get_latest_asset_check_execution_by_key([check]).values()
    assert shown.evaluation
    assert not shown.evaluation.passed
    channels.broken = {1, 2}
    world.add_event("PyCon TW 2031 Registration: Sponsors")
    pipeline.clock.advance(2 * 3600)
    assert not [pipeline.later_poll() for _ in range(4)][-1].is_good, "nobody would hear of anything"


@pytest.mark.parametrize("service", ["gather", "klaviyo"])
def test_an_alarm_about_a_person_lasts_until_this_person_is_served(
    pipeline: Pipeline, world: World, notes: Channels, service: str
) -> None:
    """One buyer is refused. The next sale lets another one in, and that is no all-clear."""
    [event, *_] = world.kktix.events
    [refused] = world.sell(event, address=BEN)
    world.gather.switches.rejected_addresses = {BEN} if service == "gather" else set()
    world.klaviyo.switches.refused_addresses = {BEN} if service == "klaviyo" else set()
    pipeline.later_poll()
    pipeline.later_poll()
    [title] = notes.titles
    assert f"attendee {refused} " in title
    world.sell(event)
    polls(pipeline, 3)
    assert notes.titles == [title]
    world.transfer(refused, "cara@example.net")
    pipeline.clock.advance(2 * 3600)
    polls(pipeline, 3)
    assert notes.titles == [title, f"over: {title}"]
    assert "cara@example.net" in pipeline.mailed()
    assert BEN not in str(notes.taken)
