"""Read for a tick what Dagster remembers of runs and materializations; report dead runs as failed.

Whether a run is at work is not Dagster's to say: its process may have died, or work on after Dagster gave it up. The
run's lock in the ledger decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import get_args

from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus, RunRecord, RunsFilter

from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import TTL, LockName, drop_locks_for, is_dead, living_owners, work_of
from pycontw_assets.pipeline.reconcile import ACCESS_CHAIN, AttemptKind, Attempts, RunHistory, table_asset
from pycontw_assets.records import FAMILIES

PARTITION_TAG = "dagster/partition"
OWNER_TAG = "pycontw/owner"
# As Dagster spells the tag and its value; neither is part of the public interface.
_FAILURE_TAG, _INTERRUPTED = "dagster/failure_reason", "UNEXPECTED_TERMINATION"
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
_TEMPLATE = "klaviyo_template"
_ASSETS_OF: dict[AttemptKind, frozenset[str]] = {"access": frozenset(ACCESS_CHAIN), "load": frozenset(_TABLES)}
_LOCK_OF: dict[AttemptKind, LockName] = {"access": LockName.ACCESS_RUN, "load": LockName.TABLE_RUN}
_RUN_LOCKS = frozenset({*_LOCK_OF.values(), LockName.TEMPLATE_RUN})
_OUR_ASSETS = frozenset({*ACCESS_CHAIN, *_TABLES, _TEMPLATE})
# Longer than Dagster's own time-out (three minutes), so that no run is failed here that Dagster still waits for.
_START_TIMEOUT = timedelta(minutes=5)
_QUEUE_DAEMON = "QUEUED_RUN_COORDINATOR"


def lock_of(asset: str) -> LockName:
    """Return the lock that a run holds from the first step that makes this asset."""
    return next((_LOCK_OF[kind] for kind, assets in _ASSETS_OF.items() if asset in assets), LockName.TEMPLATE_RUN)


def read_run_history(instance: DagsterInstance, ledger: Ledger) -> RunHistory:
    """Read a few queries' worth per tick, and one more per event that failed lately. Changes nothing."""
    at_work = living_owners(ledger, _RUN_LOCKS)
    records = instance.get_run_records(RunsFilter(statuses=_AT_WORK), limit=_MOST_RUNS)
    unfinished = [record for record in records if assets_of(record.dagster_run) & _OUR_ASSETS]
    holders = frozenset(map(work_of, at_work.values()))
    dead = [record.dagster_run for record in unfinished if _has_died(record, holders, instance, ledger.clock())]
    dead_ids = {run.run_id for run in dead}
    running = [record for record in unfinished if record.dagster_run.run_id not in dead_ids]
    running += _at_work_after_their_end(instance, holders, running)
    failed = instance.get_run_records(RunsFilter(statuses=[DagsterRunStatus.FAILURE]), limit=_MOST_RUNS)
    failed_keys = {record.dagster_run.tags.get(PARTITION_TAG) for record in failed}
    runs = (*(record.dagster_run for record in running), *dead)
    keys = {run.tags.get(PARTITION_TAG) for run in runs} | failed_keys | {key for _, key in at_work}
    assets_running = {asset for record in running for asset in assets_of(record.dagster_run)}
    return RunHistory(
        materialized={
            asset: frozenset(instance.get_materialized_partitions(AssetKey(asset)))
            for asset in (*ACCESS_CHAIN, *_TABLES)
        },
        running=frozenset(assets_running | ({_TEMPLATE} if (LockName.TEMPLATE_RUN, "") in at_work else set())),
        attempts_by={
            (key, kind): attempts
            for key in keys
            if key
            for kind, attempts in _attempts(instance, key, at_work, running, dead, has_failed=key in failed_keys)
        },
        template_was_made=instance.get_latest_materialization_event(AssetKey(_TEMPLATE)) is not None,
        dead_runs=tuple(sorted(dead_ids)),
    )


def _at_work_after_their_end(
    instance: DagsterInstance, holders: frozenset[str], unfinished: Collection[RunRecord]
) -> list[RunRecord]:
    """Return the runs that Dagster gave up, for example after ``max_runtime_seconds``, and whose process works on."""
    others = holders - {record.dagster_run.run_id for record in unfinished}
    records = (instance.get_run_record_by_id(run_id) for run_id in sorted(others))
    return [record for record in records if record is not None]


