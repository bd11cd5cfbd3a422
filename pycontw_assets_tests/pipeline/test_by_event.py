"""Invitations by event, in whole polls: who is mailed, what waits for the flow, and what a change of the way does."""

from __future__ import annotations

from typing import Any

import pytest

from pycontw_assets.commands.status import look_up
from pycontw_assets.commands.trace import describe_trace, trace
from pycontw_assets.pipeline.reconcile import RunHistory
from pycontw_assets.sandbox.world import World
from pycontw_assets.send_email.names import INVITATION_METRIC
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import Pipeline, describe

pytestmark = pytest.mark.thorough  # says little about tables

HOUR = 3600


def unseen(pipeline: Pipeline) -> Any:
    status = pipeline.call(look_up, history=RunHistory())
    return sum(event.counts["not seen"] or 0 for event in status.events)


def traced(pipeline: Pipeline, address: str) -> str:
    return "\n".join(describe_trace(pipeline.call(trace, address)))


def test_an_event_invites_once_and_counts_as_seen_when_its_mail_left(
    install: Install, world: World, event: int
) -> None:
    """Without a live flow nobody is mailed, and nobody counts as invited."""
    pipeline = install(invite_via="event")
    world.sell(event)
    report = pipeline.poll()
    assert not report.ok
    assert "does not know the metric" in describe(report)
    flow = world.klaviyo.flows.prepare(INVITATION_METRIC, status="draft")
    assert "no flow of the metric" in describe(pipeline.later_poll())
    assert not world.klaviyo.events
    flow.status = "live"
    pipeline.later_poll()
    [address] = pipeline.mailed()
    assert unseen(pipeline) == 1
    assert "its mail was not seen yet" in traced(pipeline, address)
    pipeline.clock.advance(HOUR)
    mark = pipeline.mark()
    pipeline.poll()
    assert unseen(pipeline) == 0
    assert "its mail seen" in traced(pipeline, address)
    assert [call.path for call in world.calls.find("klaviyo", since=mark.calls)] == [
        "/api/metrics",
        "/api/events",
        "/api/events",
    ]
    assert pipeline.verdict() == []


@pytest.mark.long
def test_a_change_of_the_way_in_mid_season_repeats_and_forgets_no_mail(
    install: Install, world: World, event: int
) -> None:
    flow = world.klaviyo.flows.prepare(INVITATION_METRIC)
    pipeline = install()
    for way in ("campaign", "event", "campaign", "event"):
        pipeline.restart(invite_via=way)
        world.sell(event)
        pipeline.later_poll()
    pipeline.clock.advance(1)  # until the flow's last mail has left
    assert len(pipeline.mailed()) == 4
    flow.status = "draft"
    world.sell(event)
    assert not pipeline.later_poll().ok
    pipeline.restart(invite_via="campaign")
    pipeline.until_quiet()
    assert len(pipeline.mailed()) == 5
    assert pipeline.verdict() == []


# Buyer -> does the mail arrive by campaign, by event, by event with a transactional mail. As docs/setup.md says.
TABLE = {
    "ordinary": (True, True, True),
    "unsubscribed": (False, False, True),
    "suppressed by hand": (False, False, True),
    "bounced": (False, False, False),
}


@pytest.mark.long
def test_every_buyer_ends_as_the_table_in_the_guide_says(install: Install, world: World, event: int) -> None:
    """From the first way to the last: whoever is reached later is mailed then, and nobody twice."""
    flow = world.klaviyo.flows.prepare(INVITATION_METRIC)
    buyers = {kind: world.kktix.people.next() for kind in TABLE}
    world.klaviyo.unsubscribe(buyers["unsubscribed"].address)
    world.klaviyo.suppress(buyers["suppressed by hand"].address, "USER_SUPPRESSED")
    world.klaviyo.suppress(buyers["bounced"].address, "HARD_BOUNCE")
    pipeline = install()
    for person in buyers.values():
        world.sell(event, person=person)
    for column, settings in enumerate(
        ({}, {"invite_via": "event"}, {"invite_via": "event", "invite_flow_is_transactional": True})
    ):
        flow.transactional = column == 2
        pipeline.restart(**settings)
        pipeline.until_quiet()
        reached = {kind for kind, person in buyers.items() if person.address in pipeline.mailed()}
        assert reached == {kind for kind, arrives in TABLE.items() if arrives[column]}
        assert pipeline.verdict() == []
    assert len(pipeline.mailed()) == len({*pipeline.mailed()})


@pytest.mark.parametrize("way", ["campaign", pytest.param("event", marks=pytest.mark.slow)])
@pytest.mark.long
def test_ten_newcomers_cost_at_most_45_requests(install: Install, world: World, way: str) -> None:
    """At 300 known in three events, with a list of the pool that has rested: 57 before, 44 by either way."""
    world.klaviyo.flows.prepare(INVITATION_METRIC)
    events = [world.add_event(f"PyCon TW 2031 Registration: {f}") for f in ("Individual", "Corporate", "Reserved")]
    pipeline = install(invite_via=way)
    for event in events:
        for _ in range(100):
            world.sell(event)
    assert pipeline.poll().ok
    pipeline.clock.advance(2 * HOUR)
    pipeline.until_quiet()
    for _ in range(10):
        world.sell(events[0])
    mark = pipeline.mark()
    assert pipeline.later_poll().ok
    assert len(pipeline.mailed(mark)) == 10
    assert pipeline.requests(mark) <= 45
    calls = world.calls.find("klaviyo", since=mark.calls)
    assert len([call for call in calls if "profile-import" in call.path or call.path == "/api/profiles"]) == 10
