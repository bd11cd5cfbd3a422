"""``kktix_orders_sensor``: looks at the world every five minutes and asks for what is due. A reconciler, no memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    AssetSelection,
    AutomationConditionSensorDefinition,
    DagsterInstance,
    DefaultSensorStatus,
    DynamicPartitionsDefinition,
    MetadataValue,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from pycontw_assets.alerts.heartbeat import beat
from pycontw_assets.orchestration.assets import POLL_TAG, family_events, kktix_events
from pycontw_assets.orchestration.jobs import jobs
from pycontw_assets.orchestration.kktix_checks import changed_kktix_verdicts
from pycontw_assets.orchestration.metadata import bullets
from pycontw_assets.orchestration.run_recording import observe_and_record, send_alerts
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.pipeline.maintenance import run_maintenance
from pycontw_assets.pipeline.observe import Tick
from pycontw_assets.pipeline.reconcile import summarize, table_asset
from pycontw_assets.pipeline.redaction import guarded
from pycontw_assets.records import FAMILIES


def access_requests(tick: Tick, poll_id: str) -> Iterator[RunRequest]:
    """One access run per event that is due, only for the assets that are."""
    tags = {POLL_TAG: poll_id}
    if tick.template_due:
        yield RunRequest(job_name="klaviyo_template_job", tags=tags)
    for key, decision in sorted(tick.decisions.items()):
        if decision.access:
            assets = [AssetKey(name) for name in decision.access]
            yield RunRequest(job_name="grant_access_job", partition_key=key, asset_selection=assets, tags=tags)


def load_requests(tick: Tick, poll_id: str) -> Iterator[RunRequest]:
    """One load run per table partition that is behind."""
    for key, decision in sorted(tick.decisions.items()):
        if decision.load:
            job_name = f"load_{table_asset(tick.facts[key].partition.family)}_job"
            yield RunRequest(job_name=job_name, partition_key=key, tags={POLL_TAG: poll_id})


def partition_keys(tick: Tick) -> dict[str, list[str]]:
    """Dynamic partitions definition -> keys that must exist in it."""
    partitions = [fact.partition for fact in tick.facts.values()]
    families = {
        str(family_events[family].name): [p.key for p in partitions if p.family == family] for family in FAMILIES
    }
    return {str(kktix_events.name): [p.key for p in partitions], **families}


def missing_partitions(tick: Tick, instance: DagsterInstance) -> dict[str, list[str]]:
    """Of these keys, the ones that Dagster does not have yet."""
    missing = {
        name: sorted(set(keys) - set(instance.get_dynamic_partitions(name)))
        for name, keys in partition_keys(tick).items()
    }
    return {name: keys for name, keys in missing.items() if keys}


def observations(tick: Tick) -> Iterator[AssetObservation | AssetMaterialization]:
    """What this tick saw, so that "polled, nothing new" is visible: one for the shop, one per event."""
    unmatched = [
        f"| {event.event_id} | {event.name.replace('|', '/')} | {event.reason} |" for event in tick.discovery.unmatched
    ]
    yield AssetMaterialization(
        "kktix",
        # The shop has no version: a constant one keeps the orders from looking out of date after every tick.
        tags={DATA_VERSION_TAG: "listed"},
        metadata={
            "edition": tick.discovery.edition or "none",
            "events": len(tick.discovery.partitions),
            "requests": tick.requests,
            "unmatched_events": len(unmatched),
            "left_alone": MetadataValue.md("\n".join(["| id | name | why |", "| --- | --- | --- |", *unmatched])),
            "problems": bullets((*tick.problems, *tick.warnings)),
        },
    )
    for key, fact in sorted(tick.facts.items()):
        if fact.book is not None:
            metadata: dict[str, Any] = {"in_the_book": len(fact.book.ids), "decision": tick.decisions[key].reason}
            yield AssetObservation("raw_kktix_orders", partition=key, metadata=metadata)


# As Dagster spells the tag; its constant is not part of the public interface.
DATA_VERSION_TAG = "dagster/data_version"


def new_poll_id(now: datetime) -> str:
    return f"{now:%Y%m%dT%H%M%S.%f}"


def orders_sensor(interval_seconds: int) -> SensorDefinition:
    """The sensor, waking every ``interval_seconds``."""

    @sensor(
        name="kktix_orders_sensor",
        jobs=jobs,
        minimum_interval_seconds=interval_seconds,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"services"},
        description="Compares KKTIX with the ledger and asks for what is due: orders, access, invitations, tables.",
    )
    def kktix_orders_sensor(context: SensorEvaluationContext) -> SensorResult:
        with guarded():
            services: Services = context.resources.services
            tick = observe_and_record(services, context.instance)
            run_maintenance(services, context.instance, tick)
            send_alerts(services, tick.facts)
            poll_id = new_poll_id(services.clock())
            seen = [*observations(tick), *changed_kktix_verdicts(services, context.instance, tick)]
            # The tables follow by their own condition; the sensor repairs those that did not.
            requests = [*access_requests(tick, poll_id), *_repairs(tick, poll_id)]
            if tick.is_good:
                beat(services.settings.heartbeat_url)
            return SensorResult(
                run_requests=requests,
                skip_reason=None if requests else summarize(tick.decisions),
                dynamic_partitions_requests=[
                    DynamicPartitionsDefinition(name=name).build_add_request(keys)
                    for name, keys in missing_partitions(tick, context.instance).items()
                ],
                asset_events=seen,
            )

    return kktix_orders_sensor


def _repairs(tick: Tick, poll_id: str) -> Iterator[RunRequest]:
    """Loads that nobody will ask for: where no access run of this tick is about to renew the orders first."""
    for request in load_requests(tick, poll_id):
        if request.partition_key and not tick.decisions[request.partition_key].access:
            yield request


tables_sensor = AutomationConditionSensorDefinition(
    "attendee_tables_sensor",
    target=AssetSelection.assets(*map(table_asset, FAMILIES)),
    default_status=DefaultSensorStatus.RUNNING,
    description="Lets each table follow its event's orders whenever their content changed.",
)
