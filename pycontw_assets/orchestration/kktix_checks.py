"""Two checks of ``kktix``, evaluated by every tick without a run, and by anybody who asks in the UI.

Freshness policies of Dagster look at an asset as a whole; whether each of its partitions is fresh is asked here. A tick
reports a verdict only when it changed: there are hundreds of ticks a day.
"""

from collections.abc import Iterable, Iterator, Mapping

from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckKey,
    AssetCheckResult,
    AssetKey,
    DagsterInstance,
    ResourceParam,
    multi_asset_check,
)

from pycontw_assets.alerts.alerting import recorded_channel_problems
from pycontw_assets.extract.kktix_client import KktixClient
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.orchestration.metadata import checked, verdict
from pycontw_assets.orchestration.run_history import read_run_history
from pycontw_assets.orchestration.run_recording import safe_errors
from pycontw_assets.pipeline.checks import unmatched
from pycontw_assets.pipeline.observe import Tick, observe
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import Vault

_KKTIX = AssetKey("kktix")
_CHECKS = {
    "events_are_matched": "Every listed event that may belong to the conference has an edition and a family, or a "
    "person said to ignore it.",
    "every_event_is_up_to_date": "No event has had news for long that no poll could take in.",
    "alarms_arrive": "Every address of ALERT_URLS took the last message.",
}


@multi_asset_check(name="kktix_checks", specs=checked("kktix", _CHECKS))
def kktix_checks(
    context: AssetCheckExecutionContext,
    kktix: ResourceParam[KktixClient],
    klaviyo: ResourceParam[KlaviyoClient | None],
    vault: ResourceParam[Vault],
    ledger: ResourceParam[Ledger],
    settings: ResourceParam[Settings],
) -> Iterable[AssetCheckResult]:
    """Observe as a tick does, for a person who asks in the UI. Records nothing."""
    with safe_errors():
        history = read_run_history(context.instance, ledger)
        tick = observe(kktix=kktix, klaviyo=klaviyo, vault=vault, ledger=ledger, settings=settings, history=history)
        verdicts = kktix_verdicts(tick, ledger=ledger)
    yield from verdicts


def kktix_verdicts(tick: Tick, *, ledger: Ledger) -> list[AssetCheckResult]:
    """Return the verdicts of all checks on one tick."""
    return [
        verdict("events_are_matched", unmatched(tick.discovery), is_warning=True),
        verdict("every_event_is_up_to_date", tick.late),
        verdict("alarms_arrive", recorded_channel_problems(ledger)),
    ]


def changed_kktix_verdicts(instance: DagsterInstance, tick: Tick, *, ledger: Ledger) -> Iterator[AssetCheckEvaluation]:
    """Yield the verdicts that differ from the ones Dagster knows."""
    keys = [AssetCheckKey(_KKTIX, name) for name in _CHECKS]
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    known = {key.name: record.evaluation for key, record in records.items()}
    for result in kktix_verdicts(tick, ledger=ledger):
        name = str(result.check_name)
        before = known.get(name)
        if before is None or _problems_shown(before.metadata) != _problems_shown(result.metadata):
            yield AssetCheckEvaluation(_KKTIX, name, result.passed, result.metadata, severity=result.severity)


def _problems_shown(metadata: Mapping[str, object]) -> object:
    return metadata["problems"]
