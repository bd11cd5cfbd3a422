"""The asset of daily sales, at the end of the load branch: money by day, and the curve of the sale.

Every load of a table brings it up to date, in its own run, and shows that here. So a poll without news costs nothing,
and the asset is there to make all of it again. No postponed annotations: Dagster reads the types of resources while it
loads.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetMaterialization,
    AssetsDefinition,
    MaterializeResult,
    MetadataValue,
    ResourceParam,
    TableColumnDep,
    TableColumnLineage,
    asset,
)

from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.load.readers.daily_sales import (
    DAILY_SALES,
    SOURCES,
    SalesDay,
    read_sales,
    refresh_all_sales,
    refresh_missing_sales,
)
from pycontw_assets.load.schema import attendee_tables
from pycontw_assets.load.warehouse import Warehouse
from pycontw_assets.orchestration.links import Links
from pycontw_assets.orchestration.metadata import markdown_table, svg_picture, table_columns
from pycontw_assets.orchestration.run_recording import recorded_run
from pycontw_assets.pipeline.reconcile import table_asset
from pycontw_assets.pipeline.reporting.curves import earned, sales_curves
from pycontw_assets.pipeline.reporting.daily import day_in_taiwan, money
from pycontw_assets.pipeline.reporting.pace import Range, expected_at_opening, last_week
from pycontw_assets.pipeline.reporting.pictures import sales_svg
from pycontw_assets.records import FAMILIES, EventPartition
from pycontw_assets.settings import Settings

NAME = DAILY_SALES.name
_TABLES = [table_asset(family) for family in FAMILIES]
_CAPTION = (
    "Blue: the running sale. Dark grey: the edition before. Light grey: older ones. The blue area holds nine "
    "outcomes of ten."
)
_HEADS = ("edition", "family", "tickets paid", "of them refunded", "revenue", "refunds")


def sales_asset(links: Links) -> AssetsDefinition:
    """Return the table of days, made from the attendee tables."""
    lineage = {
        name: [TableColumnDep(table, source) for table in _TABLES for source in sources]
        for name, sources in SOURCES.items()
    }

    @asset(
        name=NAME,
        deps=_TABLES,
        group_name="load",
        kinds={links.warehouse, "table"},
        owners=["team:pycontw-registration"],
        metadata={
            "dagster/table_name": links.table_name(NAME),
            "table": links.table(NAME),
            "dagster/column_schema": table_columns(DAILY_SALES),
            "dagster/column_lineage": TableColumnLineage(lineage),
        },
        description="What each day brought: orders, payments, cancellations and revenue by ticket, of polled events "
        "and imported ones, without a person. Every load of a table brings its days up to date, and the picture "
        "compares the sale with former editions. Materialize it to make all of it again.",
    )
    def daily_sales(
        context: AssetExecutionContext,
        warehouse: ResourceParam[Warehouse],
        ledger: ResourceParam[Ledger],
        settings: ResourceParam[Settings],
    ) -> MaterializeResult:
        with recorded_run("", NAME, ledger=ledger, settings=settings):
            for table in attendee_tables(load_policy().columns).values():
                refresh_all_sales(warehouse, table)
            shown = show_sales(read_sales(warehouse), settings.opening_days, ledger.clock())
            return MaterializeResult(metadata=shown)

    return daily_sales


def sales_refreshed(
    warehouse: Warehouse, partition: EventPartition, openings: Mapping[str, date], now: datetime
) -> AssetMaterialization:
    """Return what shows that a load brought the days up to date. Make those of editions that were loaded before it."""
    days = read_sales(warehouse)
    # A table of days without another edition may be new, next to an attendee table that is older.
    if {day.edition for day in days if day.family == partition.family} <= {partition.edition}:
        table = attendee_tables(load_policy().columns)[partition.family]
        days = read_sales(warehouse) if refresh_missing_sales(warehouse, table) else days
    return AssetMaterialization(NAME, metadata=show_sales(days, openings, now))


def show_sales(days: Sequence[SalesDay], openings: Mapping[str, date], now: datetime) -> dict[str, Any]:
    """Return what the UI shows of a materialization: the curve, sums by edition, and the expected numbers."""
    curves = sales_curves(days, openings, day_in_taiwan(now))
    shown: dict[str, Any] = {
        "curve": svg_picture("tickets sold by day", sales_svg(curves) if curves else None, _CAPTION),
        "sums": markdown_table(_HEADS, _sums(days)),
    }
    if curves is None:
        return shown
    shown["data_until"] = MetadataValue.text(f"{curves.as_of}, day in Taiwan")
    shown["revenue_less_refunds"] = MetadataValue.text(money(earned(days, curves.running.edition)))
    if expected := expected_at_opening(curves):
        shown["tickets_until_opening_day"] = MetadataValue.text(_range(expected))
    if week := last_week(curves):
        shown["last_seven_days"] = week.sold
        shown["last_seven_days_expected"] = MetadataValue.text(_range(week.expected))
    return shown


def _range(tickets: Range) -> str:
    return f"{tickets.low} to {tickets.high}"


def _sums(days: Sequence[SalesDay]) -> list[list[object]]:
    """Return a row for each edition and family, the newest edition first."""
    sums: dict[tuple[str, str], list[SalesDay]] = {}
    for day in days:
        sums.setdefault((day.edition, day.family), []).append(day)
    return [
        [
            edition,
            family,
            sum(day.tickets_paid for day in found),
            sum(day.tickets_refunded for day in found),
            money(_by_currency(found, "revenue")),
            money(_by_currency(found, "refunds")),
        ]
        for (edition, family), found in sorted(sums.items(), key=lambda item: (-int(item[0][0]), item[0][1]))
    ]


def _by_currency(days: Sequence[SalesDay], name: str) -> dict[str, float]:
    sums: dict[str, float] = {}
    for day in days:
        sums[day.currency] = sums.get(day.currency, 0.0) + getattr(day, name)
    return {currency: amount for currency, amount in sums.items() if amount}
