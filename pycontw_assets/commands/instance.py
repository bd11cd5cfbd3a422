"""The Dagster instance and the services of a command, from the settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pycontw_assets.settings import Settings, load_settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from pycontw_assets.pipeline.composition import Services

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
retention:
  sensor: {purge_after_days: {skipped: 7, started: 30, success: 30, failure: 30}}
"""


def open_instance(settings: Settings) -> DagsterInstance:
    """The Dagster instance of ``DAGSTER_HOME``, or the one under the data folder."""
    from dagster import DagsterInstance

    folder = settings.dagster_folder
    prepare_instance(folder)
    os.environ.setdefault("DAGSTER_HOME", str(folder))
    return DagsterInstance.get()


def prepare_instance(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / "dagster.yaml").exists():
        (folder / "dagster.yaml").write_text(INSTANCE_CONFIG)


def checked_services() -> Services:
    """The services of the environment, everything that can be wrong with it checked."""
    services = unchecked_services()
    services.check()
    return services


def unchecked_services() -> Services:
    """Nothing is opened or made before it is used."""
    settings = load_settings()
    from pycontw_assets.commands.console import ShownKktixClient
    from pycontw_assets.pipeline.composition import Services

    return Services(lambda: settings, kktix_client=ShownKktixClient)
