"""The days of a sale add up to the dollar, whatever was refunded, transferred, bought again or imported."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.deidentify.pseudonymize import deidentify
from pycontw_assets.load.duckdb_warehouse import DuckDBWarehouse
from pycontw_assets.load.readers.daily_sales import (
    DAILY_SALES,
    SOURCES,
    SalesDay,
    read_sales,
    refresh_all_sales,
    refresh_sales,
    sales_by_day,
)
from pycontw_assets.load.schema import attendee_tables
from pycontw_assets.load.warehouse import Outcome, content_digest, replace_rows
from pycontw_assets.orchestration.reporting.daily_sales import sales_refreshed
from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition
from pycontw_assets_tests.unit.conftest import PSEUDONYMIZER

TABLES = attendee_tables(load_policy().columns)
TABLE = TABLES["individual"]
EVENT = EventPartition(90001, "2031", "individual")
# Three in the afternoon in Taiwan.
MONDAY = datetime(2031, 6, 2, 7, tzinfo=timezone.utc)
MINUTE, DAY = timedelta(minutes=5), timedelta(days=1)


@pytest.fixture
def warehouse(tmp_path: Path) -> DuckDBWarehouse:
    return DuckDBWarehouse(tmp_path / "warehouse.duckdb")


def rows_of(records: Iterable[AttendeeRecord], event: EventPartition = EVENT) -> pd.DataFrame:
    return deidentify(records, event, PSEUDONYMIZER).frame


def ticket(
    number: int, *, order: int | None = None, at: datetime = MONDAY, paid: datetime | None = MONDAY,
    price: float = 2500, gone: datetime | None = None, name: str = "Early bird", **record: Any,
) -> AttendeeRecord:  # fmt: skip
    """Return an attendee that polls saw within minutes. ``paid``: when; ``gone``: when it was refunded."""
    attendee = Attendee(
        attendee_id=number,
        is_paid=paid is not None and gone is None,
        state="cancelled" if gone else "activated",
        answers=(("Contact Email", "anna@example.org"),),
        ticket_name=name,
        order_no=order or number,
        price=price,
        currency="TWD",
        updated_at=(gone or paid or at).timestamp(),
    )
    bounds = {"listed_after": at - MINUTE, "paid_seen_after": paid - MINUTE if paid else None}
    return AttendeeRecord(attendee, at, gone_at=gone, paid_seen_at=paid, **{**bounds, **record})


def load(warehouse: DuckDBWarehouse, records: Iterable[AttendeeRecord], event: EventPartition = EVENT) -> Outcome:
    replace_rows(warehouse, TABLES[event.family], event.key, rows_of(records, event))
    return refresh_sales(warehouse, event, rows_of(records, event))


def days(records: Iterable[AttendeeRecord], event: EventPartition = EVENT) -> list[dict[str, Any]]:
    found = sales_by_day(event, rows_of(records, event)).sort_values(list(DAILY_SALES.keys))
    assert set(found["partition_key"]) <= {event.key}
    return [dict(row) for row in found[NAMES].to_dict("records")]


NAMES = [name for name in DAILY_SALES.content_columns if name not in ("partition_key", "edition", "family")]


def row(day: str, **counts: Any) -> dict[str, Any]:
    """Return a row of the table in which everything is 0 that is not named."""
    texts = {"day": day, "ticket_name": counts.pop("name", "Early bird"), "currency": "TWD"}
    return {**dict.fromkeys(NAMES, 0), **texts, **counts}


def test_a_day_has_its_orders_payments_and_money() -> None:
    records = [ticket(1, order=7), ticket(2, order=7), ticket(3, price=4200.5, name="Regular"), ticket(4, paid=None)]
    assert days(records) == [
        row("2031-06-02", orders=2, tickets_ordered=3, tickets_paid=2, revenue=5000),
        row("2031-06-02", name="Regular", orders=1, tickets_ordered=1, tickets_paid=1, revenue=4200.5),
    ]


def test_a_refund_counts_on_its_own_day_and_the_payment_stays_on_its_day() -> None:
    assert days([ticket(1, gone=MONDAY + 3 * DAY), ticket(2, paid=None, gone=MONDAY + DAY)]) == [
        row("2031-06-02", orders=2, tickets_ordered=2, tickets_paid=1, revenue=2500),
        row("2031-06-03", tickets_cancelled=1),
        row("2031-06-05", tickets_cancelled=1, tickets_refunded=1, refunds=2500),
    ]


def test_a_ticket_bought_again_after_a_refund_is_another_one() -> None:
    again = MONDAY + 4 * DAY
    found = days([ticket(1, gone=MONDAY + 3 * DAY), ticket(2, at=again, paid=again)])
    assert sum(day["revenue"] - day["refunds"] for day in found) == 2500
    assert sum(day["tickets_paid"] - day["tickets_refunded"] for day in found) == 1


def test_a_transfer_changes_no_day() -> None:
    moved = ticket(1)
    other = Attendee(**{
        name: getattr(moved.attendee, name) for name in moved.attendee.__dataclass_fields__
    } | {"answers": (("Contact Email", "ben@example.org"),), "updated_at": (MONDAY + 9 * DAY).timestamp()})  # fmt: skip
    record = AttendeeRecord(other, MONDAY, paid_seen_at=MONDAY, listed_after=MONDAY, paid_seen_after=MONDAY)
    assert days([record]) == days([ticket(1)])


def test_a_day_ends_at_midnight_in_taiwan() -> None:
    late = datetime(2031, 6, 2, 15, 59, tzinfo=timezone.utc)
    found = days([ticket(1, at=late, paid=late), ticket(2, at=late + MINUTE, paid=late + MINUTE)])
    assert [day["day"] for day in found] == ["2031-06-02", "2031-06-03"]


def test_what_was_sold_before_the_first_poll_counts_on_the_day_of_its_last_change() -> None:
    """KKTIX tells no time of payment, and the last change is not later than the first poll."""
    changed = (MONDAY - 20 * DAY).timestamp()
    old = ticket(1, listed_after=None, paid_seen_after=None)
    old = AttendeeRecord(
        Attendee(**{name: getattr(old.attendee, name) for name in old.attendee.__dataclass_fields__}
                 | {"updated_at": changed}),
        MONDAY, paid_seen_at=MONDAY,
    )  # fmt: skip
    assert days([old]) == [
        row("2031-05-13", orders=1, tickets_ordered=1, tickets_paid=1, payments_at_latest=1, revenue=2500)
    ]


def test_an_import_counts_on_the_days_of_its_payments() -> None:
    imported = EventPartition.imported("2019", "individual")
    paid = ticket(1)
    found = days([AttendeeRecord(paid.attendee, MONDAY + 400 * DAY)], imported)
    assert found == [row("2031-06-02", orders=1, tickets_ordered=1, tickets_paid=1, revenue=2500)]


def test_two_events_of_a_family_add_up_and_a_repeated_load_writes_nothing(warehouse: DuckDBWarehouse) -> None:
    other = EventPartition(90002, "2031", "individual")
    assert load(warehouse, [ticket(1)]) == "written"
    assert load(warehouse, [ticket(5, price=100)], other) == "written"
    assert load(warehouse, [ticket(1)]) == "unchanged"
    [day] = read_sales(warehouse)
    assert day == SalesDay(
        edition="2031", family="individual", day=date(2031, 6, 2), currency="TWD", tickets_paid=2, tickets_refunded=0,
        revenue=2600, refunds=0,
    )  # fmt: skip


def test_editions_that_were_loaded_before_the_table_was_there_are_made_with_the_next_load(
    warehouse: DuckDBWarehouse,
) -> None:
    former = EventPartition(80001, "2030", "individual")
    replace_rows(warehouse, TABLE, former.key, deidentify([ticket(1)], former, PSEUDONYMIZER).frame)
    load(warehouse, [ticket(2)])
    shown = sales_refreshed(warehouse, EVENT, {}, MONDAY)
    assert [day.edition for day in read_sales(warehouse)] == ["2030", "2031"]
    assert "2030" in str(shown.metadata["sums"].value)


def test_days_made_again_are_the_same_and_rows_that_left_take_theirs_with_them(warehouse: DuckDBWarehouse) -> None:
    load(warehouse, [ticket(1)])
    written = read_sales(warehouse)
    refresh_all_sales(warehouse, TABLE)  # from the table, whose types are those of the engine
    assert read_sales(warehouse) == written != []
    assert warehouse.partition_digest(DAILY_SALES, EVENT.key) == content_digest(
        sales_by_day(EVENT, rows_of([ticket(1)])), DAILY_SALES.keys
    )
    assert load(warehouse, []) == "written"
    assert read_sales(warehouse) == []


def test_the_lineage_names_columns_that_are_there() -> None:
    columns = {column.name for column in TABLE.columns}
    assert {source for sources in SOURCES.values() for source in sources} <= columns
    assert set(SOURCES) <= set(DAILY_SALES.content_columns)


MOMENTS = st.sampled_from([None, *(MONDAY + hours * timedelta(hours=1) for hours in (-200, -9, 0, 2, 9, 30, 900))])
RECORDS = st.builds(
    lambda first, optional, fields: AttendeeRecord(
        Attendee(answers=(), **{**fields, "updated_at": optional.pop() and MONDAY.timestamp() - 40_000}),
        first,
        **dict(zip(("gone_at", "listed_after", "paid_seen_at", "paid_seen_after"), optional, strict=True)),
    ),
    MOMENTS.map(lambda moment: moment or MONDAY),
    st.lists(MOMENTS, min_size=5, max_size=5),
    st.fixed_dictionaries({
        "attendee_id": st.integers(1, 10**15),
        "is_paid": st.sampled_from([True, False, None]),
        "state": st.sampled_from(["activated", "cancelled", None]),
        "ticket_name": st.sampled_from(["Early bird", "Regular", None]),
        "currency": st.sampled_from(["TWD", None]),
        "order_no": st.sampled_from([None, 7, 8, 2**53 + 1]),
        "price": st.sampled_from([None, 0, 0.1, 0.7, 2500.0]),
    }),
)  # fmt: skip


def plain_sums(event: EventPartition, rows: pd.DataFrame) -> dict[tuple[str, str, str], dict[str, float]]:
    """Return the sums by day, ticket and currency, one ticket and one datetime after the other."""
    sums: dict[tuple[str, str, str], dict[str, float]] = {}
    orders: set[tuple[str, str, str, int]] = set()
    for cells in rows.astype(object).to_dict("records"):
        row: dict[str, Any] = {str(name): None if pd.isna(cell) else cell for name, cell in cells.items()}
        was_paid, price = row["is_paid"] is True or row["paid_at"] is not None, row["price"] or 0
        ordered = key_of(row, guessed(event, row, "ordered_at"))
        is_another = (*ordered, order := row["order_no"] or -row["attendee_id"]) not in orders
        orders.add((*ordered, order))
        facts = [(ordered, {"orders": is_another, "tickets_ordered": 1})]
        if was_paid:
            is_late = not event.is_imported and row["paid_at_certainty"] not in ("hour", "day")
            paid = {"tickets_paid": 1, "payments_at_latest": is_late, "revenue": price}
            facts.append((key_of(row, guessed(event, row, "paid_at")), paid))
        if row["is_cancelled"]:
            cancelled = {"tickets_cancelled": 1, "tickets_refunded": was_paid, "refunds": price if was_paid else 0}
            facts.append((key_of(row, row["gone_at"] or row["updated_at"] or row["first_seen_at"]), cancelled))
        for key, numbers in facts:
            of_day = sums.setdefault(key, dict.fromkeys(NAMES[3:], 0))
            for name, number in numbers.items():
                of_day[name] += number
    return sums


def key_of(row: dict[str, Any], moment: datetime) -> tuple[str, str, str]:
    day = moment.astimezone(timezone(timedelta(hours=8))).strftime("%Y-%m-%d")
    return day, row["ticket_name"] or "", row["currency"] or ""


def guessed(event: EventPartition, row: dict[str, Any], name: str) -> datetime:
    seen, changed, first = row[name], row["updated_at"], row["first_seen_at"]
    is_doubtful = row[f"{name}_certainty"] not in ("hour", "day")
    if changed and (event.is_imported or not seen or (is_doubtful and changed < seen)):
        return changed  # type: ignore[no-any-return]
    return seen or first  # type: ignore[no-any-return]


@settings(max_examples=25)
@given(st.lists(RECORDS, max_size=12, unique_by=lambda record: record.attendee.attendee_id), st.booleans())
def test_days_are_those_of_adding_ticket_by_ticket(records: list[AttendeeRecord], is_imported: bool) -> None:
    event = EventPartition.imported("2019", "individual") if is_imported else EVENT
    rows = rows_of(records, event)
    expected = plain_sums(event, rows)
    with duckdb.connect() as engine:
        as_read = engine.from_df(rows).df()
    for given_rows in (rows, as_read):
        found = sales_by_day(event, given_rows)
        assert list(zip(found["day"], found["ticket_name"], found["currency"], strict=True)) == sorted(expected)
        assert found[NAMES[3:]].to_dict("records") == [expected[key] for key in sorted(expected)]


def test_a_time_before_the_calendar_of_the_shop_has_a_day_that_can_be_read(warehouse: DuckDBWarehouse) -> None:
    """KKTIX may give a nonsensical time of change."""
    wrong = ticket(1, listed_after=None, paid_seen_after=None, at=MONDAY)
    fields = {name: getattr(wrong.attendee, name) for name in wrong.attendee.__dataclass_fields__}
    record = AttendeeRecord(Attendee(**{**fields, "updated_at": -6e10}), MONDAY, paid_seen_at=MONDAY)
    load(warehouse, [record])
    assert [day.day.year for day in read_sales(warehouse)] == [68]
