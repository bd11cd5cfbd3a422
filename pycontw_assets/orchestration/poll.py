"""One tick in this process: what the sensor would ask for now, done here and recorded in the instance."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from dagster import (
    AssetCheckSeverity,
    DagsterEventType,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    RunRequest,
)

from pycontw_assets.ledger.locks import process_identity
from pycontw_assets.orchestration.assets import OVERRIDE_TAG
from pycontw_assets.orchestration.kktix_checks import changed_kktix_verdicts
from pycontw_assets.orchestration.run_recording import observe_and_record, send_alerts
from pycontw_assets.orchestration.sensors import (
    access_requests,
    load_requests,
    missing_partitions,
    new_poll_id,
    observations,
)
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.pipeline.maintenance import run_maintenance
from pycontw_assets.pipeline.observe import OWNER_TAG, Tick, decide_again

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run of a poll. ``failures`` and ``problems`` are safe texts; ``counts`` come from the assets' metadata."""

    job: str
    partition_key: str | None
    ok: bool
    failures: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    counts: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PollReport:
    tick: Tick
    runs: tuple[RunReport, ...]

    @property
    def ok(self) -> bool:
        waiting = any(decision.next_attempt_at for decision in self.tick.decisions.values())
        return all(run.ok and not run.problems for run in self.runs) and not self.tick.problems and not waiting


def poll(
    definitions: Definitions,
    services: Services,
    instance: DagsterInstance,
    *,
    overrides: Iterable[str] = (),
    on_run: Callable[[RunReport], None] = lambda report: None,
) -> PollReport:
    """Observe, run what is due for access, then bring the tables up to date."""
    tick = observe_and_record(services, instance)
    run_maintenance(services, instance, tick)
    for name, keys in missing_partitions(tick, instance).items():
        instance.add_dynamic_partitions(name, keys)
    for observation in (*observations(tick), *changed_kktix_verdicts(services, instance, tick)):
        instance.report_runless_asset_event(observation)
    services.fresh_books = {fact.partition.event_id: fact.book for fact in tick.facts.values() if fact.book}
    poll_id = new_poll_id(services.clock())
    consent = ",".join(sorted(overrides))
    runs = []
    for request in access_requests(tick, poll_id):
        runs.append(execute(definitions, instance, request, consent))
        on_run(runs[-1])
    for request in load_requests(decide_again(services, instance, tick), poll_id):
        runs.append(execute(definitions, instance, request, consent))
        on_run(runs[-1])
    send_alerts(services, tick.facts)
    return PollReport(tick, tuple(runs))


def execute(definitions: Definitions, instance: DagsterInstance, request: RunRequest, consent: str = "") -> RunReport:
    """Do in this process what a tick asked for."""
    job = definitions.resolve_job_def(str(request.job_name))
    result = job.execute_in_process(
        instance=instance,
        partition_key=request.partition_key,
        asset_selection=list(request.asset_selection) if request.asset_selection else None,
        # Signed from its first moment on: of a run that died before any step nobody could tell otherwise.
        tags={**request.tags, OWNER_TAG: process_identity(), **({OVERRIDE_TAG: consent} if consent else {})},
        run_config=_QUIET,
        raise_on_error=False,
    )
    return RunReport(
        str(request.job_name),
        request.partition_key,
        result.success,
        tuple(_failures(result)),
        tuple(_problems(result)),
        _counts(result),
    )


def _failures(result: ExecuteInProcessResult) -> Iterable[str]:
    for event in result.filter_events(lambda event: event.event_type == DagsterEventType.STEP_FAILURE):
        data = event.step_failure_data
        described = data.user_failure_data.description if data.user_failure_data else None
        yield f"{event.step_key}: {described or 'failed'}"


def _problems(result: ExecuteInProcessResult) -> Iterable[str]:
    for evaluation in result.get_asset_check_evaluations():
        if not evaluation.passed and evaluation.severity == AssetCheckSeverity.ERROR:
            text = str(evaluation.metadata["problems"].value)
            yield f"{evaluation.asset_key.to_user_string()}: {text.removeprefix('- ').replace(chr(10) + '- ', '; ')}"


def _counts(result: ExecuteInProcessResult) -> dict[str, dict[str, int]]:
    counts = {}
    for event in result.get_asset_materialization_events():
        materialization = event.step_materialization_data.materialization
        numbers = {name: item.value for name, item in materialization.metadata.items() if isinstance(item.value, int)}
        counts[materialization.asset_key.to_user_string()] = numbers
    return counts
