"""Show an import in Dagster: its partition in the same lineage as those of polled events, and two runs that fill it."""

from __future__ import annotations

from collections.abc import Iterator

from dagster import AssetKey, DagsterInstance, Definitions, RunRequest

from pycontw_assets.orchestration.observations import family_events, kktix_events
from pycontw_assets.orchestration.poll import RunReport, execute
from pycontw_assets.pipeline.reconcile import ACCESS_CHAIN, table_asset
from pycontw_assets.records import EventPartition


def add_partition(instance: DagsterInstance, partition: EventPartition) -> None:
    """Make the key known to the orders and to the family's table, as a tick does for an event."""
    for definition in (kktix_events, family_events[partition.family]):
        name = str(definition.name)
        if partition.key not in instance.get_dynamic_partitions(name):
            instance.add_dynamic_partitions(name, [partition.key])


def remove_partition(instance: DagsterInstance, partition: EventPartition) -> None:
    """Delete the key of an import that was taken away. Its history stays."""
    for definition in (kktix_events, family_events[partition.family]):
        name = str(definition.name)
        if partition.key in instance.get_dynamic_partitions(name):
            instance.delete_dynamic_partition(name, partition.key)


def is_shown(instance: DagsterInstance, partition: EventPartition) -> bool:
    """Whether orders and table of the import were materialized."""
    assets = (ACCESS_CHAIN[0], table_asset(partition.family))
    return all(partition.key in instance.get_materialized_partitions(AssetKey(asset)) for asset in assets)


def load_import(definitions: Definitions, instance: DagsterInstance, partition: EventPartition) -> Iterator[RunReport]:
    """Show the stored orders of the import, then load its table. Yield how each run went; stop at a failure."""
    add_partition(instance, partition)
    orders = RunRequest(
        job_name="grant_access_job", partition_key=partition.key, asset_selection=[AssetKey(ACCESS_CHAIN[0])]
    )
    rows = RunRequest(job_name=f"load_{table_asset(partition.family)}_job", partition_key=partition.key)
    for request in (orders, rows):
        report = execute(definitions, instance, request)
        yield report
        if not report.ok:
            return
