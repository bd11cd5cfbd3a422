"""What every tick tells of the shop itself: two checks of ``kktix``, evaluated by the tick, without a run.

Freshness policies of Dagster look at an asset as a whole; whether each of its partitions is fresh is asked here.
Dagster hears of a verdict only when it changed: there are hundreds of ticks a day.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta

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

from pycontw_assets.orchestration.metadata import checked, verdict
from pycontw_assets.orchestration.run_recording import observe_and_record
from pycontw_assets.pipeline.checks import stale_events, unmatched
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.pipeline.observe import Tick

_KKTIX = AssetKey("kktix")
_CHECKS = {
    "events_are_matched": "Every listed event that may be ours has an edition and a family, or a person said to "
    "ignore it.",
    "every_event_is_up_to_date": "No event has had news for long that no poll could take in.",
}
# Dagster keeps freshness by the minute, and a single slow poll is no reason to worry.
_STALE_AFTER_POLLS = 6


def stale_after(interval_seconds: float) -> timedelta:
    return timedelta(seconds=max(_STALE_AFTER_POLLS * interval_seconds, 300))


@multi_asset_check(name="kktix_checks", specs=checked("kktix", _CHECKS))
def kktix_checks(context: AssetCheckExecutionContext, services: ResourceParam[Services]) -> Iterable[AssetCheckResult]:
    """For whoever asks from the UI: looks as a tick does."""
    yield from kktix_verdicts(services, observe_and_record(services, context.instance))


def kktix_verdicts(services: Services, tick: Tick) -> list[AssetCheckResult]:
    patience = stale_after(services.settings.poll_interval_seconds)
    stale = stale_events(tick.stale_since, services.clock(), patience)
    return [
        verdict("events_are_matched", unmatched(tick.discovery), is_warning=True),
        verdict("every_event_is_up_to_date", stale),
    ]


def changed_kktix_verdicts(services: Services, instance: DagsterInstance, tick: Tick) -> Iterator[AssetCheckEvaluation]:
    """The verdicts that differ from the ones Dagster knows."""
    keys = [AssetCheckKey(_KKTIX, name) for name in _CHECKS]
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    known = {key.name: record.evaluation for key, record in records.items()}
    for found in kktix_verdicts(services, tick):
        name = str(found.check_name)
        told = known.get(name)
        if told is None or _shown(told.metadata) != _shown(found.metadata):
            yield AssetCheckEvaluation(_KKTIX, name, found.passed, found.metadata, severity=found.severity)


def _shown(metadata: Mapping[str, object]) -> object:
    return metadata["problems"]
