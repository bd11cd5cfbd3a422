"""Dagster's history stays bounded: what is old and stands for nothing present leaves it, a little with every tick.

Counted, not dated: no waits of a sale and no clock that jumps makes more of it. Nothing depends on what goes: progress
is in the ledger, the latest materialization of every partition stays, and a failing event has newer attempts to count.

Dagster deletes runs, but neither their files nor their checks, and of what a tick reports outside a run nothing at all.
Those leave by its own tables; docs/maintenance.md has the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from dagster import AssetKey, AssetRecordsFilter, DagsterEventType, DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)

ENDED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
_OUTSIDE_RUNS = ""  # the run id of what was reported by a tick
_events, _tags, _checks = SqlEventLogStorageTable.c, AssetEventTagsTable, AssetCheckExecutionsTable


@dataclass(frozen=True, slots=True)
class Kept:
    """How many of the newest stay. Nothing happens before ``at_once`` more have gathered."""

    runs: int = 1000
    observations: int = 10_000
    at_once: int = 20


KEPT = Kept()


def prune_dagster_storage(instance: DagsterInstance, kept: Kept = KEPT) -> None:
    _forget_runs(instance, kept)
    storage = instance.event_log_storage
    if isinstance(storage, SqlEventLogStorage):
        # With SQLite the same is stored twice, in files of their own; elsewhere the second pass finds nothing.
        for connection in (storage.index_connection(), storage.run_connection(_OUTSIDE_RUNS)):
            _forget_sightings(connection, kept)


# -- runs -------------------------------------------------------------------------------------------


def _forget_runs(instance: DagsterInstance, kept: Kept) -> None:
    surplus = instance.get_runs_count(RunsFilter(statuses=ENDED)) - kept.runs
    if surplus < kept.at_once:
        return
    needed = set(_runs_needed(instance))
    # Those that are needed gather among the oldest: look past them. Several ticks share what an old home left behind.
    most = min(surplus, 2 * kept.at_once) + len(needed)
    oldest = instance.get_run_records(RunsFilter(statuses=ENDED), limit=most, ascending=True)
    for run_id in [record.dagster_run.run_id for record in oldest[:surplus]]:
        if run_id not in needed:
            _forget_run(instance, run_id)


def _runs_needed(instance: DagsterInstance) -> Iterator[str]:
    """Runs with the latest materialization of an asset or of one of its partitions."""
    for asset in instance.get_asset_keys():
        latest = instance.get_latest_materialization_event(asset)
        yield from [latest.run_id] if latest else []
        yield from _runs_of_partitions(instance, asset)


def _runs_of_partitions(instance: DagsterInstance, asset: AssetKey) -> Iterator[str]:
    events = instance.get_latest_storage_id_by_partition(asset, DagsterEventType.ASSET_MATERIALIZATION)
    if events:
        wanted = AssetRecordsFilter(asset, storage_ids=list(events.values()))
        yield from (record.run_id for record in instance.fetch_materializations(wanted, limit=len(events)).records)


def _forget_run(instance: DagsterInstance, run_id: str) -> None:
    instance.delete_run(run_id)
    storage = instance.event_log_storage
    if isinstance(storage, SqlEventLogStorage):
        with storage.index_connection() as db:
            db.execute(sa.delete(_checks).where(_checks.c.run_id == run_id))
    if isinstance(storage, SqliteEventLogStorage):
        for suffix in ("", "-wal", "-shm"):
            Path(storage.path_for_shard(run_id) + suffix).unlink(missing_ok=True)


# -- what ticks reported ----------------------------------------------------------------------------


def _forget_sightings(connection: AbstractContextManager[sa.Connection], kept: Kept) -> None:
    outside = _events.run_id == _OUTSIDE_RUNS
    newest_first = sa.select(_events.id).where(outside).order_by(_events.id.desc())
    with connection as db:
        if db.scalar(newest_first.offset(kept.observations + kept.at_once).limit(1)) is None:
            return
        first_to_go = db.scalar(newest_first.offset(kept.observations).limit(1))
        latest = (
            sa.select(sa.func.max(_events.id))
            .where(outside)
            .group_by(_events.asset_key, _events.partition, _events.dagster_event_type)
        )
        old = sa.and_(outside, _events.id <= first_to_go, _events.id.not_in(latest))
        gone = sa.select(_events.id).where(old)
        db.execute(sa.delete(_tags).where(_tags.c.event_id.in_(gone)))
        of_check = (_checks.c.asset_key, _checks.c.check_name, _checks.c.partition)
        verdicts = sa.select(sa.func.max(_checks.c.id)).group_by(*of_check)
        of_ticks = (_checks.c.run_id == _OUTSIDE_RUNS, _checks.c.evaluation_event_storage_id.in_(gone))
        db.execute(sa.delete(_checks).where(*of_ticks, _checks.c.id.not_in(verdicts)))
        db.execute(sa.delete(SqlEventLogStorageTable).where(old))
