"""What each day of a sale brought: orders, payments, cancellations and money by ticket. Sums only, no person.

``daily_sales`` is made from the attendee tables, one edition and family at a time, so no order of loads or imports
matters. Its counts are of days and tickets and are shown whole, also small ones: no row says anything about a person,
and hidden counts could not be added up to the dollar. A day is one of Taiwan.

KKTIX tells no time of an order or a payment. The day is that of the poll that saw it, or that of KKTIX's last change
of the ticket, where that is earlier and the poll could not say better. An import has no polls: the last change counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from pycontw_assets.load.readers.view import Dialect
from pycontw_assets.load.schema import LOAD_COLUMNS, PARTITION_COLUMN, Table, TableColumn
from pycontw_assets.load.warehouse import Outcome, Warehouse, replace_rows
from pycontw_assets.records import Family

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
    "What each day brought: one row per day in Taiwan, edition, family, ticket and currency on which something "
    "happened. Counts and sums only.",
    (
        _column(PARTITION_COLUMN, "STRING", "Edition and family: the rows of both are replaced together."),
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
_NAMES = ("day", "ticket_name", "currency", *_COUNTS, *_MONEY)
_PAID = "(is_paid OR paid_at IS NOT NULL)"
_IS_NEAR = "COALESCE(paid_at_certainty, '') IN ('hour', 'day')"


def _earliest(column: str) -> str:
    """Return the expression for the best guess of a moment that a poll saw, at the latest."""
    # ``updated_at`` moves with every later change, so it says nothing where it is later than the poll.
    return (
        f"CASE WHEN event_id < 0 THEN COALESCE(updated_at, {column}, first_seen_at) "
        f"WHEN {column} IS NULL THEN COALESCE(updated_at, first_seen_at) "
        f"WHEN {column}_certainty = 'at_latest' AND updated_at < {column} THEN updated_at ELSE {column} END"
    )


def _statement(attendees: Table, dialect: Dialect) -> str:
    """Return the query over the attendees of an edition, its only parameter. Plain SQL for DuckDB and BigQuery."""
    ordered, paid = dialect.day_in_taipei(_earliest("ordered_at")), dialect.day_in_taipei(_earliest("paid_at"))
    gone = dialect.day_in_taipei("COALESCE(gone_at, updated_at, first_seen_at)")
    return f"""WITH tickets AS (
  SELECT COALESCE(ticket_name, '') AS ticket_name, COALESCE(currency, '') AS currency, COALESCE(price, 0) AS price,
    COALESCE(order_no, -attendee_id) AS order_no, {ordered} AS ordered_day,
    CASE WHEN {_PAID} THEN {paid} END AS paid_day, CASE WHEN is_cancelled THEN {gone} END AS cancelled_day,
    CASE WHEN {_PAID} AND event_id >= 0 AND NOT {_IS_NEAR} THEN 1 ELSE 0 END AS at_latest
  FROM {{{attendees.name}}} WHERE edition = ?
), facts AS (
  SELECT ordered_day AS day, ticket_name, currency, order_no, 1 AS ordered, 0 AS paid, 0 AS cancelled, 0 AS refunded,
    0 AS at_latest, 0 AS revenue, 0 AS refunds
  FROM tickets
  UNION ALL
  SELECT paid_day, ticket_name, currency, NULL, 0, 1, 0, 0, at_latest, price, 0
  FROM tickets WHERE paid_day IS NOT NULL
  UNION ALL
  SELECT cancelled_day, ticket_name, currency, NULL, 0, 0, 1, CASE WHEN paid_day IS NULL THEN 0 ELSE 1 END,
    0, 0, CASE WHEN paid_day IS NULL THEN 0 ELSE price END
  FROM tickets WHERE cancelled_day IS NOT NULL
)
SELECT day, ticket_name, currency, COUNT(DISTINCT order_no) AS orders, SUM(ordered) AS tickets_ordered,
  SUM(paid) AS tickets_paid, SUM(cancelled) AS tickets_cancelled, SUM(refunded) AS tickets_refunded,
  SUM(at_latest) AS payments_at_latest, SUM(revenue) AS revenue, SUM(refunds) AS refunds
FROM facts GROUP BY day, ticket_name, currency ORDER BY day, ticket_name, currency"""  # noqa: S608 - plain names only


def refresh_sales(warehouse: Warehouse, attendees: Table, edition: str, family: Family) -> Outcome:
    """Make ``daily_sales`` hold the days of an edition and family, as the family's table has them now.

    Other editions of the family are made where they lack rows: their tables may be older than ``daily_sales``. Safe to
    repeat. Raise ``WarehouseError``.
    """
    outcome = _refresh(warehouse, attendees, edition, family)
    for other in sorted(_editions(warehouse, attendees) - _editions_with_days(warehouse, family) - {edition}):
        if _refresh(warehouse, attendees, other, family) == "written":
            outcome = "written"
    return outcome


def _refresh(warehouse: Warehouse, attendees: Table, edition: str, family: Family) -> Outcome:
    rows, outcome = _days(warehouse, attendees, edition), None
    while outcome is None:
        written = replace_rows(warehouse, DAILY_SALES, f"{edition}-{family}", _frame(rows, edition, family))
        # Another event of the same edition and family may be loaded at the same time. The last to write looks again.
        before, rows = rows, _days(warehouse, attendees, edition)
        outcome = written if rows == before else None
    return outcome


def _editions(warehouse: Warehouse, attendees: Table) -> set[str]:
    statement = f"SELECT DISTINCT edition FROM {{{attendees.name}}}"  # noqa: S608 - plain names only
    return {str(row[0]) for row in warehouse.select(statement, sources=[attendees])}


def _editions_with_days(warehouse: Warehouse, family: Family) -> set[str]:
    statement = f"SELECT DISTINCT edition FROM {{{DAILY_SALES.name}}} WHERE family = ?"  # noqa: S608
    return {str(row[0]) for row in warehouse.select(statement, family, sources=[DAILY_SALES])}


def _days(warehouse: Warehouse, attendees: Table, edition: str) -> list[tuple[Any, ...]]:
    statement = _statement(attendees, warehouse.dialect)
    return [tuple(row) for row in warehouse.select(statement, edition, sources=[attendees])]


def _frame(rows: Sequence[tuple[Any, ...]], edition: str, family: Family) -> pd.DataFrame:
    import pandas as pd

    kinds = dict.fromkeys(_COUNTS, "Int64") | dict.fromkeys(_MONEY, "Float64")
    fixed = {PARTITION_COLUMN: f"{edition}-{family}", "edition": edition, "family": family}
    columns: dict[str, Any] = {
        name: pd.Series([value] * len(rows), dtype="string[python]") for name, value in fixed.items()
    }
    for place, name in enumerate(_NAMES):
        cells = [float(row[place]) if name in _MONEY else row[place] for row in rows]
        columns[name] = pd.Series(cells, dtype=kinds.get(name, "string[python]"))
    frame: pd.DataFrame = pd.DataFrame(columns)
    return frame


@dataclass(frozen=True, slots=True, kw_only=True)
class SalesDay:
    """What a day brought to an edition and family, in one currency: all its tickets together."""

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
