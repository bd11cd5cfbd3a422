"""The days of a sale add up to the dollar, whatever was refunded, transferred, bought again or imported."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

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

if TYPE_CHECKING:
    import pandas as pd

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
