"""The days of a sale: orders, payments, cancellations and money by ticket. Counts and sums only, no person.

``daily_sales`` has the partitions of the attendee tables. Each is made from the rows of the same event, so no order of
loads or imports matters. Its counts are of days and tickets and are shown whole, also small ones: no row says anything
about a person, and hidden counts could not be added up to the dollar. A day is one of Taiwan.

KKTIX tells no time of an order or a payment. The day is that of the poll that saw it, or that of KKTIX's last change
of the ticket, where that is earlier and the poll could not say better. An import has no polls: the last change counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from pycontw_assets.load.readers.view import TAIPEI_HOURS
from pycontw_assets.load.schema import LOAD_COLUMNS, PARTITION_COLUMN, Table, TableColumn
from pycontw_assets.load.warehouse import Outcome, Warehouse, replace_rows
from pycontw_assets.records import EventPartition, Family

if TYPE_CHECKING:
    import pandas as pd


def _column(name: str, kind: str, description: str) -> TableColumn:
    return TableColumn(name=name, type=kind, mode="REQUIRED", description=description, source="tables")


_COUNTS = {
    "orders": "Purchases that were begun on the day. One with tickets of two names counts with both.",
    "tickets_ordered": "Seats in them.",
    "tickets_paid": "Seats whose payment falls on the day, also those that were refunded later.",
    "tickets_cancelled": "Seats that left the sale on the day, paid or not.",
    "tickets_refunded": "The paid ones among them.",
    "payments_at_latest": "Of tickets_paid: those whose payment may have been earlier, because no poll was near it.",
}
_MONEY = {
    "revenue": "Prices of tickets_paid, in whole units of the currency.",
    "refunds": "Prices of tickets_refunded; KKTIX tells no amount of a refund. Revenue less refunds was earned.",
}
DAILY_SALES = Table(
    "daily_sales",
    "What each day brought: one row per event, day in Taiwan, ticket and currency on which something happened. Counts "
    "and sums only.",
    (
        _column(
            PARTITION_COLUMN,
            "STRING",
            "Edition, family and event id: the rows of an event are replaced together.",
        ),
        _column("edition", "STRING", "Conference year, four digits."),
        _column("family", "STRING", "Ticket family: corporate, individual or reserved."),
        _column("day", "STRING", "Day in Taiwan, YYYY-MM-DD."),
        _column("ticket_name", "STRING", "Ticket type, in the organiser's words."),
        _column("currency", "STRING", "Currency code of the prices; empty where KKTIX gives none."),
        *(_column(name, "INT64", text) for name, text in _COUNTS.items()),
        *(_column(name, "FLOAT64", text) for name, text in _MONEY.items()),
        *LOAD_COLUMNS,
    ),
    keys=(PARTITION_COLUMN, "day", "ticket_name", "currency"),
)
# Columns of an attendee table that a row is made of, for the lineage.
SOURCES = {
    "edition": ("edition",),
    "family": ("family",),
    "day": ("ordered_at", "paid_at", "gone_at", "updated_at"),
    "ticket_name": ("ticket_name",),
    "currency": ("currency",),
    "orders": ("order_no",),
    "tickets_ordered": ("attendee_id",),
    "tickets_paid": ("is_paid", "paid_at"),
    "tickets_cancelled": ("is_cancelled",),
    "tickets_refunded": ("is_cancelled", "is_paid", "paid_at"),
    "payments_at_latest": ("paid_at_certainty",),
    "revenue": ("price", "is_paid", "paid_at"),
    "refunds": ("price", "is_cancelled", "is_paid", "paid_at"),
}
_FACTS = (
    "attendee_id", "ticket_name", "currency", "price", "order_no", "is_paid", "is_cancelled", "ordered_at_certainty",
    "paid_at_certainty",
)  # fmt: skip
_MOMENTS = ("first_seen_at", "gone_at", "updated_at", "ordered_at", "paid_at")
_NEEDED = (*_FACTS, *_MOMENTS)
_NEAR = ("hour", "day")
_FIRST_DAY = date(1970, 1, 1)
_NOT_A_TIME = -(2**63)  # of pandas, as a number
_DAY, _TO_TAIPEI = (timedelta(hours=hours) // timedelta(microseconds=1) for hours in (24, TAIPEI_HOURS))
_Key = tuple[int, str, str]


def refresh_sales(warehouse: Warehouse, partition: EventPartition, attendees: pd.DataFrame) -> Outcome:
    """Replace the days of an event by those of its rows in the attendee table. Raise ``WarehouseError``."""
    return replace_rows(warehouse, DAILY_SALES, partition.key, sales_by_day(partition, attendees))


def refresh_missing_sales(warehouse: Warehouse, table: Table) -> bool:
    """Make the days of events that the family's table has and ``daily_sales`` lacks. Say whether there were any.

    Their rows may be older than ``daily_sales``.
    """
    keys = f"SELECT DISTINCT {PARTITION_COLUMN} FROM "  # noqa: S608 - plain names only
    stored = {str(row[0]) for row in warehouse.select(f"{keys}{{{table.name}}}", sources=[table])}
    present = {str(row[0]) for row in warehouse.select(f"{keys}{{{DAILY_SALES.name}}}", sources=[DAILY_SALES])}
    missing = stored - present
    if missing:
        refresh_all_sales(warehouse, table, missing)
    return bool(missing)


def refresh_all_sales(warehouse: Warehouse, table: Table, keys: Collection[str] | None = None) -> None:
    """Make the days of all events of a family's table, or of those with these partition keys."""
    for key, rows in warehouse.read(table).groupby(PARTITION_COLUMN):
        if keys is None or key in keys:
            first = rows.iloc[0]
            partition = EventPartition(int(first["event_id"]), str(first["edition"]), first["family"])
            refresh_sales(warehouse, partition, rows)


