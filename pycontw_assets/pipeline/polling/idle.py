"""An idle poll: what a poll does when nothing is due and Dagster need not be asked. The libraries stay unloaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pycontw_assets.alerts.alerting import recorded_channel_problems, send_alerts
from pycontw_assets.alerts.messenger import Messenger
from pycontw_assets.api.stopping import Stop
from pycontw_assets.authorize.gather_client import GatherClient
from pycontw_assets.extract.kktix_client import KktixClient
from pycontw_assets.ledger.history.imports import known_imports
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.polls import Paused, paused_since
from pycontw_assets.ledger.reporting.funnel import is_funnel_due
from pycontw_assets.load.warehouse import Warehouse
from pycontw_assets.pipeline.checks import unmatched
from pycontw_assets.pipeline.hints.report import record_silence
from pycontw_assets.pipeline.maintenance import search_unserved
from pycontw_assets.pipeline.observe import Tick, decide_again
from pycontw_assets.pipeline.polling.remembered import Remembered, Stamp, digest_of, history_stamp, keys_of, stamp_of
from pycontw_assets.pipeline.polling.report import PollReport
from pycontw_assets.pipeline.polling.tick import heed_pause, maintain, observe_and_record
from pycontw_assets.pipeline.record import record_late_events
from pycontw_assets.pipeline.reporting.campaign_report import APART
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import Vault


def idle_poll(
    remembered: Remembered,
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
) -> PollReport | Tick:
    """Observe, and do what an idle poll does. Return the tick instead where Dagster is needed: a poll goes on with it.

    ``Paused`` while polls are paused. Raise ``Stopped`` when ``stop`` was asked for.
    """
    with ledger.in_use():
        stop.check()
        if since := heed_pause(ledger=ledger, alerts=alerts):
            raise Paused(since)
        stop.check()
        is_as_left = remembered.warehouse_stamp is not None and remembered.warehouse_stamp == warehouse_stamp(settings)
        tick = observe_and_record(
            lambda: remembered.history,
            lambda run_ids: None,
            kktix=kktix,
            klaviyo=klaviyo,
            vault=vault,
            ledger=ledger,
            alerts=alerts,
            settings=settings,
            warehouse=None if is_as_left else warehouse,
            stop=stop,
        )
        if needs_dagster(tick, remembered, ledger=ledger, folder=settings.dagster_folder):
            return tick
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
            prune_history=lambda: None,  # nothing was added to it
            stop=stop,
        )
        afterwards = decide_again(tick, ledger=ledger, settings=settings, history=remembered.history)
        if is_anything_due(afterwards) or _is_funnel_due(tick, ledger):
            return tick
        stop.check()
        record_late_events(afterwards, ledger=ledger)
        record_silence(ledger=ledger, settings=settings)
        search_unserved(tick, ledger=ledger, vault=vault, pseudonymizer=pseudonymizer)
        stop.check()
        reach = send_alerts(tick.facts.keys(), ledger=ledger, alerts=alerts)
        return PollReport(tick, (), afterwards.late, reach, paused_since(ledger))


def needs_dagster(tick: Tick, remembered: Remembered, *, ledger: Ledger, folder: Path) -> bool:
    """Whether a run is due, or Dagster lacks a partition, or it shows something that is no longer so."""
    return (
        is_anything_due(tick)
        or bool(tick.changed_tables or tick.begins_edition)
        or tick_keys(tick, ledger) != remembered.keys
        or shown(tick, ledger) != remembered.shown
        or history_stamp(folder) != remembered.history_stamp
    )


def _is_funnel_due(tick: Tick, ledger: Ledger) -> bool:
    edition = tick.discovery.edition
    return edition is not None and is_funnel_due(ledger, edition, apart=APART)


def is_anything_due(tick: Tick) -> bool:
    decisions = tick.decisions.values()
    return tick.template_due or any(decision.access or decision.load for decision in decisions)


def tick_keys(tick: Tick, ledger: Ledger) -> tuple[str, ...]:
    """Return the partitions that Dagster must have: of the events and of the imports."""
    return keys_of([*(fact.partition for fact in tick.facts.values()), *known_imports(ledger).values()])


def shown(tick: Tick, ledger: Ledger) -> str:
    """Return a digest of what a tick shows in Dagster, but for numbers."""
    return digest_of(_shown(tick, ledger))


def _shown(tick: Tick, ledger: Ledger) -> Iterable[str]:
    yield str(tick.discovery.edition)
    for texts in (
        unmatched(tick.discovery),
        tick.late,
        recorded_channel_problems(ledger),
        tick.problems,
        tick.warnings,
    ):
        yield from ("", *texts)


def warehouse_stamp(settings: Settings) -> Stamp | None:
    """Return what changes when anybody writes to the tables; ``None``: they are not in a file."""
    return stamp_of([settings.duckdb_file]) if settings.warehouse == "duckdb" else None
