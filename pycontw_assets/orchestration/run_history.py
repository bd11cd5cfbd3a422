"""Read for a tick what Dagster remembers of runs and materializations; report dead runs as failed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timezone
from typing import get_args

from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus, RunRecord, RunsFilter

from pycontw_assets.ledger.locks import is_dead
from pycontw_assets.pipeline.reconcile import ACCESS_CHAIN, AttemptKind, Attempts, RunHistory, table_asset
from pycontw_assets.records import FAMILIES

PARTITION_TAG = "dagster/partition"
OWNER_TAG = "pycontw/owner"
_RUNS_LOOKED_BACK = 50  # of one event: enough for the pause to reach its cap
_MOST_RUNS = 500
_AT_WORK = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
_ENDED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
_TABLES = tuple(map(table_asset, FAMILIES))
_ASSETS_OF: dict[AttemptKind, frozenset[str]] = {"access": frozenset(ACCESS_CHAIN), "load": frozenset(_TABLES)}


def read_run_history(instance: DagsterInstance) -> RunHistory:
    """Read a few queries' worth per tick, and one more per event that failed lately. Changes nothing."""
    unfinished = instance.get_run_records(RunsFilter(statuses=_AT_WORK), limit=_MOST_RUNS)
    dead = [record.dagster_run for record in unfinished if _has_died(record)]
    dead_ids = {run.run_id for run in dead}
    running = [record.dagster_run for record in unfinished if record.dagster_run.run_id not in dead_ids]
    failed = instance.get_run_records(RunsFilter(statuses=[DagsterRunStatus.FAILURE]), limit=_MOST_RUNS)
    failed_keys = {record.dagster_run.tags.get(PARTITION_TAG) for record in failed}
    keys = {run.tags.get(PARTITION_TAG) for run in (*running, *dead)} | failed_keys
    return RunHistory(
        materialized={
            asset: frozenset(instance.get_materialized_partitions(AssetKey(asset)))
            for asset in (*ACCESS_CHAIN, *_TABLES)
        },
        running=frozenset(asset for run in running for asset in _assets_of(run)),
        attempts_by={
            (key, kind): attempts
            for key in keys
            if key is not None
            for kind, attempts in _attempts(instance, key, running, dead, key in failed_keys)
        },
        template_was_made=instance.get_latest_materialization_event(AssetKey("klaviyo_template")) is not None,
        dead_runs=tuple(sorted(dead_ids)),
    )


def fail_dead_runs(instance: DagsterInstance, run_ids: Collection[str]) -> None:
    """Report these runs as failed: left alone, each would keep its event waiting for ever."""
    for run_id in run_ids:
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            instance.report_run_failed(run, "The process that ran this died. The next tick asks again.")


def _attempts(
    instance: DagsterInstance,
    key: str,
    running: Collection[DagsterRun],
    dead: Collection[DagsterRun],
    has_failed: bool,
) -> Iterator[tuple[AttemptKind, Attempts]]:
    records: list[RunRecord] = []
    if has_failed:
        of_event = RunsFilter(tags={PARTITION_TAG: key}, statuses=_ENDED)
        records = list(instance.get_run_records(of_event, limit=_RUNS_LOOKED_BACK))
    for kind in get_args(AttemptKind):
        assets = _ASSETS_OF[kind]
        is_running = any(assets & _assets_of(run) for run in running if run.tags.get(PARTITION_TAG) == key)
        died = sum(bool(assets & _assets_of(run)) for run in dead if run.tags.get(PARTITION_TAG) == key)
        yield kind, _count_failures(records, assets, is_running, died)


def _count_failures(records: Collection[RunRecord], assets: frozenset[str], is_running: bool, died: int) -> Attempts:
    """Failures since the last success, the newest first; a run that died is the newest of them."""
    failures, last_ended_at = died, datetime.now(timezone.utc) if died else None
    for record in records:
        if not assets & _assets_of(record.dagster_run):
            continue
        if record.dagster_run.status != DagsterRunStatus.FAILURE:
            break
        failures += 1
        last_ended_at = last_ended_at or _ended_at(record)
    return Attempts(is_running, failures, last_ended_at)


def _ended_at(record: RunRecord) -> datetime:
    return datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), timezone.utc)


def _assets_of(run: DagsterRun) -> frozenset[str]:
    if run.asset_selection:
        return frozenset(key.to_user_string() for key in run.asset_selection)
    if run.job_name == "grant_access_job":
        return frozenset(ACCESS_CHAIN)
    return frozenset({run.job_name.removeprefix("load_").removesuffix("_job")})


def _has_died(record: RunRecord) -> bool:
    owner = record.dagster_run.tags.get(OWNER_TAG)
    return owner is not None and is_dead(owner)
