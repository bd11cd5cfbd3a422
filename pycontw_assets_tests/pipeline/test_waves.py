"""A rush is served in waves: whoever was read is let in and invited, while others are still to be read."""

from __future__ import annotations

import pytest

from pycontw_assets.extract.waves import WaveSize
from pycontw_assets.ledger.polls import unread_after_wave
from pycontw_assets.orchestration.poll import RunReport
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION, Pipeline, describe


def rush(world: World, event: int) -> list[str]:
    """Let seven people buy one ticket each, and return their addresses."""
    return [world.kktix.tickets[number].person.address for _ in range(7) for number in world.sell(event)]


def orders(pipeline: Pipeline, *overrides: str) -> tuple[dict[str, int], RunReport]:
    report = pipeline.later_poll(*overrides)
    assert report.ok, describe(report)
    [run] = [run for run in report.runs if run.job == "grant_access_job"]
    return run.counts["raw_kktix_orders"], run


@pytest.mark.long
def test_a_rush_is_let_in_and_invited_in_waves(install: Install, world: World, event: int) -> None:
    pipeline = install(wave_size=WaveSize(2, pause=0), revoke_limit=100)
    buyers = rush(world, event)
    counts, run = orders(pipeline)
    assert (counts["waves"], counts["waves_let_in"], counts["waves_invited"]) == (3, 6, 6)
    assert run.counts["gather_guestlist"]["granted"] == 1
    assert sorted(pipeline.mailed()) == sorted(buyers)
    assert unread_after_wave(pipeline.ledger, f"{EDITION}-individual-{event}") == 0
    pipeline.until_quiet()
    assert len(pipeline.mailed()) == 7
    assert pipeline.verdict() == []


@pytest.mark.long
def test_what_fails_in_a_wave_is_done_at_the_end_of_the_poll(install: Install, world: World, event: int) -> None:
    pipeline = install(wave_size=WaveSize(2, pause=0))
    rush(world, event)
    world.faults.add("gather", "status", times=4)
    counts, run = orders(pipeline)
    assert counts["waves"] == 3
    assert counts["waves_let_in"] + run.counts["gather_guestlist"]["granted"] == 7
    assert len(pipeline.mailed()) == 7
    assert pipeline.verdict() == []


@pytest.mark.slow
def test_a_rush_beyond_the_invite_limit_is_let_in_and_nobody_is_mailed(
    install: Install, world: World, event: int
) -> None:
    pipeline = install(wave_size=WaveSize(2, pause=0), invite_limit=5)
    rush(world, event)
    report = pipeline.poll()
    assert not report.ok
    assert len(pipeline.guests()) == 7
    assert pipeline.mailed() == []
    assert pipeline.later_poll("invite").ok
    assert len(pipeline.mailed()) == 7
