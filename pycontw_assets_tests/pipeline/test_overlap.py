"""Several polls at once on one ledger, on either engine: one works, the others wait or step aside and say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from dagster import DagsterInstance, Definitions

from pycontw_assets.ledger.locks import TTL, LockName, lock_owner, take_lock
from pycontw_assets.orchestration.poll import PollReport
from pycontw_assets.orchestration.run_recording import observe_and_record
from pycontw_assets.orchestration.sensors import missing_partitions
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.sandbox.oracle import entitled
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.crash_scenarios import make_swift
from pycontw_assets_tests.pipeline.harness import EDITION, INTERVAL_SECONDS, Child, Command, Pipeline, call, describe
from pycontw_assets_tests.postgres import age_locks

pytestmark = pytest.mark.thorough

SKEW_SECONDS = 9 * 60
STEPS_ASIDE = "is at work on it for over 12"


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.slow), "postgresql"])
def shared(request: pytest.FixtureRequest, install: Install) -> Callable[..., Pipeline]:
    """Return a function that makes installations whose ledger is on either engine."""
    if request.param == "sqlite":
        return install
    server = request.getfixturevalue("postgres")
    url = server.url(server.new_database())
    return lambda **settings: install(ledger_url=url, **settings)


def on_server(pipeline: Pipeline) -> bool:
    return pipeline.ledger.engine.dialect.name == "postgresql"


def pass_time(pipeline: Pipeline, seconds: float) -> None:
    pipeline.clock.advance(seconds)
    if on_server(pipeline):
        age_locks(pipeline.ledger.engine, seconds)


def start(pipeline: Pipeline, command: Command | None = None) -> Child:
    variables = {name: str(value) for name, value in pipeline._variables.items()}
    return Child(variables, pipeline.clock.skipped, None, command=command)


def grant_access(key: str) -> Command:
    """Run the access job of one event, as a person starts it in the UI."""

    def run(definitions: Definitions, root: Composition, instance: DagsterInstance) -> bool:
        for name, keys in missing_partitions(call(root, observe_and_record, instance), instance).items():
            instance.add_dynamic_partitions(name, keys)
        job = definitions.resolve_job_def("grant_access_job")
        return bool(job.execute_in_process(instance=instance, partition_key=key, raise_on_error=False).success)

    return run


def table_rows(pipeline: Pipeline) -> dict[int, bool]:
    return {row["attendee_id"]: row["is_usable"] for table in pipeline.tables().values() for row in table}


def all_is_well(pipeline: Pipeline) -> None:
    pipeline.until_quiet()
    world = pipeline.world
    assert pipeline.verdict() == []
    assert pipeline.guests() == entitled(world, EDITION)
    assert table_rows(pipeline) == {t.attendee_id: t.is_usable for t in world.kktix.tickets.values()}


def changed_sale(shared: Callable[..., Pipeline], world: World, event: int) -> Pipeline:
    """Set up a new event, a newcomer to both events, a transfer, and a refund that was missed once."""
    make_swift(world)
    pipeline = shared()
    refunded, moved = world.sell(event)[0], world.sell(event)[0]
    pipeline.poll()
    world.refund(refunded)
    pipeline.clock.advance(INTERVAL_SECONDS)
    pipeline.poll_in_child()  # also makes Dagster's tables, which several at once cannot
    other = world.add_event("PyCon TW 2031 Registration: Corporate")
    newcomer = world.kktix.people.next()
    for event_id in (event, other):
        world.sell(event_id, person=newcomer)
        world.sell(event_id)
    world.transfer(moved, "moved@example.org")
    pipeline.clock.advance(2 * 3600)
    return pipeline


@pytest.mark.long
def test_two_polls_and_a_run_at_once_mail_nobody_twice_and_lose_nobody(
    shared: Callable[..., Pipeline], world: World, event: int
) -> None:
    pipeline = changed_sale(shared, world, event)
    children = [start(pipeline), start(pipeline), start(pipeline, grant_access(f"{EDITION}-individual-{event}"))]
    for child in children:
        child.go()
    assert {child.join() for child in children} <= {0, 1}
    assert pipeline.verdict(settled=False) == []
    all_is_well(pipeline)


def test_while_another_process_is_at_work_on_an_event_a_poll_steps_aside(
    install: Install, world: World, event: int
) -> None:
    """The other process is stopped in the middle of its sending. This poll leaves the event to it and says so."""
    world.klaviyo.switches.rate_limits = False
    pipeline = install(on_disk=True)
    world.sell(event)
    seen = []
    world.faults.add("klaviyo", "hook", path="send-jobs$", method="POST", action=lambda: seen.append(pipeline.poll()))
    assert pipeline.poll_in_child() == 0
    [report] = seen
    [decision] = report.tick.decisions.values()
    assert "1 run is still at work" in decision.reason
    assert "grant_access_job" not in {run.job for run in report.runs}
    pipeline.until_quiet()
    assert len(pipeline.mailed()) == 1
    assert pipeline.verdict() == []


@pytest.mark.long
@pytest.mark.parametrize(
    "deed",
    [
        pytest.param({"service": "klaviyo", "path": "send-jobs$", "method": "POST"}, id="sending"),
        pytest.param({"service": "gather", "method": "POST"}, id="letting in", marks=pytest.mark.slow),
        pytest.param({"service": "kktix", "path": "attendees/"}, id="reading orders", marks=pytest.mark.slow),
    ],
)
def test_a_poll_that_shares_only_the_ledger_steps_aside(
    shared: Callable[..., Pipeline], world: World, event: int, deed: dict[str, Any]
) -> None:
    """The other machine has its own Dagster. With a shared server its clock may be wrong by minutes."""
    make_swift(world)
    pipeline = shared()
    world.sell(event)
    seen: list[PollReport] = []

    def poll_elsewhere() -> None:
        pipeline.clock.advance(SKEW_SECONDS if on_server(pipeline) else 0)
        seen.append(pipeline.poll())

    world.faults.add(**deed, kind="hook", action=poll_elsewhere)
    assert pipeline.poll_in_child() == 0
    assert "1 run is still at work" in describe(seen[0])
    assert "grant_access_job" not in {run.job for run in seen[0].runs}
    assert len(pipeline.mailed()) == 1
    all_is_well(pipeline)
    assert len(pipeline.mailed()) == 1


@pytest.mark.slow
def test_locks_of_a_killed_process_are_free_at_once(shared: Callable[..., Pipeline], world: World, event: int) -> None:
    make_swift(world)
    pipeline = shared()
    world.sell(event)
    child = start(pipeline)
    world.faults.add("klaviyo", "hook", path="send-jobs$", method="POST", action=child.kill)
    child.go()
    assert child.join() == -9
    key = f"{EDITION}-individual-{event}"
    assert lock_owner(pipeline.ledger, LockName.INVITATIONS, key)
    before = pipeline.clock.skipped
    assert STEPS_ASIDE not in describe(pipeline.poll())
    assert pipeline.clock.skipped - before < 60
    all_is_well(pipeline)
    assert len(pipeline.mailed()) == 1


@pytest.mark.slow
def test_locks_of_a_lost_machine_are_free_when_they_expire(
    shared: Callable[..., Pipeline], world: World, event: int
) -> None:
    """This machine cannot know whether a process of another machine is alive."""
    make_swift(world)
    pipeline = shared()
    world.sell(event)
    key = f"{EDITION}-individual-{event}"
    owner = "elsewhere~1~1/4711/1/a"
    assert take_lock(pipeline.ledger, LockName.INVITATIONS, key, owner=owner, ttl=100 * TTL) is None
    assert "process 4711 on elsewhere is at work on it" in describe(pipeline.poll())
    assert pipeline.mailed() == []
    pass_time(pipeline, 100 * TTL.total_seconds())
    all_is_well(pipeline)
    assert len(pipeline.mailed()) == 1
