"""One tick in this process: what the sensor would ask for now, done here and recorded in the instance."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain, takewhile

from dagster import (
    AssetCheckSeverity,
    DagsterEventType,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    RunRequest,
)

from pycontw_assets.alerts.alerting import send_alerts
from pycontw_assets.alerts.messenger import Messenger
from pycontw_assets.api.log import log_step
from pycontw_assets.api.stopping import Stop, Stopped
from pycontw_assets.authorize.gather_client import GatherClient
from pycontw_assets.extract.kktix_client import KktixClient
from pycontw_assets.extract.orders import BookReading
from pycontw_assets.ledger.history.imports import known_imports
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import process_identity
from pycontw_assets.ledger.polls import Paused, paused_since
from pycontw_assets.load.warehouse import Warehouse
from pycontw_assets.orchestration.assets import OVERRIDE_TAG
from pycontw_assets.orchestration.instance import close_history
from pycontw_assets.orchestration.kktix_checks import changed_kktix_verdicts
from pycontw_assets.orchestration.metadata import bulleted
from pycontw_assets.orchestration.observations import missing_partitions, observations
from pycontw_assets.orchestration.reporting.funnel import funnel_requests
from pycontw_assets.orchestration.run_history import OWNER_TAG, read_run_history, was_interrupted
from pycontw_assets.orchestration.run_recording import observe_and_record
from pycontw_assets.orchestration.sensors import POLL_TAG, access_requests, load_requests, prune_history
from pycontw_assets.pipeline.hints.report import record_silence
from pycontw_assets.pipeline.maintenance import search_unserved
from pycontw_assets.pipeline.observe import Tick, decide_again, decide_at_once
from pycontw_assets.pipeline.polling.idle import shown, tick_keys, warehouse_stamp
from pycontw_assets.pipeline.polling.remembered import Remembered, Stamp, forget, history_stamp, is_plain, remember
from pycontw_assets.pipeline.polling.report import PollReport as PollReport
from pycontw_assets.pipeline.polling.report import RunReport as RunReport
from pycontw_assets.pipeline.polling.tick import heed_pause, maintain
from pycontw_assets.pipeline.reconcile import new_poll_id
from pycontw_assets.pipeline.record import record_late_events
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import Vault

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def poll(
    define: Callable[[Mapping[int, BookReading]], Definitions],
    instance: DagsterInstance,
    *,
    kktix: KktixClient,
    gather: GatherClient | None,
    klaviyo: KlaviyoClient | None,
    vault: Vault,
    ledger: Ledger,
    alerts: Messenger,
    pseudonymizer: Pseudonymizer,
    waits: WaitPolicy,
    settings: Settings,
    warehouse: Warehouse,
    stop: Stop,
    overrides: Collection[str] = (),
    tick: Tick | None = None,
    on_run: Callable[[RunReport], None] = lambda report: None,
) -> PollReport:
    """Observe, run what is due for access, then bring the tables up to date. ``Paused`` while polls are paused.

    ``define`` builds the definitions over the same systems, with the attendance books that were just read.
    ``overrides`` are the limits that a person lifts for this poll. ``tick``: what was observed and recorded for this
    poll a moment ago. Raise ``Stopped`` when ``stop`` was asked for.
    """
    with ledger.in_use():
        stop.check()
        if tick is None and (since := heed_pause(ledger=ledger, alerts=alerts)):
            raise Paused(since)
        stop.check()
        tick = tick or observe_and_record(
            instance,
            kktix=kktix,
            klaviyo=klaviyo,
            vault=vault,
            ledger=ledger,
            alerts=alerts,
            settings=settings,
            warehouse=warehouse,
            stop=stop,
        )
        maintain(
            tick,
            gather=gather,
            klaviyo=klaviyo,
            vault=vault,
            warehouse=warehouse,
            ledger=ledger,
            alerts=alerts,
            pseudonymizer=pseudonymizer,
            waits=waits,
            settings=settings,
            prune_history=lambda: prune_history(instance),
            stop=stop,
        )
        for name, keys in missing_partitions(tick, instance, known_imports(ledger).values()).items():
            instance.add_dynamic_partitions(name, keys)
        verdicts = changed_kktix_verdicts(instance, tick, ledger=ledger)
        for event in (*observations(tick), *verdicts):
            instance.report_runless_asset_event(event)
        if overrides:
            tick = decide_at_once(tick, now=ledger.clock(), reads_again="re-read" in overrides)
        poll_id, override = new_poll_id(ledger.clock()), ",".join(sorted(overrides))
        runs: list[RunReport] = []
        defined = functools.cache(lambda: define(tick.books))
        for request in _until_paused(access_requests(tick, poll_id), ledger):
            stop.check()
            runs.append(execute(defined(), instance, request, override))
            on_run(runs[-1])
        afterwards = decide_again(tick, ledger=ledger, settings=settings, history=read_run_history(instance, ledger))
        funnel = funnel_requests(tick.discovery.edition, ledger=ledger, tags={POLL_TAG: poll_id})
        for request in _until_paused(chain(load_requests(afterwards, poll_id), funnel), ledger):
            stop.check()
            runs.append(execute(defined(), instance, request, override))
            on_run(runs[-1])
        stop.check()
        record_late_events(afterwards, ledger=ledger)
        record_silence(ledger=ledger, settings=settings)
        search_unserved(tick, ledger=ledger, vault=vault, pseudonymizer=pseudonymizer)
        stop.check()
        reach = send_alerts(tick.facts.keys(), ledger=ledger, alerts=alerts)
        return PollReport(tick, tuple(runs), afterwards.late, reach, paused_since(ledger))


def remember_poll(
    report: PollReport, instance: DagsterInstance, *, before: Stamp | None, ledger: Ledger, settings: Settings
) -> None:
    """Remember what an idle poll found in Dagster, so that the next one need not ask. Otherwise forget what it knew.

    ``before``: the stamp of the warehouse before the poll looked at it.
    """
    folder = settings.dagster_folder
    forget(folder)
    if report.runs or not report.ok or report.tick.changed_tables:
        return
    close_history(instance)  # closing changes the files, so it comes before their stamp
    with ledger.in_use():
        stamp, history = history_stamp(folder), read_run_history(instance, ledger)
        is_same = stamp == history_stamp(folder) and before == warehouse_stamp(settings)
        if stamp is None or not is_same or not is_plain(history):
            return  # somebody else is at work
        now = ledger.clock()
        remembered = Remembered(
            materialized={asset: tuple(sorted(keys)) for asset, keys in history.materialized.items()},
            template_was_made=history.template_was_made,
            keys=tick_keys(report.tick, ledger),
            shown=shown(report.tick, ledger),
            history_stamp=stamp,
            warehouse_stamp=before,
            asked_at=now,
            ticked_at=now,
        )
    remember(folder, remembered)


def _until_paused(requests: Iterable[RunRequest], ledger: Ledger) -> Iterator[RunRequest]:
    """Yield requests until polls are paused: a pause takes effect before the next event."""
    return takewhile(lambda _: paused_since(ledger) is None, requests)


def execute(definitions: Definitions, instance: DagsterInstance, request: RunRequest, override: str = "") -> RunReport:
    """Do in this process what a tick asked for. Raise ``Stopped`` when a signal ended it."""
    job = definitions.resolve_job_def(str(request.job_name))
    result = job.execute_in_process(
        instance=instance,
        partition_key=request.partition_key,
        asset_selection=list(request.asset_selection) if request.asset_selection else None,
        # The owner is named from the first moment on: of a run that died before any step nobody could tell otherwise.
        tags={**request.tags, OWNER_TAG: process_identity(), **({OVERRIDE_TAG: override} if override else {})},
        run_config=_QUIET,
        raise_on_error=False,
    )
    if was_interrupted(instance.get_run_by_id(result.run_id)):
        raise Stopped
    log_step(
        "run_ended",
        step="poll",
        partition=request.partition_key,
        outcome="done" if result.success else "failed",
    )
    return RunReport(
        str(request.job_name),
        request.partition_key,
        result.success,
        tuple(_failures(result)),
        tuple(_problems(result, AssetCheckSeverity.ERROR)),
        _counts(result),
        tuple(_problems(result, AssetCheckSeverity.WARN)),
    )


def _failures(result: ExecuteInProcessResult) -> Iterable[str]:
    for event in result.filter_events(lambda event: event.event_type == DagsterEventType.STEP_FAILURE):
        data = event.step_failure_data
        described = data.user_failure_data.description if data.user_failure_data else None
        yield f"{event.step_key}: {described or 'failed'}"


def _problems(result: ExecuteInProcessResult, severity: AssetCheckSeverity) -> Iterable[str]:
    for evaluation in result.get_asset_check_evaluations():
        if not evaluation.passed and evaluation.severity == severity:
            texts = bulleted(evaluation.metadata["problems"])
            yield f"{evaluation.asset_key.to_user_string()}: {'; '.join(texts)}"


def _counts(result: ExecuteInProcessResult) -> dict[str, dict[str, int]]:
    counts = {}
    for event in result.get_asset_materialization_events():
        materialization = event.step_materialization_data.materialization
        numbers = {name: item.value for name, item in materialization.metadata.items() if isinstance(item.value, int)}
        counts[materialization.asset_key.to_user_string()] = numbers
    return counts
