"""``kktix_hints_sensor`` looks into the ledger every few seconds, and asks for access runs of events with a hint.

No postponed annotations here: Dagster reads the types of resources while it loads.
"""

from dagster import (
    DefaultSensorStatus,
    DynamicPartitionsDefinition,
    ResourceParam,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from pycontw_assets.api.client import ServiceError
from pycontw_assets.api.stopping import Stop
from pycontw_assets.api.time_limit import TimeLimit
from pycontw_assets.extract.kktix_client import KktixClient
from pycontw_assets.ledger.hints.looks import has_due_hints
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.polls import Paused, paused_since
from pycontw_assets.orchestration.jobs import jobs
from pycontw_assets.orchestration.observations import missing_partitions
from pycontw_assets.orchestration.run_history import read_run_history
from pycontw_assets.orchestration.run_recording import safe_errors
from pycontw_assets.orchestration.sensors import access_requests
from pycontw_assets.pipeline.hints.look import look_at_hinted
from pycontw_assets.pipeline.reconcile import new_poll_id, summarize
from pycontw_assets.pipeline.redaction import explain
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import Vault

_INTERVAL_SECONDS = 5  # Dagster's daemon goes round its sensors that often


def hints_sensor() -> SensorDefinition:
    """Build the sensor. Its ticks cost one query of the ledger while there is no hint."""

    @sensor(
        name="kktix_hints_sensor",
        jobs=jobs,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description="Looks at the events that KKTIX's webhook hinted at, seconds after it. Without it, the orders "
        "sensor sees the same news, minutes later.",
    )
    def kktix_hints_sensor(
        context: SensorEvaluationContext,
        kktix: ResourceParam[KktixClient],
        klaviyo: ResourceParam[KlaviyoClient],
        vault: ResourceParam[Vault],
        ledger: ResourceParam[Ledger],
        settings: ResourceParam[Settings],
        waits: ResourceParam[WaitPolicy],
        stop: ResourceParam[Stop],
    ) -> SensorResult:
        with safe_errors():
            if not has_due_hints(ledger):
                return SensorResult(skip_reason="0 hints are due")
            if since := paused_since(ledger):
                return SensorResult(skip_reason=str(Paused(since)))
            try:
                tick = look_at_hinted(
                    kktix=kktix,
                    klaviyo=klaviyo,
                    vault=vault,
                    ledger=ledger,
                    settings=settings,
                    history=read_run_history(context.instance, ledger),
                    waits=waits,
                    limit=TimeLimit(settings.tick_seconds),
                )
            except ServiceError as error:
                # The orders sensor meets the same and makes an alarm of it. Here the next look comes by itself.
                return SensorResult(skip_reason=f"0 events could be looked at: {explain(error)}")
            if tick is None or not any(decision.access for decision in tick.decisions.values()):
                return SensorResult(skip_reason=summarize(tick.decisions) if tick else "0 events are due for a look")
            stop.check()
            # Tables are left to the next poll: nobody waits for them by the second.
            return SensorResult(
                run_requests=list(access_requests(tick, new_poll_id(ledger.clock()))),
                dynamic_partitions_requests=[
                    DynamicPartitionsDefinition(name=name).build_add_request(keys)
                    for name, keys in missing_partitions(tick, context.instance).items()
                ],
            )

    return kktix_hints_sensor
