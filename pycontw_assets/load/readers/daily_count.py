"""``ods_kktix_attendeeId_datetime``: one row per paid ticket with its attendee as JSON, for the daily count.

The old job loaded paid attendees only, and flagged those that had left the book as refunded. The JSON holds no form and
no credential. Rows of former years come from old tables that were set aside, as in ``flat_attendees``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pycontw_assets.load.ownership import set_aside_name
from pycontw_assets.load.readers.flat_attendees import (
    IS_PAID,
    REFUNDED_IN_EXPORTS,
    only_years_without_us,
    payment_of_history,
    year_of_history,
)
from pycontw_assets.load.readers.view import Dialect, View, ViewColumn, literal
from pycontw_assets.load.schema import attendee_table_name
from pycontw_assets.records import FAMILIES, Family

NAME = "ods_kktix_attendeeId_datetime"
# Member of the JSON -> our column.
_MEMBERS = {
    "id": "attendee_id",
    "ticket_id": "ticket_id",
    "ticket_name": "ticket_name",
    "reg_no": "reg_no",
    "state": "state",
    "is_paid": "is_paid",
    "price": "price",
    "currency": "currency",
    "payment_method": "payment_method",
    "ticket_type": "ticket_type",
    "order_no": "order_no",
}


def daily_count(available: Mapping[str, Collection[str]], dialect: Dialect) -> View | None:
    """Return the view over the tables that are there, ours and those set aside; ``None`` when there is none."""
    parts: list[str] = []
    tables = [table for table in map(attendee_table_name, FAMILIES) if table in available]
    for family in FAMILIES:
        table = attendee_table_name(family)
        if table in tables:
            parts.append(_of_ours(family, table, dialect))
        if history := available.get(set_aside_name(table)):
            only = only_years_without_us(table, available, dialect)
            parts.append(_of_history(family, table, history, dialect) + only)
    if not parts:
        return None
    return View(
        name=NAME,
        description="Paid tickets as the organisers' older job kept them: event, attendee as JSON without personal "
        "data, and whether it was refunded.",
        columns=(
            ViewColumn(name="ID", type="INT64", description="KKTIX event; NULL in rows of former years.",
                       sources=_all(tables, "event_id")),
            ViewColumn(name="NAME", type="STRING", sources=_all(tables, "edition", "family"),
                       description="PyCon TW <year> Registration: <Family>, whatever the event is called at KKTIX."),
            ViewColumn(name="ATTENDEE_INFO", type="STRING", sources=_all(tables, *_MEMBERS.values()),
                       description="JSON of the ticket: id, ticket_name, price and others. id: KKTIX's attendee; in "
                       "rows of former years the registration number, which is unique in one family and year."),
            ViewColumn(name="REFUNDED", type="BOOL", description="Cancelled or refunded.",
                       sources=_all(tables, "is_cancelled", "is_paid")),
        ),
        query="\nUNION ALL\n".join(parts),
    )  # fmt: skip


def _all(tables: Collection[str], *columns: str) -> tuple[tuple[str, str], ...]:
    return tuple((table, column) for table in tables for column in columns)


def _name(family: Family, year: str) -> str:
    return f"CONCAT('PyCon TW ', {year}, {literal(f' Registration: {family.capitalize()}')})"


def _of_ours(family: Family, table: str, dialect: Dialect) -> str:
    return _row(
        event=dialect.cast("event_id", "INT64"),
        name=_name(family, "edition"),
        info=dialect.json(_MEMBERS),
        refunded="COALESCE(is_cancelled OR NOT is_paid, TRUE)",
        rest=f"FROM {dialect.table(table)}\nWHERE {IS_PAID}",
    )


def _of_history(family: Family, table: str, available: Collection[str], dialect: Dialect) -> str:
    def old(name: str, type_: str) -> str:
        return dialect.cast(name if name in available else "NULL", type_)

    payment = payment_of_history(available, dialect)
    members = {
        "id": old("registration_no", "INT64"),
        "ticket_name": old("ticket_type", "STRING"),
        "reg_no": old("registration_no", "INT64"),
        "is_paid": "TRUE",
        "price": old("price", "FLOAT64"),
    }
    return _row(
        event=dialect.cast("NULL", "INT64"),
        name=_name(family, f"COALESCE({year_of_history(dialect)}, '?')"),
        info=dialect.json(members),
        refunded=f"COALESCE({old('payment_status', 'STRING')} = {literal(REFUNDED_IN_EXPORTS)}, FALSE)",
        rest=f"FROM {dialect.table(set_aside_name(table))}\nWHERE COALESCE({payment}, 'paid') <> 'not'",
    )


def _row(*, event: str, name: str, info: str, refunded: str, rest: str) -> str:
    return f"SELECT {event} AS ID, {name} AS NAME,\n  {info} AS ATTENDEE_INFO, {refunded} AS REFUNDED\n{rest}"
