"""``kktix_orders_sensor`` looks at the world every five minutes and asks for what is due. It keeps no memory.

No postponed annotations here: Dagster reads the types of resources while it loads.
"""

from collections.abc import Iterator

from dagster import (
    AssetKey,
    DagsterInstance,
    DefaultSensorStatus,
    DynamicPartitionsDefinition,
    ResourceParam,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from pycontw_assets.alerts.alerting import send_alerts
from pycontw_assets.alerts.heartbeat import beat
from pycontw_assets.alerts.messenger import Messenger
from pycontw_assets.api.stopping import Stop
from pycontw_assets.api.time_limit import TimeLimit
from pycontw_assets.authorize.gather_client import GatherClient
from pycontw_assets.extract.kktix_client import KktixClient
from pycontw_assets.ledger.history.imports import known_imports
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.polls import Paused
from pycontw_assets.load.warehouse import Warehouse
from pycontw_assets.orchestration.jobs import jobs
from pycontw_assets.orchestration.kktix_checks import changed_kktix_verdicts
from pycontw_assets.orchestration.observations import missing_partitions, observations
from pycontw_assets.orchestration.reporting.funnel import funnel_requests
from pycontw_assets.orchestration.run_recording import observe_and_record, safe_errors
from pycontw_assets.pipeline.checks import long_pause
from pycontw_assets.pipeline.hints.report import record_silence
from pycontw_assets.pipeline.observe import Tick
from pycontw_assets.pipeline.polling.tick import heed_pause, maintain
from pycontw_assets.pipeline.reconcile import new_poll_id, summarize, table_asset
from pycontw_assets.pipeline.record import record_late_events
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import Vault

POLL_TAG = "pycontw/poll"


def access_requests(tick: Tick, poll_id: str) -> Iterator[RunRequest]:
    """One access run per event that is due, only for the assets that are.

    The event with the fewest newcomers comes first, so that the others need not wait for the rush of one of them.
    """
    tags = {POLL_TAG: poll_id}
    if tick.template_due:
        yield RunRequest(job_name="klaviyo_template_job", tags=tags)
    for key, decision in sorted(tick.decisions.items(), key=lambda item: (tick.facts[item[0]].newcomers, item[0])):
        if decision.access:
            assets = [AssetKey(name) for name in decision.access]
            yield RunRequest(job_name="grant_access_job", partition_key=key, asset_selection=assets, tags=tags)


def load_requests(tick: Tick, poll_id: str) -> Iterator[RunRequest]:
    """One load run per table partition that is behind."""
    for key, decision in sorted(tick.decisions.items()):
        if decision.load:
            job_name = f"load_{table_asset(tick.facts[key].partition.family)}_job"
            yield RunRequest(job_name=job_name, partition_key=key, tags={POLL_TAG: poll_id})


def orders_sensor(interval_seconds: int) -> SensorDefinition:
    """Build the sensor, waking every ``interval_seconds``."""

    @sensor(
        name="kktix_orders_sensor",
        jobs=jobs,
        minimum_interval_seconds=interval_seconds,
        default_status=DefaultSensorStatus.RUNNING,
        description="Compares KKTIX with the ledger and asks for what is due: orders, access, invitations, tables.",
    )
    def kktix_orders_sensor(
        context: SensorEvaluationContext,
        kktix: ResourceParam[KktixClient],
        gather: ResourceParam[GatherClient | None],
        klaviyo: ResourceParam[KlaviyoClient | None],
        vault: ResourceParam[Vault],
        ledger: ResourceParam[Ledger],
        alerts: ResourceParam[Messenger],
        settings: ResourceParam[Settings],
        pseudonymizer: ResourceParam[Pseudonymizer],
        waits: ResourceParam[WaitPolicy],
        warehouse: ResourceParam[Warehouse],
        stop: ResourceParam[Stop],
    ) -> SensorResult:
        instance, limit = context.instance, TimeLimit(settings.tick_seconds)
        with safe_errors(), ledger.in_use():
            if since := heed_pause(ledger=ledger, alerts=alerts):
                if not long_pause(since, ledger.clock()):
                    beat(settings.heartbeat_url)
                return SensorResult(skip_reason=str(Paused(since)))
            tick = observe_and_record(
                instance,
                kktix=kktix,
                klaviyo=klaviyo,
                vault=vault,
                ledger=ledger,
                alerts=alerts,
                settings=settings,
                warehouse=warehouse,
                limit=limit,
                stop=stop,
            )
            record_late_events(tick, ledger=ledger)
            record_silence(ledger=ledger, settings=settings)
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
                limit=limit,
                stop=stop,
            )
            stop.check()
            reach = send_alerts(tick.facts.keys(), ledger=ledger, alerts=alerts)
            poll_id = new_poll_id(ledger.clock())
            verdicts = changed_kktix_verdicts(instance, tick, ledger=ledger)
            # Whether an access run of the event is asked for as well or not: during a sale there is always one.
            requests = [*access_requests(tick, poll_id), *load_requests(tick, poll_id)]
            requests += funnel_requests(tick.discovery.edition, ledger=ledger, tags={POLL_TAG: poll_id})
            stop.check()
            if tick.is_good and reach.is_anybody_there:
                beat(settings.heartbeat_url)
            return SensorResult(
                run_requests=requests,
                skip_reason=None if requests else summarize(tick.decisions),
                dynamic_partitions_requests=[
                    DynamicPartitionsDefinition(name=name).build_add_request(keys)
                    for name, keys in missing_partitions(tick, instance, known_imports(ledger).values()).items()
                ],
                asset_events=[*observations(tick), *verdicts],
            )

    return kktix_orders_sensor


def prune_history(instance: DagsterInstance) -> None:
    """Delete old run history. Imported here: it looks into Dagster's tables, whose names may move between releases."""
    from pycontw_assets.orchestration.prune_dagster_storage import prune_dagster_storage

    prune_dagster_storage(instance)
