"""Installations a moment before a poll that will be killed, one per path through the pipeline, and how they recover.

A scenario is made once, and every kill is tried on a copy of it. The tests say what must hold afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from dagster import DagsterInstance, Definitions, SensorDefinition, build_sensor_context

from pycontw_assets.extract.hook.delivery import read_delivery
from pycontw_assets.extract.waves import WaveSize
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.hints.deliveries import record_delivery
from pycontw_assets.orchestration.poll import execute, poll
from pycontw_assets.orchestration.resources import resources_of
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.pipeline.rebuild import rebuild_ledger, release_batch
from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.oracle import events_of
from pycontw_assets.sandbox.world import World
from pycontw_assets.send_email.names import INVITATION_METRIC
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION, Command, Pipeline, call, definer, describe
from pycontw_assets_tests.pipeline.kill_points import KINDS, Kind

REFRESHED_AFTER = 2 * 3600
HOUR = 3600
NAMES = {family: f"PyCon TW 2031 Registration: {family}" for family in ("Individual", "Corporate", "Reserved")}

# Between two lasting changes only the dead process remembers anything. These kinds reach every such interval once.
DEEDS: tuple[Kind, ...] = (
    "before a request",
    "request acted, reply unheard",
    "after a COMMIT",
    "vault: half written",
    "vault: replaced, unsynced",
    "before a replacement",
    "somewhere in a replacement",
    "after a warehouse statement",
)
DEEDS_AND_TRANSACTIONS: tuple[Kind, ...] = (
    *DEEDS,
    "after a write, uncommitted",
    "vault: staged file opened",
    "vault: whole, unsynced",
    "vault: before replacing",
)
EVERYTHING: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind != "after a COMMIT of Dagster's")


@dataclass(frozen=True, slots=True)
class Scenario:
    """``command`` is killed; ``settle`` is the work of a person and the following polls."""

    prepare: Callable[[Install, World], Pipeline]
    kinds: tuple[Kind, ...] = DEEDS_AND_TRANSACTIONS
    command: Command | None = None
    settle: Callable[[Pipeline], object] = Pipeline.until_quiet


def make_swift(world: World) -> None:
    """Shorten the waits, because children wait in real time."""
    world.klaviyo.switches.rate_limits = False
    world.klaviyo.switches.status_step = world.klaviyo.switches.estimation_delay = 0
    world.klaviyo.switches.flow_delay = 0


def running_sale(install: Install, world: World, holders: int = 2, **options: object) -> Pipeline:
    """Set up a sale with invited holders."""
    make_swift(world)
    event = world.add_event(NAMES["Individual"])
    pipeline = install(revoke_limit=100, **options)
    for _ in range(holders):
        world.sell(event)
    report = pipeline.poll()
    assert report.ok, describe(report)
    return pipeline


def _usable(world: World) -> list[int]:
    return [ticket.attendee_id for ticket in world.kktix.tickets.values() if ticket.is_usable]


# -- the scenarios ----------------------------------------------------------------------------------


def first_poll(install: Install, world: World) -> Pipeline:
    """Make template, lists, tables and campaign for the first time."""
    make_swift(world)
    event = world.add_event(NAMES["Individual"])
    world.sell(event, 2)
    world.sell(event, paid=False)
    return install()


def changes(install: Install, world: World, **options: object) -> Pipeline:
    """Prepare everything that makes a poll act: newcomer, late payment, transfer, and a refund already missed once."""
    pipeline = running_sale(install, world, **options)
    [event] = events_of(world, EDITION)
    refunded, moved = _usable(world)
    [unpaid] = world.sell(event, paid=False)
    world.refund(refunded)
    pipeline.later_poll()
    world.pay(unpaid)
    world.sell(event)
    world.transfer(moved, "moved@example.org")
    pipeline.clock.advance(REFRESHED_AFTER)
    return pipeline


def changes_with_history(install: Install, world: World) -> Pipeline:
    """Prepare the same, with the dead run in Dagster's history for the polls afterwards."""
    return changes(install, world, on_disk=True)


def two_spaces(install: Install, world: World) -> Pipeline:
    """Prepare the same with a full space, and another one that takes the newcomers."""
    space = "SandboxSpace0002\\South Wing"
    world.gather.open_space(space)
    return changes(
        install,
        world,
        gather_space_id=f"{keys.GATHER_SPACE_ID}:2,{space}",
        invitation_venue_url="https://venue.example/{space}",
    )


