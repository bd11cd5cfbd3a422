"""With ``PYCONTW_DRY_RUN`` polls read and load, and only show the access and mails they would give."""

from __future__ import annotations

from typing import Any

import pytest
from dagster import AssetKey

from pycontw_assets.ledger.batches import unfinished_batches
from pycontw_assets.ledger.grants import current_grants
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION, Pipeline

ANNA, BEN = "anna@example.org", "ben@example.com"


def shown(pipeline: Pipeline, asset: str) -> dict[str, Any]:
    event = pipeline.instance.get_latest_materialization_event(AssetKey(asset))
    assert event is not None
    assert event.asset_materialization is not None
    return {name: item.value for name, item in event.asset_materialization.metadata.items()}


def test_a_dry_run_changes_nothing_outside_and_shows_the_changes(install: Install, world: World, event: int) -> None:
    pipeline = install(pycontw_dry_run=True)
    world.klaviyo.suppress("suppressed@example.org")
    for address in (ANNA, BEN, "suppressed@example.org"):
        world.sell(event, address=address)
    mark = pipeline.mark()
    for _ in range(2):
        assert pipeline.later_poll().ok
    assert pipeline.writes(mark) == []
    assert len(pipeline.tables()["individual"]) == 3
    for asset in ("gather_guestlist", "klaviyo_list", "klaviyo_campaign"):
        found = shown(pipeline, asset)
        assert found["dry_run"] is True
        assert (found["would_let_in"], found["would_join_the_list"]) == (3, 3)
        assert (found["would_invite"], found["would_not_reach"], found["would_send_batches"]) == (2, 1, 1)
    assert "template_id" not in shown(pipeline, "klaviyo_template")
    assert current_grants(pipeline.ledger, EDITION) == {}
    assert unfinished_batches(pipeline.ledger, f"2031-individual-{event}") == []


@pytest.mark.slow
def test_the_work_a_dry_run_left_is_done_after_it(install: Install, world: World, event: int) -> None:
    pipeline = install(pycontw_dry_run=True)
    world.sell(event, address=ANNA)
    pipeline.poll()
    pipeline.restart(pycontw_dry_run=False)
    pipeline.until_quiet()
    assert pipeline.guests() == pipeline.ticket_holders(event) == {ANNA}
    assert pipeline.mailed() == [ANNA]
    assert pipeline.verdict() == []


@pytest.mark.slow
def test_a_dry_run_takes_nobody_off_and_names_the_limits_it_meets(install: Install, world: World, event: int) -> None:
    pipeline = install()
    tickets = [world.sell(event, address=address)[0] for address in (ANNA, BEN)]
    pipeline.poll()
    pipeline.restart(pycontw_dry_run=True, revoke_limit=0)
    world.refund(tickets[0])
    mark = pipeline.mark()
    pipeline.later_poll()
    report = pipeline.later_poll()
    assert pipeline.writes(mark) == []
    assert pipeline.guests() == {ANNA, BEN}
    assert any("revocations are due" in problem for run in report.runs for problem in run.problems)
    pipeline.later_poll("revoke")
    assert shown(pipeline, "gather_guestlist")["would_take_off"] == 1
    assert pipeline.guests() == {ANNA, BEN}