@dataclass(slots=True)
class _Sums:
    """The counts and the money of a day, ticket and currency. Money is added in the order of the rows."""

    order_numbers: set[int] = field(default_factory=set)
    tickets_ordered: int = 0
    tickets_paid: int = 0
    tickets_cancelled: int = 0
    tickets_refunded: int = 0
    payments_at_latest: int = 0
    revenue: float = 0.0
    refunds: float = 0.0

    @property
    def orders(self) -> int:
        return len(self.order_numbers)


def sales_by_day(partition: EventPartition, attendees: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of ``daily_sales`` of an event, from its rows of the attendee table. Pure."""
    import pandas as pd

    sums: dict[_Key, _Sums] = defaultdict(_Sums)
    for ticket in _tickets(attendees):
        _add(ticket, sums, is_imported=partition.is_imported)
    keys = sorted(sums)
    texts = {
        PARTITION_COLUMN: [partition.key] * len(keys),
        "edition": [partition.edition] * len(keys),
        "family": [partition.family] * len(keys),
        "day": [(_FIRST_DAY + timedelta(days=day)).isoformat() for day, _, _ in keys],
        "ticket_name": [name for _, name, _ in keys],
        "currency": [currency for _, _, currency in keys],
    }
    columns: dict[str, Any] = {name: pd.Series(cells, dtype="string[python]") for name, cells in texts.items()}
    for name in (*_COUNTS, *_MONEY):
        numbers = [getattr(sums[key], name) for key in keys]
        columns[name] = pd.Series(numbers, dtype="Float64" if name in _MONEY else "Int64")
    frame: pd.DataFrame = pd.DataFrame(columns)
    return frame


def _tickets(attendees: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the columns that matter of each row, by name; ``None`` for what is not known.

    Moments are in microseconds since 1970, in UTC: thousands of datetimes are slow to make and to compare.
    """
    others = attendees[list(_FACTS)].astype(object)
    cells = others.where(others.notna(), None)
    columns = [*(cells[name].tolist() for name in _FACTS), *(_microseconds(attendees[name]) for name in _MOMENTS)]
    for row in zip(*columns, strict=True):
        yield dict(zip(_NEEDED, row, strict=True))


def _microseconds(moments: pd.Series[Any]) -> list[int | None]:
    numbers: list[int] = moments.to_numpy(dtype="datetime64[us]").astype("int64").tolist()
    return [None if number == _NOT_A_TIME else number for number in numbers]


def _add(ticket: Mapping[str, Any], sums: Mapping[_Key, _Sums], *, is_imported: bool) -> None:
    """Add what happened to a ticket to the sums of its days."""
    price, name, currency = float(ticket["price"] or 0), ticket["ticket_name"] or "", ticket["currency"] or ""
    ordered = sums[_day(_best(ticket, "ordered_at", is_imported=is_imported)), name, currency]
    ordered.order_numbers.add(-ticket["attendee_id"] if ticket["order_no"] is None else ticket["order_no"])
    ordered.tickets_ordered += 1
    was_paid = bool(ticket["is_paid"]) or ticket["paid_at"] is not None
    if was_paid:
        paid = sums[_day(_best(ticket, "paid_at", is_imported=is_imported)), name, currency]
        paid.tickets_paid += 1
        paid.payments_at_latest += not is_imported and ticket["paid_at_certainty"] not in _NEAR
        paid.revenue += price
    if ticket["is_cancelled"]:
        gone_at = _first(ticket["gone_at"], ticket["updated_at"], ticket["first_seen_at"])
        cancelled = sums[_day(gone_at), name, currency]
        cancelled.tickets_cancelled += 1
        cancelled.tickets_refunded += was_paid
        cancelled.refunds += price * was_paid


def _best(ticket: Mapping[str, Any], name: str, *, is_imported: bool) -> int:
    """Guess a moment that a poll saw, at the latest. Every later change moves ``updated_at``, too."""
    seen, changed = ticket[name], ticket["updated_at"]
    is_earlier = seen is None or (ticket[f"{name}_certainty"] not in _NEAR and changed is not None and changed < seen)
    best = changed if is_imported or is_earlier else seen
    return _first(best, seen, ticket["first_seen_at"])


def _first(*moments: int | None) -> int:
    return next(moment for moment in moments if moment is not None)


def _day(moment: int) -> int:
    """Return the day in Taiwan, counted from 1970."""
    return (moment + _TO_TAIPEI) // _DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class SalesDay:
    """One day of an edition and family in one currency: all its tickets together."""

    edition: str
    family: Family
    day: date
    currency: str
    tickets_paid: int
    tickets_refunded: int
    revenue: float
    refunds: float

    @property
    def tickets(self) -> int:
        """Return how many more paid tickets there are than on the day before."""
        return self.tickets_paid - self.tickets_refunded

    @property
    def earned(self) -> float:
        return self.revenue - self.refunds


def read_sales(warehouse: Warehouse) -> list[SalesDay]:
    """Return the days with payments or refunds, of all editions, by day; none while there is no table."""
    statement = """SELECT edition, family, day, currency, SUM(tickets_paid), SUM(tickets_refunded), SUM(revenue),
      SUM(refunds)
    FROM {daily_sales} WHERE tickets_paid + tickets_refunded > 0
    GROUP BY edition, family, day, currency ORDER BY day, edition, family, currency"""
    return [
        SalesDay(
            edition=str(edition),
            family=family,
            day=date.fromisoformat(day),
            currency=str(currency),
            tickets_paid=int(paid),
            tickets_refunded=int(refunded),
            revenue=float(revenue),
            refunds=float(refunds),
        )
        for edition, family, day, currency, paid, refunded, revenue, refunds in warehouse.select(
            statement, sources=[DAILY_SALES]
        )
    ]
