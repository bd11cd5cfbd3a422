"""A run is at work while its lock is renewed: a dead one blocks nobody, nobody overtakes a living one."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._daemon.types import DaemonHeartbeat

from pycontw_assets.api.time_limit import TimeLimit
from pycontw_assets.commands.status import look_up
from pycontw_assets.ledger.database.tables import locks
from pycontw_assets.ledger.locks import TTL, LockName, drop_lock, take_lock
from pycontw_assets.orchestration.run_history import OWNER_TAG, PARTITION_TAG, read_run_history
from pycontw_assets.orchestration.run_recording import observe_and_record
from pycontw_assets.pipeline.observe import observe
from pycontw_assets.pipeline.reconcile import RunHistory
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.fakes.channels import Channels
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION, Pipeline, describe
from pycontw_assets_tests.pipeline.test_sensor import launch, tick

pytestmark = pytest.mark.thorough

ELSEWHERE = "elsewhere~1~1/4711/1"
AT_WORK = "1 run is still at work"


@pytest.fixture
def key(event: int) -> str:
    return f"{EDITION}-individual-{event}"


def unfinished(pipeline: Pipeline) -> list[DagsterRun]:
    return [run for run in pipeline.instance.get_runs() if not run.is_finished]


def begin_elsewhere(
    pipeline: Pipeline, key: str, status: DagsterRunStatus = DagsterRunStatus.STARTED, *, ttl: timedelta = TTL
) -> DagsterRun:
    """Begin an access run of another machine: its process cannot be looked at from here."""
    run = pipeline.instance.create_run_for_job(
        pipeline.definitions.resolve_job_def("grant_access_job"),
        tags={PARTITION_TAG: key, OWNER_TAG: ELSEWHERE},
        status=status,
    )
    take_lock(pipeline.ledger, LockName.ACCESS_RUN, key, owner=f"{ELSEWHERE}/{run.run_id}", ttl=ttl)
    return run


def renew_locks(pipeline: Pipeline) -> None:
    """Let the owners of all locks be alive. A lock that runs longer looks like one of a clock that ran ahead."""
    with pipeline.ledger.engine.begin() as db:
        db.execute(sa.update(locks).values(expires_at=pipeline.clock() + 2 * TTL))


def move_to_another_machine(pipeline: Pipeline) -> None:
    """Let all that the killed process left be of another machine: a new container, or the old disk in a new one."""
    [run] = unfinished(pipeline)
    pipeline.instance.add_run_tags(run.run_id, {OWNER_TAG: ELSEWHERE})
    with pipeline.ledger.engine.begin() as db:
        for row in db.execute(sa.select(locks)).all():
            owner = f"{ELSEWHERE}/{row.owner.rpartition('/')[2]}"
            db.execute(sa.update(locks).where(locks.c.name == row.name).values(owner=owner))


@pytest.mark.long
def test_a_poll_killed_on_another_machine_blocks_its_event_for_three_minutes(
    install: Install, world: World, key: str
) -> None:
    pipeline = install(on_disk=True)
    world.sell(int(key.rpartition("-")[2]))
    child = pipeline.start_child()
    world.faults.add("klaviyo", "hook", path="send-jobs$", method="POST", acts=True, action=child.kill)
    child.go()
    assert child.join() == -9
    move_to_another_machine(pipeline)
    assert AT_WORK in describe(pipeline.poll()), "it may be alive"
    pipeline.clock.advance(TTL.total_seconds() + 1)
    [dead] = unfinished(pipeline)
    assert AT_WORK not in describe(pipeline.poll())
    failed = pipeline.instance.get_run_by_id(dead.run_id)
    assert failed is not None
    assert failed.status == DagsterRunStatus.FAILURE
    assert len(pipeline.mailed()) == 1
    assert pipeline.verdict() == []


def ask_for(pipeline: Pipeline, key: str, status: DagsterRunStatus) -> DagsterRun:
    """Ask for an access run that no process begins."""
    job = pipeline.definitions.resolve_job_def("grant_access_job")
    location = RegisteredCodeLocationOrigin("pycontw_assets.definitions")
    return pipeline.instance.create_run_for_job(
        job,
        tags={PARTITION_TAG: key},
        status=status,
        remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job.name),
    )


@pytest.mark.parametrize(
    "status",
    [DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED],
)
def test_a_run_that_never_came_up_is_failed_after_a_while(
    pipeline: Pipeline, key: str, status: DagsterRunStatus
) -> None:
    """Its daemon was switched off, its container never started, or a person asked for it where no daemon is."""
    run = ask_for(pipeline, key, status)
    assert read_run_history(pipeline.instance, pipeline.ledger).attempts(key, "access").running
    pipeline.clock.advance(6 * 60)
    history = read_run_history(pipeline.instance, pipeline.ledger)
    assert (history.dead_runs, history.attempts(key, "access").running) == ((run.run_id,), False)
    pipeline.call(observe_and_record, pipeline.instance)
    assert unfinished(pipeline) == []


def test_a_run_waits_in_the_queue_as_long_as_the_daemon_lives(pipeline: Pipeline, key: str) -> None:
    ask_for(pipeline, key, DagsterRunStatus.QUEUED)
    pipeline.clock.advance(3600)
    beat(pipeline.instance, pipeline.clock())
    assert read_run_history(pipeline.instance, pipeline.ledger).dead_runs == ()
    pipeline.clock.advance(6 * 60)
    assert len(read_run_history(pipeline.instance, pipeline.ledger).dead_runs) == 1


def beat(instance: DagsterInstance, moment: datetime) -> None:
    instance.add_daemon_heartbeat(DaemonHeartbeat(moment.timestamp(), "QUEUED_RUN_COORDINATOR", "daemon"))


@pytest.mark.long
def test_a_run_that_dagster_gave_up_and_that_works_on_is_not_overtaken(
    install: Install, world: World, event: int
) -> None:
    """``max_runtime_seconds`` is over, and the process ignores the interrupt: it is about to send."""
    pipeline = install(on_disk=True)
    world.klaviyo.switches.rate_limits = False
    world.sell(event)
    seen: list[str] = []

    def give_up() -> None:
        [run] = unfinished(pipeline)
        pipeline.instance.report_run_failed(run, "Exceeded maximum runtime of 3600 seconds.")
        mark = pipeline.mark()
        seen.append(describe(pipeline.poll()))
        assert pipeline.writes(mark) == []

    world.faults.add("klaviyo", "hook", path="send-jobs$", method="POST", action=give_up)
    assert pipeline.poll_in_child() == 0
    assert AT_WORK in seen[0]
    assert pipeline.later_poll().ok
    assert len(pipeline.mailed()) == 1
    assert pipeline.verdict() == []


# -- a lock that was lost ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("kktix", "attendees/"),
        pytest.param("gather", "", marks=pytest.mark.long),
        pytest.param("klaviyo", "/api/lists$", marks=pytest.mark.long),
    ],
)
def test_a_run_that_slept_and_lost_its_lock_calls_nobody_any_more(
    pipeline: Pipeline, world: World, key: str, service: str, path: str
) -> None:
    """The lid of a laptop was closed in the middle of a call. Another machine took the event over."""
    world.sell(int(key.rpartition("-")[2]))
    calls: list[int] = []

    def sleep() -> None:
        pipeline.clock.advance(TTL.total_seconds() + 1)
        assert take_lock(pipeline.ledger, LockName.ACCESS_RUN, key, owner=f"{ELSEWHERE}/run") is None
        calls.append(world.calls.mark())

    world.faults.add(service, "hook", path=path, action=sleep)
    report = pipeline.poll()
    assert f"access run of {key}: this process lost its lock" in describe(report)
    assert pipeline.mailed() == []
    assert world.calls.count("gather", since=calls[0]) <= 1
    assert world.calls.count("klaviyo", since=calls[0]) <= 1
    drop_lock(pipeline.ledger, LockName.ACCESS_RUN, key, owner=f"{ELSEWHERE}/run")
    pipeline.later_poll()
    assert len(pipeline.mailed()) == 1
    assert pipeline.verdict() == []


# -- an event that waits too long -----------------------------------------------------------------------


def test_an_event_that_no_poll_took_in_for_three_intervals_is_an_alarm(
    install: Install, world: World, key: str
) -> None:
    notes = Channels()
    pipeline = install()
    pipeline.restart({"alerts": notes})
    world.sell(int(key.rpartition("-")[2]))
    begin_elsewhere(pipeline, key, ttl=2 * TTL)
    for _ in range(2):
        renew_locks(pipeline)
        report = pipeline.later_poll()
        assert (report.ok, report.late, notes.sent) == (True, (), [])
    renew_locks(pipeline)
    report = pipeline.later_poll()
    assert not report.ok
    [text] = report.late
    assert text.startswith(f"{key}: waits for a run that began at ")
    assert notes.titles == [text]
    renew_locks(pipeline)
    report = pipeline.later_poll()
    assert [text.partition(" since ")[0].partition(" began ")[0] for text in report.late] == [
        f"{key}: not up to date",
        f"{key}: waits for a run that",
    ]
    status = pipeline.call(look_up, history=read_run_history(pipeline.instance, pipeline.ledger))
    assert any(f"{key}: not up to date since " in problem.text for problem in status.problems)
    assert not pipeline.call(observe_and_record, pipeline.instance).is_good, "the sensor sends no heartbeat either"
    pipeline.clock.advance(3600)
    pipeline.poll()
    assert pipeline.later_poll().ok
    assert [title.partition(":")[0] for title in notes.titles[1:]] == ["over"]
    assert len(pipeline.mailed()) == 1


@pytest.mark.long
def test_after_a_pause_of_all_polls_the_first_one_raises_no_alarm(pipeline: Pipeline, world: World, event: int) -> None:
    """The machine was off for a night. An unpaid ticket is news for every tick."""
    world.sell(event, paid=False)
    assert pipeline.later_poll().ok
    pipeline.clock.advance(9 * 3600)
    observed = pipeline.call(observe_and_record, pipeline.instance)
    assert observed.late == ()
    assert pipeline.poll().ok


# -- ticks ------------------------------------------------------------------------------------------


def test_a_tick_stops_reading_when_its_time_is_over(pipeline: Pipeline, world: World) -> None:
    """KKTIX took long for its list. The books count as not read, and nothing is done about them."""
    events = [world.add_event(f"PyCon TW 2031 Registration: {name}") for name in ("Individual", "Corporate")]
    keys = [f"{EDITION}-individual-{events[0]}", f"{EDITION}-corporate-{events[1]}"]
    for event in events:
        world.sell(event, 3)
    pipeline.poll()
    guests = pipeline.guests()
    seconds = [0.0]
    limit = TimeLimit(36, clock=lambda: seconds[-1])
    world.faults.add("kktix", "hook", path="hosting_events$", action=lambda: seconds.append(37.0))
    mark = pipeline.mark()
    tick = pipeline.call(observe_and_record, pipeline.instance, limit=limit)
    assert pipeline.requests(mark) == 1
    assert set(tick.problems) == {
        f"{key}: the attendance books could not be read (not asked for: no time was left)" for key in keys
    }
    assert {decision.access for decision in tick.decisions.values()} == {()}
    assert limit.left == 0
    assert pipeline.guests() == guests


@pytest.mark.long
def test_the_event_that_was_read_longest_ago_is_read_first(pipeline: Pipeline, world: World) -> None:
    first, second = (world.add_event(f"PyCon TW 2031 Registration: {name}") for name in ("Individual", "Corporate"))
    pipeline.poll()
    world.sell(first)
    pipeline.later_poll()
    world.calls.clear()
    facts = pipeline.call(observe, history=RunHistory())
    assert list(facts.books) == [second, first]


@pytest.mark.long
def test_two_evaluations_at_once_do_no_harm(install: Install, world: World, event: int) -> None:
    """The first one outlasts Dagster's time-out and goes on. Even if both results were used, nobody is mailed twice."""
    pipeline = install(on_disk=True)
    world.sell(event)
    world.sell(event)
    both = []
    world.faults.add("kktix", "hook", path="attendance_books$", action=lambda: both.append(tick(pipeline)))
    both.append(tick(pipeline))
    requests = [list(data.run_requests or []) for data in both]
    assert [request.job_name for request in requests[0]] == [request.job_name for request in requests[1]]
    for request in (*requests[0], *requests[1]):
        launch(pipeline, request)
    pipeline.until_quiet()
    assert len(pipeline.mailed()) == 2
    assert pipeline.verdict() == []
