"""What every tick does best_effort the tickets: old things leave, the day's sales are told. None of it stops a tick.

Sensor and ``poll`` do the same, so that it happens where no daemon runs too; each part finds out by itself what is due.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import date

from dagster import DagsterInstance

from pycontw_assets.alerts.sales_report import Report, count, report
from pycontw_assets.alerts.unreachable import unreachable_buyers
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import Busy, LockName, lock
from pycontw_assets.ledger.problems import open_problems
from pycontw_assets.ledger.sales import (
    Counts,
    Figures,
    Ticket,
    edition_before,
    last_report_day,
    record_report,
    record_sales,
    sales_by_day,
)
from pycontw_assets.orchestration.prune_dagster_storage import prune_dagster_storage
from pycontw_assets.orchestration.run_recording import best_effort
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.pipeline.expiry import expiring
from pycontw_assets.pipeline.observe import Tick
from pycontw_assets.pipeline.retention import purge_expired

_SALES = "sales"


def run_maintenance(services: Services, instance: DagsterInstance, tick: Tick) -> None:
    with best_effort(services, "housekeeping") as findings:
        findings += expiring(services.clock())
        purge_expired(services, tick.listed)
        prune_dagster_storage(instance)
    with best_effort(services, "the search for unreachable buyers") as findings:
        on_sale = [(fact.partition, fact.poll) for _, fact in sorted(tick.facts.items()) if fact.book is not None]
        findings += unreachable_buyers(
            on_sale, ledger=services.ledger, vault=services.vault, pseudonymizer=services.pseudonymizer
        )
    with best_effort(services, "the sales report"):
        tell_sales(services, tick)


def tell_sales(services: Services, tick: Tick) -> None:
    """Once per day of UTC, which begins at eight in the morning in Taipei, while anything is on sale."""
    edition, today = tick.discovery.edition, services.clock().date()
    if edition is None or _was_told(services, today) or not _is_counted(tick):
        return
    # Whoever holds it is telling them now.
    with suppress(Busy), lock(services.ledger, LockName.SALES_REPORT, wait_seconds=0):
        if _was_told(services, today):
            return
        record_sales(services.ledger, edition, today, _figures(services, tick))
        news = _report(services.ledger, edition)
        if news is None or services.messenger.send(f"pycontw-assets: {news.title}", f"{news.body}\n{_state(services)}"):
            record_report(services.ledger, _SALES, today)


def _is_counted(tick: Tick) -> bool:
    """Something is on sale, and every event of it was read at least once."""
    on_sale = [fact for fact in tick.facts.values() if fact.book is not None]
    return bool(on_sale) and all(fact.poll for fact in on_sale)


def _was_told(services: Services, today: date) -> bool:
    # Not equal but "not before": a clock that was set back must not tell a day again.
    last = last_report_day(services.ledger, _SALES)
    return last is not None and last >= today


def _figures(services: Services, tick: Tick) -> Figures:
    found: dict[Ticket, Counts] = {}
    for fact in tick.facts.values():
        snapshot = services.vault.read(fact.partition.key)
        counted = count(snapshot.records.values()) if snapshot else {}
        for name, counts in (counted or {"no tickets yet": Counts()}).items():
            ticket = (fact.partition.family, name)
            found[ticket] = found.get(ticket, Counts()) + counts
    return found


def _report(ledger: Ledger, edition: str) -> Report | None:
    earlier = edition_before(ledger, edition)
    days = sales_by_day(ledger, edition)
    return report(edition, days, (earlier, sales_by_day(ledger, earlier)) if earlier else None) if days else None


def _state(services: Services) -> str:
    """No sales is one thing, not polling another."""
    count_open = len(open_problems(services.ledger))
    return f"KKTIX was polled just now; open problems: {count_open or 'none'}"