def fail_dead_runs(instance: DagsterInstance, run_ids: Collection[str], *, ledger: Ledger) -> None:
    """Report these runs as failed: left alone, each would keep its event waiting for ever.

    A process that only slept finds its lock gone when it wakes up, and stops.
    """
    drop_locks_for(ledger, run_ids)
    for run_id in run_ids:
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            text = "No process works on this run: it died, or it never came up. The next tick asks again."
            instance.report_run_failed(run, text)


def was_interrupted(run: DagsterRun | None) -> bool:
    """Whether a signal or a person ended it. That is no failure of its event."""
    if run is None or run.status == DagsterRunStatus.CANCELED:
        return run is not None
    return run.tags.get(_FAILURE_TAG) == _INTERRUPTED


def _attempts(
    instance: DagsterInstance,
    key: str,
    at_work: Mapping[tuple[LockName, str], str],
    running: Collection[RunRecord],
    dead: Collection[DagsterRun],
    *,
    has_failed: bool,
) -> Iterator[tuple[AttemptKind, Attempts]]:
    records: list[RunRecord] = []
    if has_failed:
        of_event = RunsFilter(tags={PARTITION_TAG: key}, statuses=_ENDED)
        records = list(instance.get_run_records(of_event, limit=_RUNS_LOOKED_BACK))
    for kind in get_args(AttemptKind):
        assets = _ASSETS_OF[kind]
        since = [record.create_timestamp for record in running if _is_about(record.dagster_run, key, assets)]
        died = sum(_is_about(run, key, assets) for run in dead)
        attempts = _count_failures(records, assets, died)
        is_running = bool(since) or (_LOCK_OF[kind], key) in at_work
        yield kind, replace(attempts, running=is_running, running_since=min(since, default=None))


def _is_about(run: DagsterRun, key: str, assets: frozenset[str]) -> bool:
    return run.tags.get(PARTITION_TAG) == key and bool(assets & assets_of(run))


def _count_failures(records: Collection[RunRecord], assets: frozenset[str], died: int) -> Attempts:
    """Failures since the last success, the newest first; a run that died is the newest of them."""
    failures, last_ended_at = died, datetime.now(timezone.utc) if died else None
    for record in records:
        if not assets & assets_of(record.dagster_run) or was_interrupted(record.dagster_run):
            continue
        if record.dagster_run.status != DagsterRunStatus.FAILURE:
            break
        failures += 1
        last_ended_at = last_ended_at or _ended_at(record)
    return Attempts(failures=failures, last_ended_at=last_ended_at)


def _ended_at(record: RunRecord) -> datetime:
    return datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), timezone.utc)


def assets_of(run: DagsterRun) -> frozenset[str]:
    """Return the names of the assets that a run makes."""
    if run.asset_selection:
        return frozenset(key.to_user_string() for key in run.asset_selection)
    if run.job_name == "grant_access_job":
        return frozenset(ACCESS_CHAIN)
    return frozenset({run.job_name.removeprefix("load_").removesuffix("_job")})


def _has_died(record: RunRecord, holders: frozenset[str], instance: DagsterInstance, now: datetime) -> bool:
    """Whether no process works on it any more, and none will."""
    run = record.dagster_run
    if run.run_id in holders:
        return False
    owner = run.tags.get(OWNER_TAG)
    if owner is not None and is_dead(owner):
        return True
    if run.status == DagsterRunStatus.QUEUED:
        # The daemon decides how long it waits there. Without one nobody will ever start it.
        beat = instance.get_daemon_heartbeats().get(_QUEUE_DAEMON)
        seen = max(_last_sign(record, instance), beat.timestamp if beat else 0.0)
        return now.timestamp() - seen > _START_TIMEOUT.total_seconds()
    # A lock is taken by the first step and dropped after the last one. Before and after that the run has none.
    patience = TTL
    if run.status in (DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING):
        patience = max(_START_TIMEOUT, timedelta(seconds=instance.run_monitoring_start_timeout_seconds))
    return now.timestamp() - _last_sign(record, instance) > patience.total_seconds()


def _last_sign(record: RunRecord, instance: DagsterInstance) -> float:
    """Return when the run, or Dagster about it, said something last."""
    page = instance.get_records_for_run(record.dagster_run.run_id, limit=1, ascending=False)
    return max([record.update_timestamp.timestamp(), *(entry.timestamp for entry in page.records)])
