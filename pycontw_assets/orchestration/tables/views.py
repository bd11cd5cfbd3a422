"""The views with the old names, as assets: each with its columns and the columns they are made of.

A view is no step of its own. It always shows what its tables hold, so nothing has to run for new rows, and nobody pays
for a run per poll. The load of a table makes a view when it is missing or its text changed, and records that as a
materialization of the view.
"""

from __future__ import annotations

from collections.abc import Mapping

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetSpec,
    TableColumn,
    TableColumnDep,
    TableColumnLineage,
    TableSchema,
)

from pycontw_assets.load.readers.old_reading import KeptViews, keep_views, old_reading
from pycontw_assets.load.readers.view import DuckDBDialect, View
from pycontw_assets.load.schema import Table
from pycontw_assets.load.warehouse import Warehouse
from pycontw_assets.orchestration.links import Links
from pycontw_assets.records import Family
from pycontw_assets.settings import Settings


def view_assets(tables: Mapping[Family, Table], links: Links, owners: list[str]) -> list[AssetSpec]:
    """Return an asset per view; none without ``VIEWS_DATASET``."""
    if links.views_dataset is None:
        return []
    available = {table.name: [column.name for column in table.columns] for table in tables.values()}
    # Names and columns are the same on all engines; the text of the query is not shown.
    return [_asset(view, links, owners) for view in old_reading(available, DuckDBDialect(links.dataset))]


def _asset(view: View, links: Links, owners: list[str]) -> AssetSpec:
    return AssetSpec(
        view.name,
        deps=sorted({table for column in view.columns for table, _ in column.sources}),
        group_name="load",
        kinds={links.warehouse, "view"},
        owners=owners,
        tags={"personal_data": "pseudonyms"},
        description=f"{view.description} A view: it shows what the tables hold at the moment. The load of a table "
        "makes it, and makes it again when its text changed.",
        metadata={
            "dagster/table_name": links.view_name(view.name),
            "view": links.view(view.name),
            "dagster/column_schema": TableSchema(
                [TableColumn(column.name, column.type, column.description) for column in view.columns]
            ),
            "dagster/column_lineage": TableColumnLineage(
                {
                    column.name: [TableColumnDep(AssetKey(table), name) for table, name in column.sources]
                    for column in view.columns
                    if column.sources
                }
            ),
        },
    )


def record_views(context: AssetExecutionContext, warehouse: Warehouse, settings: Settings) -> KeptViews:
    """Bring the views up to date after a load, and record those that were made. Without ``VIEWS_DATASET``: nothing."""
    if settings.views_dataset is None:
        return KeptViews()
    kept = keep_views(warehouse)
    for view in kept.made:
        context.log_event(AssetMaterialization(view.name, metadata={"columns": len(view.columns)}))
    return kept
