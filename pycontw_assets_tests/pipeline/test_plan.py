"""``plan`` describes the changes of the next poll, and changes nothing anywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pycontw_assets.commands.plan import Plan, as_document, describe_plan, make_plan
from pycontw_assets.commands.poll import describe_poll
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.pipeline.dry_run import EventPlan
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import Pipeline

pytestmark = pytest.mark.thorough  # says nothing about tables

ANNA, BEN, CARA = "anna@example.org", "ben@example.com", "cara@example.net"


def plan_of(pipeline: Pipeline, *overrides: str) -> Plan:
    """Plan as the command does: stores that are only read need not exist."""
    return pipeline.call(make_plan, overrides, vault=pipeline.root.vault_to_read)


def planned(pipeline: Pipeline, *overrides: str) -> EventPlan:
    [event] = plan_of(pipeline, *overrides).events
    return event


def bytes_of(home: Path) -> dict[str, bytes]:
    return {str(file.relative_to(home)): file.read_bytes() for file in sorted(home.rglob("*")) if file.is_file()}


def text_of(plan: Plan) -> str:
    return "\n".join([*describe_plan(plan), json.dumps(as_document(plan))])


def test_a_plan_of_a_new_installation_makes_nothing_and_asks_only(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event, address=ANNA)
    world.sell(event, address=BEN, paid=False)
    mark = pipeline.mark()
    plan = plan_of(pipeline)
    [found] = plan.events
    assert pipeline.writes(mark) == []
    assert bytes_of(pipeline.home) == {}
    assert (found.new_attendees, found.granted, found.revoked) == (2, ("a…@example.org",), ())
    assert [(batch.people, batch.is_new) for batch in found.batches] == [(("a…@example.org",), True)]
    assert (found.list_joining, found.list_leaving) == (1, 0)
    assert ANNA not in text_of(plan)


def test_a_plan_leaves_every_byte_as_it_is(install: Install, world: World, event: int) -> None:
    pipeline = install()
    tickets = [world.sell(event, address=address)[0] for address in (ANNA, BEN)]
    pipeline.poll()
    world.refund(tickets[0])
    world.sell(event, address=CARA)
    before, mark = bytes_of(pipeline.home), pipeline.mark()
    plan_of(pipeline)
    assert bytes_of(pipeline.home) == before
    assert pipeline.writes(mark) == []


def test_the_poll_does_what_was_planned(pipeline: Pipeline, world: World, event: int) -> None:
    tickets = [world.sell(event, address=address)[0] for address in (ANNA, BEN)]
    pipeline.poll()
    world.refund(tickets[0])
    pipeline.later_poll()
    world.sell(event, address=CARA)
    pipeline.clock.advance(300)
    found = planned(pipeline)
    assert (found.granted, found.revoked) == (("c…@example.net",), ("a…@example.org",))
    assert (found.list_joining, found.list_leaving) == (1, 1)
    [batch] = found.batches
    mark = pipeline.mark()
    pipeline.poll()
    assert pipeline.guests() == {BEN, CARA}
    assert pipeline.mailed(mark) == [CARA]
    assert batch.people == ("c…@example.net",)
    assert planned(pipeline).is_empty


def test_a_plan_counts_unreachable_holders(pipeline: Pipeline, world: World, event: int) -> None:
    world.klaviyo.suppress(ANNA)
    world.sell(event, address=ANNA)
    [batch] = planned(pipeline).batches
    assert sum(batch.unreachable.values()) == 1


def test_a_plan_meets_the_limits_and_overrides_of_a_poll(install: Install, world: World, event: int) -> None:
    pipeline = install(invite_limit=1)
    for address in (ANNA, BEN):
        world.sell(event, address=address)
    refused, allowed = planned(pipeline), planned(pipeline, "invite")
    assert not refused.batches
    assert "INVITE_LIMIT" in refused.problems[0]
    assert [len(batch.people) for batch in allowed.batches] == [2]


def test_one_event_that_cannot_be_read_keeps_no_other_from_being_planned(pipeline: Pipeline, world: World) -> None:
    for family in ("Individual", "Reserved"):
        world.sell(world.add_event(f"PyCon TW 2031 Registration: {family}"), address=ANNA)
    world.faults.add("kktix", "status", path="90001.*books|90001.*attendance", times=None)
    plan = plan_of(pipeline)
    assert [event.partition_key for event in plan.events] == ["2031-reserved-90002"]
    assert any("2031-individual-90001" in problem for problem in plan.problems)


@pytest.mark.slow
def test_a_plan_with_a_lost_ledger_says_so(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event, address=ANNA)
    pipeline.poll()
    for file in pipeline.home.glob("ledger.sqlite*"):
        file.unlink()
    pipeline.restart()
    with pytest.raises(LedgerError, match="rebuild-ledger"):
        plan_of(pipeline)


@pytest.mark.slow
def test_a_poll_prints_one_line_per_event_and_nobody(pipeline: Pipeline, world: World, event: int) -> None:
    world.add_event("A dinner")
    world.sell(event, address=ANNA)
    lines = list(describe_poll(pipeline.poll()))
    [line] = [line for line in lines if f"2031-individual-{event}" in line]
    assert line.startswith("ok ")
    assert "attendees 1" in line
    assert "let in 1, invited 1" in line
    assert any(line.startswith("left ") for line in lines)
    assert not any(part in "\n".join(lines) for part in (ANNA, "\x1b"))
    [idle] = [line for line in describe_poll(pipeline.poll()) if "2031-individual" in line]
    assert idle == f"idle   2031-individual-{event}: 1 attendees known, nothing new"
