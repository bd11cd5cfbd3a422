"""The sensor has a constant cost, treats each event alone, explains skips, and heals without a memory."""

from __future__ import annotations

from datetime import timedelta

import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetKey,
    DagsterRunStatus,
    Failure,
    RunRequest,
    SensorDefinition,
    build_sensor_context,
)
from dagster._core.definitions.sensor_definition import SensorExecutionData

from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.ledger.locks import LockName, drop_lock, take_lock
from pycontw_assets.load.schema import attendee_tables
from pycontw_assets.orchestration.resources import resources_of
from pycontw_assets.pipeline.reconcile import ACCESS_CHAIN, OF_DISCORD
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION, Pipeline, TestClock

TABLE = "ods_kktix_ticket_individual_attendees"


@pytest.fixture
def pipeline(install: Install) -> Pipeline:
    """Set up a pipeline on disk: a tick needs a reference to its instance."""
    return install(on_disk=True)


def tick(pipeline: Pipeline) -> SensorExecutionData:
    """Evaluate the sensor once, and add its partitions as the daemon does before it launches anything."""
    data = evaluate(pipeline)
    for request in data.dynamic_partitions_requests or []:
        pipeline.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
    return data


def evaluate(pipeline: Pipeline) -> SensorExecutionData:
    sensor = pipeline.definitions.resolve_sensor_def("kktix_orders_sensor")
    assert isinstance(sensor, SensorDefinition)
    with build_sensor_context(
        instance=pipeline.instance,
        instance_ref=pipeline.instance.get_ref(),
        definitions=pipeline.definitions,
        resources=resources_of(pipeline.root, pipeline.settings),
    ) as context:
        return sensor.evaluate_tick(context)


def launch(pipeline: Pipeline, request: RunRequest) -> None:
    job = pipeline.definitions.resolve_job_def(str(request.job_name))
    result = job.execute_in_process(
        instance=pipeline.instance,
        partition_key=request.partition_key,
        asset_selection=list(request.asset_selection) if request.asset_selection else None,
        tags=dict(request.tags),
        raise_on_error=False,
    )
    assert result.success


def key_of(event: int) -> str:
    return f"{EDITION}-individual-{event}"


def asked_for(data: SensorExecutionData) -> list[tuple[str | None, str | None]]:
    return [(request.job_name, request.partition_key) for request in data.run_requests or []]


def test_a_new_event_gets_partitions_and_an_access_run_then_rest(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event)
    data = tick(pipeline)
    assert asked_for(data) == [("klaviyo_template_job", None), ("grant_access_job", key_of(event))]
    for definition in ("kktix_events", "kktix_individual_events"):
        assert pipeline.instance.get_dynamic_partitions(definition) == [key_of(event)]
    assert [key.to_user_string() for key in data.run_requests[1].asset_selection or []] == [
        asset for asset in ACCESS_CHAIN if asset not in OF_DISCORD
    ]
    for request in data.run_requests or []:
        launch(pipeline, request)
    assert pipeline.verdict() == []
    load = tick(pipeline)
    assert asked_for(load) == [(f"load_{TABLE}_job", key_of(event))]
    launch(pipeline, load.run_requests[0])
    idle = tick(pipeline)
    assert asked_for(idle) == []
    assert idle.skip_message == f"{key_of(event)}: 1 attendees known, nothing new"


@pytest.mark.thorough
def test_every_tick_leaves_an_observation_of_kktix_and_of_each_event(
    pipeline: Pipeline, world: World, event: int
) -> None:
    world.sell(event, 2)
    world.add_event("PyCon TW 2031 Volunteer Party")
    recorded = [entry for entry in tick(pipeline).asset_events if not isinstance(entry, AssetCheckEvaluation)]
    seen = {str(entry.asset_key.to_user_string()): entry for entry in recorded}
    assert seen["kktix"].metadata["unmatched_events"].value == 1
    assert seen["raw_kktix_orders"].partition == key_of(event)
    assert seen["raw_kktix_orders"].metadata["in_the_book"].value == 2


@pytest.mark.thorough
def test_an_event_with_a_run_in_flight_is_not_asked_for_again(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event)
    [_, request] = tick(pipeline).run_requests or []
    run = pipeline.instance.create_run_for_job(
        pipeline.definitions.resolve_job_def("grant_access_job"),
        tags={"dagster/partition": key_of(event), **request.tags},
        status=DagsterRunStatus.STARTED,
    )
    data = tick(pipeline)
    assert asked_for(data) == [("klaviyo_template_job", None)]
    pipeline.instance.report_run_failed(run)
    assert ("grant_access_job", key_of(event)) in asked_for(tick(pipeline))


