"""The Dagster instance: where it is, how it is set up, and whether its sensor and daemon run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from dagster import AssetKey, DagsterInstance

from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.orchestration.run_history import read_run_history
from pycontw_assets.pipeline.checks import Finding
from pycontw_assets.pipeline.reconcile import RunHistory

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
# The runs print nothing, and capturing it costs two processes each; what happened is in the event log.
compute_logs: {module: dagster._core.storage.noop_compute_log_manager, class: NoOpComputeLogManager}
# The log lines of steps and decisions belong to the run; none of them can name a person (api/log.py).
python_logs: {managed_python_loggers: [pycontw_assets], python_log_level: INFO}
retention:
  sensor: {purge_after_days: {skipped: 7, started: 30, success: 30, failure: 30}}
"""
_LATE_POLLS, _DEAD_POLLS = 3, 12
_SENSOR, _DAEMONS = "kktix_orders_sensor", ("SENSOR", "QUEUED_RUN_COORDINATOR")
_DAEMON_PATIENCE = timedelta(minutes=5)


def open_instance(folder: Path) -> DagsterInstance:
    """Open the instance of a folder, which is set up when it is a new one."""
    prepare_instance(folder)
    return DagsterInstance.from_config(str(folder))


def prepare_instance(folder: Path) -> None:
    """Make the folder of an instance, and its configuration, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / "dagster.yaml").exists():
        (folder / "dagster.yaml").write_text(INSTANCE_CONFIG)


def read_machinery(folder: Path, interval_seconds: float) -> list[Finding]:
    """Read whether sensor and daemon run. A folder without an instance stays without one."""
    if not (folder / "dagster.yaml").exists():
        fix = "the first `pycontw-assets poll` or `dev` makes it"
        return [Finding("warn", "Dagster", "no instance yet", fix)]
    with DagsterInstance.from_config(str(folder)) as instance:
        return list(_findings(instance, interval_seconds))


def read_history(folder: Path, ledger: Ledger) -> RunHistory:
    """Read the run history; none where there is no instance."""
    if not (folder / "dagster.yaml").exists():
        return RunHistory()
    with DagsterInstance.from_config(str(folder)) as instance:
        return read_run_history(instance, ledger)


def _findings(instance: DagsterInstance, interval_seconds: float) -> Iterator[Finding]:
    states = instance.all_instigator_state() if instance.schedule_storage else ()
    if any(state.instigator_name == _SENSOR and state.status.value == "STOPPED" for state in states):
        fix = "switch kktix_orders_sensor on in the UI, unless you poll from cron"
        yield Finding("warn", "sensor", "kktix_orders_sensor is switched off", fix)
    else:
        yield Finding("ok", "sensor", "kktix_orders_sensor is not switched off")
    yield _last_tick(instance, interval_seconds)
    yield _daemon(instance)


def _last_tick(instance: DagsterInstance, interval_seconds: float) -> Finding:
    """Say when KKTIX was observed last. Sensor and ``poll`` record it alike."""
    event = instance.get_latest_materialization_event(AssetKey("kktix"))
    if event is None:
        return Finding("warn", "last tick", "never", "run `pycontw-assets poll`, or start the daemon")
    age = datetime.now(timezone.utc).timestamp() - event.timestamp
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
    if datetime.now(timezone.utc).timestamp() - oldest > _DAEMON_PATIENCE.total_seconds():
        return Finding("warn", "daemon", "sent no heartbeat for minutes", "start dagster-daemon, unless cron polls")
    return Finding("ok", "daemon", "alive")
