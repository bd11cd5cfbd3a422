"""Tickets sold by day, and the last day a report of them was sent for. Counts only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from datetime import date

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import reports, sales, upsert
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.records import Family


@dataclass(frozen=True, slots=True)
class Counts:
    """Attendees. ``sold``: paid and not cancelled; ``usable`` and ``not_activated``: the sold ones that do and do not
    give access. ``unclear``: KKTIX does not say whether they are paid.
    """

    sold: int = 0
    usable: int = 0
    unpaid: int = 0
    cancelled: int = 0
    not_activated: int = 0
    unclear: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(left + right for left, right in zip(astuple(self), astuple(other), strict=True)))


Ticket = tuple[Family, str]
Figures = Mapping[Ticket, Counts]


def record_sales(ledger: Ledger, edition: str, day: date, figures: Figures) -> None:
    with ledger.engine.begin() as db:
        for (family, ticket), counts in figures.items():
            key = {"edition": edition, "family": family, "ticket": ticket, "day": day}
            upsert(db, sales, key, asdict(counts))


def sales_by_day(ledger: Ledger, edition: str) -> dict[date, dict[Ticket, Counts]]:
    """Return every recorded day of an edition, the first one first."""
    query = sa.select(sales).where(sales.c.edition == edition).order_by(sales.c.day)
    days: dict[date, dict[Ticket, Counts]] = {}
    with ledger.engine.begin() as db:
        for row in db.execute(query):
            counts = Counts(**{name: getattr(row, name) for name in Counts.__dataclass_fields__})
            days.setdefault(row.day, {})[row.family, row.ticket] = counts
    return days


def edition_before(ledger: Ledger, edition: str) -> str | None:
    """Return the last edition before this one that has figures."""
    return ledger.scalar(sa.select(sa.func.max(sales.c.edition)).where(sales.c.edition < edition))


def last_counted_day(ledger: Ledger, edition: str, *, until: date) -> date | None:
    return ledger.scalar(sa.select(sa.func.max(sales.c.day)).where(sales.c.edition == edition, sales.c.day <= until))


def last_report_day(ledger: Ledger, name: str, channel: str, *, until: date = date.max) -> date | None:
    """Return the last day for which the channel took the report. An older ledger noted one day for all channels."""
    of_channel = (reports.c.name == name, reports.c.channel.in_((channel, "")), reports.c.day <= until)
    return ledger.scalar(sa.select(sa.func.max(reports.c.day)).where(*of_channel))


def record_report(ledger: Ledger, name: str, channel: str, day: date) -> None:
    with ledger.engine.begin() as db:
        upsert(db, reports, {"name": name, "channel": channel}, {"day": day})