def revocations(install: Install, world: World) -> Pipeline:
    """Refund half the holders, one of them with another ticket. Strangers are guests too."""
    pipeline = running_sale(install, world, holders=8)
    [event] = events_of(world, EDITION)
    world.add_guest("speaker@example.org", {"name": "A speaker", "role": "guest", "affiliation": "Speaker"})
    leaving = _usable(world)[:4]
    world.sell(event, person=world.kktix.tickets[leaving[0]].person)
    for attendee_id in leaving:
        world.refund(attendee_id)
    pipeline.later_poll()
    return pipeline


def bought_again(install: Install, world: World) -> Pipeline:
    """Let two former guests buy again: each has a second access period, begun while another guest leaves."""
    pipeline = running_sale(install, world, holders=4)
    [event] = events_of(world, EDITION)
    first, second, third, _ = _usable(world)
    world.refund(first)
    world.refund(second)
    pipeline.until_quiet()
    world.refund(third)
    pipeline.later_poll()
    for attendee_id in (first, second):
        world.sell(event, person=world.kktix.tickets[attendee_id].person)
    return pipeline


def scheduled(install: Install, world: World) -> Pipeline:
    """Refund one person before the scheduled campaign leaves; a newcomer needs another campaign."""
    opening = world.context.now().replace(microsecond=0) + timedelta(days=1)
    pipeline = running_sale(install, world, holders=3, invitation_send_at=opening)
    [event] = events_of(world, EDITION)
    world.refund(_usable(world)[0])
    pipeline.later_poll()
    world.sell(event)
    return pipeline


def settle_after_the_opening(pipeline: Pipeline) -> None:
    pipeline.until_quiet()
    pipeline.clock.advance(24 * HOUR)
    pipeline.until_quiet()


def three_families(install: Install, world: World) -> Pipeline:
    """Add two new events to a running one. One person holds a ticket of each, another cannot be mailed."""
    pipeline = running_sale(install, world)
    [event] = events_of(world, EDITION)
    everywhere, unreachable = world.kktix.people.next(), world.kktix.people.next()
    world.klaviyo.unsubscribe(unreachable.address)
    for event_id in (event, world.add_event(NAMES["Corporate"]), world.add_event(NAMES["Reserved"])):
        world.sell(event_id, person=everywhere)
        world.sell(event_id)
    world.sell(event, person=unreachable)
    return pipeline


def renamed(install: Install, world: World) -> Pipeline:
    """Rename the event and correct a holder's address before the tickets are read again."""
    pipeline = running_sale(install, world, holders=3)
    [event] = events_of(world, EDITION)
    first, second, _ = _usable(world)
    world.rename_event(event, "A new name that says nothing")
    world.transfer(first, world.kktix.tickets[first].person.address.upper())
    world.transfer(second, "corrected@example.org")
    pipeline.clock.advance(REFRESHED_AFTER)
    return pipeline


def in_doubt(install: Install, world: World, *, acted: bool) -> Pipeline:
    """Leave it unknown whether the first batch was sent, and add newcomers for a second one."""
    pipeline = running_sale(install, world)
    [event] = events_of(world, EDITION)
    world.sell(event)
    world.faults.add("klaviyo", "reset", method="POST", path="send-jobs$", acts=acted)
    world.faults.add("klaviyo", "status", method="GET", path="/campaigns/[^/]+$", skip=1, times=None)
    assert not pipeline.later_poll().ok
    world.faults.clear()
    pipeline.clock.advance(HOUR)
    world.sell(event)
    return pipeline


def sent_in_doubt(install: Install, world: World) -> Pipeline:
    return in_doubt(install, world, acted=True)


def unsent_in_doubt(install: Install, world: World) -> Pipeline:
    return in_doubt(install, world, acted=False)


def rush_in_waves(install: Install, world: World) -> Pipeline:
    """Let people buy at once, two a wave: one of them twice, one who does not pay, one whose older ticket is refunded.

    Somebody else has left the book for the second time and does not come back.
    """
    pipeline = running_sale(install, world, holders=3, wave_size=WaveSize(2, pause=0))
    [event] = events_of(world, EDITION)
    again, leaving, _ = _usable(world)
    world.refund(again)
    world.refund(leaving)
    pipeline.later_poll()
    twice = world.kktix.people.next()
    for person in (None, twice, None, None, twice, None, world.kktix.tickets[again].person):
        world.sell(event, person=person)
    world.sell(event, paid=False)
    return pipeline