@pytest.mark.thorough
def test_a_tick_costs_the_same_for_any_number_of_tickets(pipeline: Pipeline, world: World, event: int) -> None:
    other = world.add_event("PyCon TW 2031 Registration: Corporate")
    tick(pipeline)  # the very first one also asks Klaviyo whether the ledger was lost
    costs = []
    for sold in (0, 1, 30):
        world.sell(event, sold)
        world.sell(other, sold, paid=False)
        mark = pipeline.mark()
        tick(pipeline)
        costs.append(pipeline.requests(mark))
    assert costs == [1 + 2 * 2] * 3


@pytest.mark.thorough
def test_without_kktix_the_tick_fails_and_says_why(pipeline: Pipeline, world: World, event: int) -> None:
    world.faults.add("kktix", "status", times=None, status=503)
    with pytest.raises(Failure) as caught:
        tick(pipeline)
    assert caught.value.description == "KKTIX: list events: answered 503"
    world.faults.clear()
    assert asked_for(tick(pipeline))


@pytest.mark.long
def test_a_failed_event_is_tried_again_later_for_its_missing_steps(
    pipeline: Pipeline, world: World, event: int, clock: TestClock
) -> None:
    pipeline.poll()
    world.sell(event)
    world.faults.add("klaviyo", "status", path="campaigns", times=None)
    for _ in range(2):
        clock.skipped = 0
        pipeline.poll()
    clock.skipped = 0
    waiting = tick(pipeline)
    assert asked_for(waiting) == []
    assert "failed 2 times, next attempt at" in str(waiting.skip_message)
    clock.advance(timedelta(minutes=2).total_seconds())
    [request] = tick(pipeline).run_requests or []
    assert [key.to_user_string() for key in request.asset_selection or []] == ["klaviyo_campaign"]


def loads(data: SensorExecutionData) -> list[RunRequest]:
    return [request for request in data.run_requests or [] if str(request.job_name).startswith("load_")]


def read_orders(pipeline: Pipeline, data: SensorExecutionData) -> None:
    """Do the first step of the access runs that a tick asked for."""
    access = [request for request in data.run_requests or [] if request.job_name == "grant_access_job"]
    for request in access:
        launch(pipeline, request._replace(asset_selection=[AssetKey("raw_kktix_orders")]))
    assert access


@pytest.mark.long
def test_a_table_follows_its_orders_once_and_only_when_their_content_changed(
    pipeline: Pipeline, world: World, event: int, clock: TestClock
) -> None:
    world.sell(event, paid=False)  # every tick asks for an access run: the ticket may be paid by then
    asked = []
    for sold in (0, 0, 0, 1, 0, 0):
        clock.advance(300)
        world.sell(event, sold)
        data = tick(pipeline)
        read_orders(pipeline, data)
        for request in loads(data):
            launch(pipeline, request)
        asked.append(len(loads(data)))
    assert asked == [0, 1, 0, 0, 1, 0], "with the tick after the orders changed, and not again"


@pytest.mark.long
def test_in_a_rush_no_table_is_behind_for_longer_than_to_the_next_tick(
    pipeline: Pipeline, world: World, event: int, clock: TestClock
) -> None:
    """Every tick has newcomers, and every load begins before the orders of its tick were read.

    The condition of Dagster that the tables had before forgot such an update, and the sensor left it to the condition
    while there was an access run to ask for: to the end of the rush, and longer while a ticket stayed unpaid.
    """
    world.sell(event, paid=False)
    read_orders(pipeline, tick(pipeline))
    for sold in (2, 3):
        clock.advance(300)
        world.sell(event)
        data = tick(pipeline)
        for request in loads(data):
            launch(pipeline, request)
        assert rows(pipeline, event) == sold - 1, "all that the tick before has read"
        read_orders(pipeline, data)
    clock.advance(300)
    for request in loads(tick(pipeline)):
        launch(pipeline, request)
    assert rows(pipeline, event) == 3


def test_orders_that_change_while_a_table_is_loaded_are_loaded_after_it(
    pipeline: Pipeline, world: World, event: int, clock: TestClock
) -> None:
    world.sell(event)
    read_orders(pipeline, tick(pipeline))
    run = pipeline.instance.create_run_for_job(
        pipeline.definitions.resolve_job_def(f"load_{TABLE}_job"),
        tags={"dagster/partition": key_of(event)},
        status=DagsterRunStatus.STARTED,
    )
    held = (pipeline.ledger, LockName.TABLE_RUN, key_of(event))
    take_lock(*held, owner=f"elsewhere/1/1/{run.run_id}", ttl=timedelta(hours=1))
    world.sell(event)
    clock.advance(300)
    data = tick(pipeline)
    assert loads(data) == [], "one at a time"
    read_orders(pipeline, data)
    pipeline.instance.report_run_canceled(run)
    drop_lock(*held, owner=f"elsewhere/1/1/{run.run_id}")
    [load] = loads(tick(pipeline))
    launch(pipeline, load)
    assert rows(pipeline, event) == 2


def rows(pipeline: Pipeline, event: int) -> int:
    table = attendee_tables(load_policy().columns)["individual"]
    return pipeline.root.warehouse.partition_rows(table, key_of(event))
