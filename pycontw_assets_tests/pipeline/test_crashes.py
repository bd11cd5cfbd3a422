"""Killed at any step, a poll that runs again mails nobody twice and forgets nobody.

A child process runs a real poll and is killed at its k-th request to the outside: before it leaves, or after the
service acted and before its answer is heard. Then ordinary polls run until quiet, and the oracle judges.
"""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from dagster import DagsterRunStatus, RunsFilter

from pycontw_assets.sandbox.oracle import events_of
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION, Moment, Pipeline

KILLED = -9
REFRESHED_AFTER = 2 * 3600
MOMENTS: tuple[Moment, ...] = ("before", "after")


def running_sale(install: Install, world: World, **options: Any) -> Pipeline:
    """A sale with two holders that were invited."""
    make_swift(world)
    event = world.add_event("PyCon TW 2031 Registration: Individual")
    pipeline = install(revoke_limit=100, **options)
    world.sell(event)
    world.sell(event)
    assert pipeline.poll().ok
    return pipeline


def make_swift(world: World) -> None:
    """Children wait for real."""
    world.klaviyo.switches.rate_limits = False
    world.klaviyo.switches.status_step = world.klaviyo.switches.estimation_delay = 0


def stir(pipeline: Pipeline) -> None:
    """Everything that makes a poll act: a newcomer, a late payment, a transfer, a refund already missed once."""
    world = pipeline.world
    [event] = events_of(world, EDITION)
    usable = [ticket.attendee_id for ticket in world.kktix.tickets.values() if ticket.is_usable]
    [unpaid] = world.sell(event, paid=False)
    world.refund(usable[0])
    pipeline.later_poll()
    world.pay(unpaid)
    world.sell(event)
    world.transfer(usable[-1], f"moved-{usable[-1]}-{len(world.outbox)}@example.org")
    pipeline.clock.advance(REFRESHED_AFTER)


def kill_and_judge(pipeline: Pipeline, kill_at: int, when: Moment) -> bool:
    """False when the poll has fewer requests than that."""
    stir(pipeline)
    exit_code = pipeline.poll_in_child(kill_at, when)
    assert exit_code in (KILLED, 0), f"{when} {kill_at}"
    assert pipeline.verdict(settled=False) == [], f"{when} {kill_at}"
    pipeline.until_quiet()
    assert pipeline.verdict() == [], f"{when} {kill_at}"
    tables_are_whole(pipeline)
    return exit_code == KILLED


def tables_are_whole(pipeline: Pipeline) -> None:
    rows = {row["attendee_id"]: row["is_usable"] for row in pipeline.tables()["individual"]}
    assert rows == {ticket.attendee_id: ticket.is_usable for ticket in pipeline.world.kktix.tickets.values()}


# What is worst to be interrupted at; the number picks one of several such requests.
SAMPLE: list[tuple[str, int, Moment]] = [
    ("POST .*setEmailGuestlist$", 0, "after"),  # guests were added
    ("POST .*setEmailGuestlist$", 1, "after"),  # guests were removed
    ("POST .*/api/campaigns$", 0, "after"),
    ("POST .*send-jobs$", 0, "before"),
    ("POST .*send-jobs$", 0, "after"),
]


def test_a_poll_killed_at_the_worst_steps_mails_nobody_twice_and_forgets_nobody(install: Install, world: World) -> None:
    """A sample, without Dagster's memory of what was killed; the test below kills at every single step, with it."""
    pipeline = running_sale(install, world)
    stir(pipeline)
    mark = pipeline.mark()
    assert pipeline.poll_in_child() == 0
    steps = [f"{call.method} {call.path}" for call in pipeline.world.calls.find(since=mark.calls)]
    pipeline.until_quiet()
    for pattern, which, when in SAMPLE:
        kill_at = [number for number, step in enumerate(steps, 1) if re.match(pattern, step)][which]
        assert kill_and_judge(pipeline, kill_at, when), f"{pattern} {when} was not reached"


@pytest.mark.slow
@pytest.mark.parametrize("when", MOMENTS)
def test_a_poll_killed_at_every_step_mails_nobody_twice_and_forgets_nobody(
    install: Install, world: World, when: Moment
) -> None:
    pipeline = running_sale(install, world, on_disk=True)
    points = ((kill_at, when) for kill_at in itertools.count(1))
    killed = sum(1 for _ in itertools.takewhile(lambda point: kill_and_judge(pipeline, *point), points))
    print(f"\n{killed} kill points {when} a request of a poll with changes of every kind")
    assert killed > 30


@pytest.mark.slow
@pytest.mark.parametrize("when", MOMENTS)
def test_a_first_poll_killed_at_every_step_is_finished_by_the_next_ones(
    install: Install, world: World, when: Moment
) -> None:
    """A fresh installation each time: template, lists and campaign are made for the first time."""
    for kill_at in itertools.count(1):
        world.reset(world.ground.clock)
        make_swift(world)
        event = world.add_event("PyCon TW 2031 Registration: Individual")
        world.sell(event, 2)
        world.sell(event, paid=False)
        pipeline = install(on_disk=True, name=f"home-{kill_at}")
        exit_code = pipeline.poll_in_child(kill_at, when)
        pipeline.until_quiet()
        assert pipeline.verdict() == [], f"{when} {kill_at}"
        tables_are_whole(pipeline)
        if exit_code != KILLED:
            break
    print(f"\n{kill_at - 1} kill points {when} a request of a first poll")
    assert kill_at > 30


def test_a_run_whose_process_died_does_not_keep_its_event_waiting(install: Install, world: World) -> None:
    pipeline = running_sale(install, world, on_disk=True)
    world.sell(*events_of(world, EDITION))
    assert pipeline.poll_in_child(10, "before") == KILLED
    [dead] = pipeline.instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED]))
    pipeline.later_poll()
    buried = pipeline.instance.get_run_by_id(dead.run_id)
    assert buried
    assert buried.status == DagsterRunStatus.FAILURE
    assert pipeline.verdict() == []


def test_with_all_history_of_dagster_deleted_nobody_is_mailed_again(install: Install, world: World, event: int) -> None:
    pipeline = install()
    world.sell(event)
    pipeline.poll()
    mark = pipeline.mark()
    pipeline.forget_history()
    report = pipeline.later_poll()
    assert report.ok
    assert report.runs, "Dagster's assets are materialized again"
    assert pipeline.writes(mark) == []
    world.sell(event)
    pipeline.forget_history()
    pipeline.until_quiet()
    assert len(pipeline.mailed(mark)) == 1
    assert pipeline.verdict() == []
