"""Invitations by event, in whole polls: who is mailed, what waits for the flow, and what a change of the way does."""

from __future__ import annotations

import pytest

from pycontw_assets.sandbox.world import World
from pycontw_assets.send_email.names import INVITATION_METRIC
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import Pipeline, describe


def by_event(install: Install, **settings: object) -> Pipeline:
    return install(invite_via="event", **settings)


def test_an_event_invites_everybody_once(install: Install, world: World, event: int) -> None:
    world.klaviyo.flows.prepare(INVITATION_METRIC)
    pipeline = by_event(install)
    world.sell(event, 2)
    assert pipeline.poll().ok
    world.sell(event)
    pipeline.until_quiet()
    assert len(pipeline.mailed()) == 2
    assert not world.klaviyo.campaigns
    assert pipeline.verdict() == []


def test_without_a_live_flow_nobody_is_mailed_or_counts_as_invited(install: Install, world: World, event: int) -> None:
    pipeline = by_event(install)
    world.sell(event)
    report = pipeline.poll()
    assert not report.ok
    assert "does not know the metric" in describe(report)
    flow = world.klaviyo.flows.prepare(INVITATION_METRIC, status="draft")
    assert "no flow of the metric" in describe(pipeline.later_poll())
    assert not world.klaviyo.events
    flow.status = "live"
    pipeline.until_quiet()
    assert len(pipeline.mailed()) == 1
    assert pipeline.verdict() == []
