"""The assets at the end of the load branch: who came to which edition, and how many came back.

Every load of a table brings them up to date, in its own run, and shows that here. So a poll without news costs nothing,
and the asset is there to make all of it again. No postponed annotations: Dagster reads the types of resources while it
loads.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetMaterialization,
    AssetsDefinition,
    AssetSpec,
    MarkdownMetadataValue,
    MaterializeResult,
    ResourceParam,
    TableColumn,
    TableColumnDep,
    TableColumnLineage,
    TableSchema,
    asset,
)

from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.load.readers.returning import (
    ATTENDEE_EDITIONS,
    FEWEST_SHOWN,
    PERSON_COLUMN,
    RETURNING_COLUMNS,
    RETURNING_DESCRIPTION,
    RETURNING_NAME,
    Returning,
    count_people,
    editions_in,
    read_returning,
    refresh_editions,
)
from pycontw_assets.load.schema import attendee_tables
from pycontw_assets.load.warehouse import Warehouse
from pycontw_assets.orchestration.links import Links
from pycontw_assets.orchestration.metadata import markdown_table, svg_picture, table_columns
from pycontw_assets.orchestration.run_recording import recorded_run
from pycontw_assets.pipeline.reconcile import table_asset
from pycontw_assets.records import FAMILIES
from pycontw_assets.settings import Settings

EDITIONS = ATTENDEE_EDITIONS.name
_TABLES = [table_asset(family) for family in FAMILIES]
_OWNERS = ["team:pycontw-registration"]
_HEADS = ("edition", "family", "first time", "after one year", "after more", "lapsed")
# Series of the plot -> its colour, from bottom to top.
_COLOURS = {"returning_after_more": "#4c6ef5", "returning_after_one_year": "#15aabf", "first_timers": "#94d82d"}
_WIDTH, _HEIGHT, _MARGIN, _LEGEND = 560, 250, 30, 44


def edition_assets(links: Links) -> list[AssetsDefinition | AssetSpec]:
    """Return the table of people by edition, and the view that counts them."""
    return [_attendee_editions(links), _returning_attendees(links)]


def _attendee_editions(links: Links) -> AssetsDefinition:
    lineage = {
        name: [TableColumnDep(table, name) for table in _TABLES] for name in ("edition", "family", PERSON_COLUMN)
    }

    @asset(
        name=EDITIONS,
        deps=_TABLES,
        group_name="load",
        kinds={links.warehouse, "table"},
        owners=_OWNERS,
        tags={"personal_data": "pseudonyms"},
        metadata={
            "dagster/table_name": links.table_name(EDITIONS),
            "table": links.table(EDITIONS),
            "dagster/column_schema": table_columns(ATTENDEE_EDITIONS),
            "dagster/column_lineage": TableColumnLineage(lineage),
        },
        description="Who came to which edition: one row per pseudonym, edition and family with a usable ticket, of "
        "polled events and imported ones. Every load of a table brings its rows up to date. Materialize it to make all "
        "of them again.",
    )
    def attendee_editions(
        context: AssetExecutionContext,
        warehouse: ResourceParam[Warehouse],
        ledger: ResourceParam[Ledger],
        settings: ResourceParam[Settings],
    ) -> MaterializeResult:
        with recorded_run("", EDITIONS, ledger=ledger, settings=settings):
            for family, table in attendee_tables(load_policy().columns).items():
                for edition in editions_in(warehouse, table):
                    refresh_editions(warehouse, table, edition, family)
            people, counts = count_people(warehouse), read_returning(warehouse)
            context.log_event(AssetMaterialization(RETURNING_NAME, metadata=_shown(counts)))
            return MaterializeResult(metadata={"people": people})

    return attendee_editions


def _returning_attendees(links: Links) -> AssetSpec:
    lineage = {
        column.name: [TableColumnDep(table, name) for table, name in column.sources] for column in RETURNING_COLUMNS
    }
    return AssetSpec(
        RETURNING_NAME,
        deps=[EDITIONS],
        group_name="load",
        kinds={links.warehouse, "view"},
        owners=_OWNERS,
        metadata={
            "dagster/table_name": links.table_name(RETURNING_NAME),
            "dagster/column_schema": TableSchema(
                [TableColumn(column.name, column.type, column.description) for column in RETURNING_COLUMNS]
            ),
            "dagster/column_lineage": TableColumnLineage(lineage),
        },
        description=RETURNING_DESCRIPTION,
    )


def editions_refreshed(warehouse: Warehouse) -> Iterable[AssetMaterialization]:
    """Yield what shows that a load brought both up to date."""
    yield AssetMaterialization(EDITIONS, metadata={"people": count_people(warehouse)})
    yield AssetMaterialization(RETURNING_NAME, metadata=_shown(read_returning(warehouse)))


def _shown(counts: Sequence[Returning]) -> dict[str, Any]:
    rows = [[_hidden_or(getattr(row, name)) for name in Returning.__dataclass_fields__] for row in counts]
    return {"returning": markdown_table(_HEADS, rows), "plot": plot(counts)}


def _hidden_or(value: object) -> object:
    return f"under {FEWEST_SHOWN}" if value is None else value


def plot(counts: Sequence[Returning]) -> MarkdownMetadataValue:
    """Draw a bar per edition, of those who came for the first time or again. Counts that are hidden are left out."""
    if not counts:
        return svg_picture("people by edition", None)
    return svg_picture("people by edition", _svg(counts))


def _svg(counts: Sequence[Returning]) -> str:
    editions = sorted({row.edition for row in counts})
    sums = {
        (edition, name): sum(getattr(row, name) or 0 for row in counts if row.edition == edition)
        for edition in editions
        for name in _COLOURS
    }
    highest = max(1, *(sum(sums[edition, name] for name in _COLOURS) for edition in editions))
    step, scale = (_WIDTH - 2 * _MARGIN) / len(editions), (_HEIGHT - _MARGIN - _LEGEND) / highest
    parts = []
    for place, edition in enumerate(editions):
        left, bottom = _MARGIN + place * step, float(_HEIGHT - _MARGIN)
        for name, colour in _COLOURS.items():
            height = sums[edition, name] * scale
            bottom -= height
            parts.append(_bar(left + step * 0.15, bottom, step * 0.7, height, colour))
        total = sum(sums[edition, name] for name in _COLOURS)
        parts.append(_label(left + step / 2, bottom - 4, str(total)))
        parts.append(_label(left + step / 2, _HEIGHT - _MARGIN / 2, edition))
    for place, (name, colour) in enumerate(_COLOURS.items()):
        left = _MARGIN + place * (_WIDTH - 2 * _MARGIN) / len(_COLOURS)
        parts += [_bar(left, 8, 10, 10, colour), _label(left + 14, 17, name.replace("_", " "), anchor="start")]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif">'
    return f'{head}<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>'


def _bar(*numbers: float | str) -> str:
    x, y, width, height, colour = numbers
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'


def _label(x: float, y: float, text: str, *, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="11" fill="#333" text-anchor="{anchor}">{escape(text)}</text>'