def lost_ledger(install: Install, world: World) -> Pipeline:
    """Delete the ledger's files. Meanwhile one holder was refunded and another person bought."""
    pipeline = running_sale(install, world, holders=3)
    [event] = events_of(world, EDITION)
    for file in pipeline.home.glob("ledger.sqlite*"):
        file.unlink()
    pipeline.restart()
    world.refund(_usable(world)[0])
    world.sell(event)
    return pipeline


def rebuild(_definitions: Definitions, root: Composition, _instance: DagsterInstance) -> bool:
    call(root, rebuild_ledger)
    return True


def rebuild_and_settle(pipeline: Pipeline) -> None:
    """Run the command again as a person would. It rightly refuses where the killed one had finished."""
    pipeline.restart()
    with suppress(LedgerError):
        pipeline.call(rebuild_ledger)
    pipeline.until_quiet()


def cancelled_campaign(install: Install, world: World) -> Pipeline:
    """Leave a batch that mailed one of two because the quota was used up; there is quota again."""
    pipeline = running_sale(install, world)
    [event] = events_of(world, EDITION)
    for _ in range(2):
        world.sell(event)
    world.klaviyo.switches.mail_quota = len(world.outbox) + 1
    pipeline.later_poll()
    world.klaviyo.switches.mail_quota = None
    pipeline.until_quiet()
    return pipeline


def release(_definitions: Definitions, root: Composition, _instance: DagsterInstance) -> bool:
    [campaign] = [c for c in root.klaviyo.find_campaigns(f"pycontw-{EDITION}") if c.status.startswith("Cancelled")]
    return call(root, release_batch, campaign.name.rpartition("-")[2]).freed >= 0


def release_and_poll(definitions: Definitions, root: Composition, instance: DagsterInstance) -> bool:
    return release(definitions, root, instance) and call(root, poll, definer(root), instance).ok


def release_and_settle(pipeline: Pipeline) -> None:
    release(pipeline.definitions, pipeline.root, pipeline.instance)
    pipeline.until_quiet()


def without_guest_list(install: Install, world: World) -> Pipeline:
    """Switch the guest list off: access is assumed, and withdrawn again."""
    return changes(install, world, gather_api_url="off")


def by_event(install: Install, world: World) -> Pipeline:
    """Invite by event. One of the people left the newsletter and is reached all the same."""
    world.klaviyo.flows.prepare(INVITATION_METRIC, transactional=True)
    pipeline = changes(install, world, invite_via="event", invite_flow_is_transactional=True)
    [event] = events_of(world, EDITION)
    newcomer = world.kktix.people.next()
    world.klaviyo.unsubscribe(newcomer.address)
    world.sell(event, person=newcomer)
    return pipeline


def from_campaign_to_event(install: Install, world: World) -> Pipeline:
    """Leave a draft behind and people for whom nothing was begun, then invite by event."""
    world.klaviyo.flows.prepare(INVITATION_METRIC)
    pipeline = running_sale(install, world)
    [event] = events_of(world, EDITION)
    world.sell(event)
    world.faults.add("klaviyo", "status", method="POST", path="estimation-jobs$", times=None)
    assert not pipeline.later_poll().ok
    world.faults.clear()
    pipeline.clock.advance(HOUR)
    world.sell(event)
    pipeline.restart(invite_via="event")
    return pipeline


def from_event_to_campaign(install: Install, world: World) -> Pipeline:
    """Leave it unknown whether an event was taken, then invite by campaign."""
    world.klaviyo.flows.prepare(INVITATION_METRIC)
    pipeline = running_sale(install, world, invite_via="event")
    [event] = events_of(world, EDITION)
    world.sell(event)
    world.faults.add("klaviyo", "reset", method="POST", path="/events$", acts=True, times=None)
    assert not pipeline.later_poll().ok
    world.faults.clear()
    pipeline.clock.advance(HOUR)
    world.sell(event)
    pipeline.restart(invite_via="campaign")
    return pipeline


def settle_to_and_fro(pipeline: Pipeline) -> None:
    """Change the way with every poll, then let the polls finish."""
    for way in ("event", "campaign", "event"):
        pipeline.restart(invite_via=way)
        pipeline.later_poll()
    pipeline.until_quiet()


