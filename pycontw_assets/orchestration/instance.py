"""The Dagster instance: where it is, how it is set up, and whether its sensor and daemon run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import AssetKey, DagsterInstance
from dagster._core.instance.ref import InstanceRef

from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.orchestration.run_history import read_run_history
from pycontw_assets.pipeline.checks import Finding
from pycontw_assets.pipeline.polling.remembered import last_tick
from pycontw_assets.pipeline.reconcile import RunHistory

if TYPE_CHECKING:
    from dagster._core.storage.defs_state import DefsStateStorage

# Run monitoring and limits keep a dead machine from blocking an event; retention keeps the storage bounded.
INSTANCE_CONFIG = """\
telemetry: {enabled: false}
nux: {enabled: false}
run_monitoring: {enabled: true, max_runtime_seconds: 3600}
freshness: {enabled: true}
concurrency:
  runs:
    max_concurrent_runs: 4
    tag_concurrency_limits:
      - {key: dagster/partition, limit: 1, value: {applyLimitPerUniqueValue: true}}
# Dagster's tables in fewer files, which stay open: half of the disk and of the CPU time of a run.
storage: {custom: {module: pycontw_assets.orchestration.storage.in_folder, class: FolderStorage, config: {}}}
# A run is forked from a process that has imported Dagster already: a third of its CPU time.
run_launcher: {module: pycontw_assets.orchestration.launching.fork_server, class: ForkServerLauncher}
# The runs print nothing, and capturing it costs two processes each; what happened is in the event log.
compute_logs: {module: dagster._core.storage.noop_compute_log_manager, class: NoOpComputeLogManager}
# The log lines of steps and decisions belong to the run; none of them can name a person (api/log.py).
python_logs: {managed_python_loggers: [pycontw_assets], python_log_level: INFO}
retention:
  sensor: {purge_after_days: {skipped: 1, started: 30, success: 30, failure: 30}}
"""
_LATE_POLLS, _DEAD_POLLS = 3, 12
_SENSOR, _DAEMONS = "kktix_orders_sensor", ("SENSOR", "QUEUED_RUN_COORDINATOR")
_DAEMON_PATIENCE = timedelta(minutes=5)


class _QuickRef(InstanceRef):
    """How this process opens an instance: the state of components is kept only where ``dagster.yaml`` says so.

    There are no components here, and Dagster's default place for their state loads a library for all kinds of file
    systems, which takes 0.05 CPU seconds. It is for this process alone: Dagster could not send it to another one.
    """

    @property
    def defs_state_storage(self) -> DefsStateStorage | None:
        return super().defs_state_storage if self.defs_state_storage_data else None


def open_instance(folder: Path) -> DagsterInstance:
    """Open the instance of a folder, which is set up when it is a new one."""
    prepare_instance(folder)
    return DagsterInstance.from_ref(_QuickRef._make(InstanceRef.from_dir(str(folder))))


def prepare_instance(folder: Path) -> None:
    """Make the folder of an instance, and its configuration, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / "dagster.yaml").exists():
        (folder / "dagster.yaml").write_text(INSTANCE_CONFIG)


def close_history(instance: DagsterInstance) -> None:
    """Close the files of runs and events, where they are files. They open again when they are needed."""
    for storage in (instance.run_storage, instance.event_log_storage):
        storage.dispose()


def read_machinery(folder: Path, interval_seconds: float) -> list[Finding]:
    """Read whether sensor and daemon run. A folder without an instance stays without one."""
    if not (folder / "dagster.yaml").exists():
        fix = "the first `pycontw-assets poll` or `dev` makes it"
        return [Finding("warn", "Dagster", "no instance yet", fix)]
    with DagsterInstance.from_config(str(folder)) as instance:
        return list(look_at_machinery(instance, interval_seconds, last_tick(folder)))


def read_history(folder: Path, ledger: Ledger) -> RunHistory:
    """Read the run history; none where there is no instance."""
    if not (folder / "dagster.yaml").exists():
        return RunHistory()
    with DagsterInstance.from_config(str(folder)) as instance:
        return read_run_history(instance, ledger)


def look_at_machinery(
    instance: DagsterInstance, interval_seconds: float, idle_since: datetime | None = None
) -> Iterator[Finding]:
    """Say whether sensor and daemon are at work, and when KKTIX was last looked at.

    ``idle_since``: when a poll looked that had nothing to record in Dagster.
    """
    yield _sensor(instance, interval_seconds)
    yield _last_tick(instance, interval_seconds, idle_since)
    yield _daemon(instance)


def _sensor(instance: DagsterInstance, interval_seconds: float) -> Finding:
    """Judge the sensor of the code location in use: the one that ticked lately. When none did, all are looked at.

    Dagster keeps a state for every location that the code was ever loaded under, also for those that nobody uses.
    """
    stored = instance.all_instigator_state() if instance.schedule_storage else ()
    states = sorted((state for state in stored if state.instigator_name == _SENSOR), key=_ticked_at)
    lately = _now() - _LATE_POLLS * interval_seconds
    in_use = [state for state in states[-1:] if _ticked_at(state) > lately] or states
    stopped = [_location_of(state) for state in in_use if state.status.value == "STOPPED"]
    if stopped:
        what = f"kktix_orders_sensor is switched off (code location {', '.join(sorted(stopped))})"
        fix = "switch it on in the UI, unless you poll from cron. To stop everything: `pycontw-assets pause`"
        return Finding("warn", "sensor", what, fix)
    return Finding("ok", "sensor", "kktix_orders_sensor is not switched off")


def _ticked_at(state: Any) -> float:
    return getattr(state.instigator_data, "last_tick_start_timestamp", None) or 0.0


def _location_of(state: Any) -> str:
    return str(state.origin.repository_origin.code_location_origin.location_name)


def _last_tick(instance: DagsterInstance, interval_seconds: float, idle_since: datetime | None) -> Finding:
    """Say when KKTIX was observed last. Sensor and ``poll`` record it alike; a poll without news does so hourly."""
    event = instance.get_latest_materialization_event(AssetKey("kktix"))
    if event is None:
        return Finding("warn", "last tick", "never", "run `pycontw-assets poll`, or start the daemon")
    age = _now() - max(event.timestamp, idle_since.timestamp() if idle_since else 0.0)
    what = f"{age / 60:.0f} min ago; the interval is {interval_seconds / 60:.0f} min"
    if age <= _LATE_POLLS * interval_seconds:
        return Finding("ok", "last tick", what)
    fix = "is KKTIX up? Does the daemon (or cron) run? Its log says why it does not tick"
    return Finding("warn" if age <= _DEAD_POLLS * interval_seconds else "FAIL", "last tick", what, fix)


def _daemon(instance: DagsterInstance) -> Finding:
    beats = instance.get_daemon_heartbeats()
    if not beats:
        return Finding("ok", "daemon", "never ran here: polls come from cron")
    oldest = min((beats[name].timestamp if name in beats else 0.0) for name in _DAEMONS)
    if _now() - oldest > _DAEMON_PATIENCE.total_seconds():
        return Finding("warn", "daemon", "sent no heartbeat for minutes", "start dagster-daemon, unless cron polls")
    return Finding("ok", "daemon", "alive")


def _now() -> float:
    return datetime.now(timezone.utc).timestamp()
