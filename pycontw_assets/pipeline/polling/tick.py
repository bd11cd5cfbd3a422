"""One tick: observe the world, then write down what was seen. While a person paused polls, there is none."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from pycontw_assets.alerts.alerting import send_alerts
from pycontw_assets.alerts.messenger import Messenger
from pycontw_assets.alerts.problems import by_cause
from pycontw_assets.api.stopping import Stop
from pycontw_assets.api.time_limit import TimeLimit
from pycontw_assets.authorize.gather_client import GatherClient
from pycontw_assets.extract.kktix_client import KktixClient
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.events import known_events
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.polls import paused_since
from pycontw_assets.ledger.reporting.problems import record_findings
from pycontw_assets.load.warehouse import Warehouse
from pycontw_assets.pipeline.checks import unmatched
from pycontw_assets.pipeline.erase import finish_erasures
from pycontw_assets.pipeline.letters.following import follow_letters
from pycontw_assets.pipeline.maintenance import run_maintenance
from pycontw_assets.pipeline.observe import Tick, observe
from pycontw_assets.pipeline.reconcile import RunHistory
from pycontw_assets.pipeline.record import record_failure, record_pause, record_tick
from pycontw_assets.pipeline.reporting.daily import extras_of
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import OrdersStore, Vault

_POLL = "poll"


def heed_pause(*, ledger: Ledger, alerts: Messenger) -> datetime | None:
    """Return since when polls are paused; ``None``: they are not. People are alerted to a pause of over a day."""
    record_pause(ledger)
    since = paused_since(ledger)
    if since:
        _alert_without_a_tick(ledger, alerts)
    return since


def _alert_without_a_tick(ledger: Ledger, alerts: Messenger) -> None:
    send_alerts([partition.key for partition in known_events(ledger).values()], ledger=ledger, alerts=alerts)


def observe_and_record(
    history: Callable[[], RunHistory],
    fail_dead_runs: Callable[[Collection[str]], None],
    *,
    kktix: KktixClient,
    klaviyo: KlaviyoClient | None,
    vault: OrdersStore,
    ledger: Ledger,
    alerts: Messenger,
    settings: Settings,
    warehouse: Warehouse | None,
    limit: TimeLimit | None = None,
    stop: Stop | None = None,
) -> Tick:
    """Observe the world and write down what was seen. When it fails, people are alerted at once: no poll follows.

    ``history`` reads the run history, ``fail_dead_runs`` reports the runs of these ids as failed. ``warehouse``:
    ``None`` where the tables are known to be as they were.
    """
    try:
        known = history()
        tick = observe(
            kktix=kktix,
            klaviyo=klaviyo,
            vault=vault,
            ledger=ledger,
            settings=settings,
            history=known,
            warehouse=warehouse,
            limit=limit,
        )
        fail_dead_runs(known.dead_runs)
        record_tick(tick, ledger=ledger, settings=settings)
    except Exception as error:
        record_failure("", _POLL, error, ledger=ledger)
        if stop:
            stop.check()
        with suppress(SQLAlchemyError, LedgerError):
            _alert_without_a_tick(ledger, alerts)
        raise
    findings = [*tick.problems, *tick.warnings, *unmatched(tick.discovery)]
    record_findings(ledger, "", _POLL, by_cause(_POLL, findings))
    return tick


def maintain(
    tick: Tick,
    *,
    gather: GatherClient | None,
    klaviyo: KlaviyoClient | None,
    vault: Vault,
    warehouse: Warehouse,
    ledger: Ledger,
    alerts: Messenger,
    pseudonymizer: Pseudonymizer,
    waits: WaitPolicy,
    settings: Settings,
    prune_history: Callable[[], None],
    limit: TimeLimit | None = None,
    stop: Stop,
) -> None:
    """Do the maintenance that is due, with erasures, letters and the daily message over the same systems.

    ``prune_history``, ``limit`` and ``stop`` are those of ``run_maintenance``.
    """
    run_maintenance(
        tick,
        klaviyo=klaviyo,
        ledger=ledger,
        vault=vault,
        alerts=alerts,
        pseudonymizer=pseudonymizer,
        waits=waits,
        retention_days=settings.retention_days,
        prune_history=prune_history,
        read_extras=functools.partial(extras_of, warehouse=warehouse, ledger=ledger, vault=vault, settings=settings),
        finish_erasures=lambda: finish_erasures(
            gather=gather,
            klaviyo=klaviyo,
            vault=vault,
            warehouse=warehouse,
            ledger=ledger,
            pseudonymizer=pseudonymizer,
            waits=waits,
            settings=settings,
            stop=stop,
        ),
        follow_letters=lambda: follow_letters(
            klaviyo=klaviyo, vault=vault, ledger=ledger, waits=waits, settings=settings
        ),
        limit=limit,
        stop=stop,
    )