def lost_ledger_by_event(install: Install, world: World) -> Pipeline:
    """Delete the files of a ledger that invited by event. One holder was refunded, bought again and was invited again.

    Then that ticket is given back once more: whoever buys next is invited by an event of another period.
    """
    world.klaviyo.flows.prepare(INVITATION_METRIC)
    pipeline = running_sale(install, world, holders=3, invite_via="event")
    [event] = events_of(world, EDITION)
    first = _usable(world)[0]
    world.refund(first)
    pipeline.until_quiet()
    [again] = world.sell(event, person=world.kktix.tickets[first].person)
    pipeline.until_quiet()
    world.refund(again)
    pipeline.until_quiet()
    for file in pipeline.home.glob("ledger.sqlite*"):
        file.unlink()
    pipeline.restart()
    world.sell(event, person=world.kktix.tickets[first].person)
    return pipeline


def hinted(install: Install, world: World) -> Pipeline:
    """Prepare changes of every kind, and a delivery of the webhook that says so."""
    pipeline = changes(install, world, on_disk=True, kktix_hook_secret="a secret of the tests")
    [event] = events_of(world, EDITION)
    notification = {"type": "order_activated_paid", "event": {"name": NAMES["Individual"], "slug": f"event-{event}"}}
    delivery = read_delivery(json.dumps({"batch_id": "b", "notifications": [notification]}).encode())
    record_delivery(pipeline.ledger, delivery.hints, delivery.kinds)
    return pipeline


def look_and_launch(definitions: Definitions, root: Composition, instance: DagsterInstance) -> bool:
    """Look as the sensor of the hints does, and do the runs that it asks for."""
    sensor = definitions.resolve_sensor_def("kktix_hints_sensor")
    assert isinstance(sensor, SensorDefinition)
    with build_sensor_context(
        instance=instance,
        instance_ref=instance.get_ref(),
        definitions=definitions,
        resources=resources_of(root, root.settings),
    ) as context:
        data = sensor.evaluate_tick(context)
    assert data.run_requests, "a hint began nothing"
    runs = [execute(definitions, instance, request) for request in data.run_requests]
    return all(run.ok for run in runs)


def only_tables(install: Install, world: World) -> Pipeline:
    """Serve three events while the warehouse is broken: only the tables are missing."""
    make_swift(world)
    pipeline = install()
    for name in NAMES.values():
        world.sell(world.add_event(name), 3)
    broken = pipeline.home / "warehouse.duckdb"
    broken.write_bytes(b"not a database" * 1000)
    assert not pipeline.poll().ok
    broken.unlink()
    pipeline.clock.advance(HOUR)
    return pipeline


SCENARIOS: dict[str, Scenario] = {
    "first poll": Scenario(first_poll, EVERYTHING),
    "changes of every kind": Scenario(changes, EVERYTHING),
    "the same with history": Scenario(changes_with_history, (*DEEDS, "after a COMMIT of Dagster's")),
    "two spaces": Scenario(two_spaces, DEEDS),
    "revocations": Scenario(revocations),
    "bought again": Scenario(bought_again),
    "scheduled, then refunded": Scenario(scheduled, settle=settle_after_the_opening),
    "three families": Scenario(three_families, DEEDS),
    "rush in waves": Scenario(rush_in_waves),
    "begun by a hint": Scenario(hinted, (*DEEDS, "after a COMMIT of Dagster's"), look_and_launch),
    "renamed, corrected": Scenario(renamed),
    "first batch in doubt: sent": Scenario(sent_in_doubt),
    "first batch in doubt: unsent": Scenario(unsent_in_doubt),
    "rebuild-ledger": Scenario(lost_ledger, EVERYTHING, rebuild, rebuild_and_settle),
    "release, then poll": Scenario(cancelled_campaign, command=release_and_poll, settle=release_and_settle),
    "guest list switched off": Scenario(without_guest_list),
    "tables only": Scenario(only_tables, DEEDS),
    "by event": Scenario(by_event),
    "from campaign to event": Scenario(from_campaign_to_event),
    "from event to campaign": Scenario(from_event_to_campaign),
    "to and fro between the ways": Scenario(from_event_to_campaign, DEEDS, settle=settle_to_and_fro),
    "rebuild-ledger, by event": Scenario(lost_ledger_by_event, DEEDS, rebuild, rebuild_and_settle),
}
