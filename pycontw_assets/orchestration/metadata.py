"""Metadata of the assets in Dagster: schemas, lineage of columns, previews, verdicts. Texts and counts only.

The Dagster UI renders Markdown, with the pictures and links in it; also that of descriptions. So Markdown is made here
and nowhere else, and descriptions hold no text from outside.
"""

from __future__ import annotations

import base64
import warnings
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    MarkdownMetadataValue,
    MetadataValue,
    PartitionsDefinition,
    PreviewWarning,
    TableColumn,
    TableColumnDep,
    TableColumnLineage,
    TableRecord,
    TableSchema,
)

from pycontw_assets.api.outlets import for_markdown, from_markdown, shorten
from pycontw_assets.deidentify.policy import CONTACT_ADDRESS_COLUMN, Policy
from pycontw_assets.deidentify.pseudonymize import AS_TYPED_COLUMN
from pycontw_assets.load.schema import Table
from pycontw_assets.records import OrderSnapshot

if TYPE_CHECKING:
    import pandas as pd

PREVIEW_ROWS = 5
_NONE = "none"
_PREVIEWED = ("attendee_id", "ticket_name", "state", "is_paid", "is_usable", "is_cancelled", "updated_at")
_OWN_FIELDS = {
    "first_seen_at": "When a poll first saw the attendee.",
    "gone_at": "When the attendee was found to have left the book; empty while it is there.",
    "listed_after": "The last good poll whose book lacked the attendee.",
    "paid_seen_at": "The first poll that read the ticket as paid.",
    "paid_seen_after": "The last moment at which it was not paid.",
}
_DERIVED = {
    "is_usable": ["is_paid", "state", "gone_at"],
    "is_cancelled": ["state", "gone_at"],
    "ordered_at": ["first_seen_at"],
    "ordered_at_certainty": ["first_seen_at", "listed_after"],
    "paid_at": ["paid_seen_at"],
    "paid_at_certainty": ["is_paid", "paid_seen_at", "paid_seen_after"],
}


def checked(
    asset_name: str,
    checks: Mapping[str, str],
    *,
    partitions_def: PartitionsDefinition | None = None,
    blocking: Collection[str] = (),
) -> list[AssetCheckSpec]:
    """Check name -> what it says when it passes. ``blocking``: nothing may follow from an asset where it does not.

    ``partitions_def`` is the asset's own: without it all events share one verdict, that of the last one checked.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PreviewWarning)  # as Dagster calls checks with partitions
        return [
            AssetCheckSpec(
                name, asset=asset_name, description=text, blocking=name in blocking, partitions_def=partitions_def
            )
            for name, text in checks.items()
        ]


def verdict(
    name: str, problems: Iterable[str], *, is_warning: bool = False, said: str | None = None
) -> AssetCheckResult:
    """Passed when there is no problem. A warning shows, but keeps nothing from being fine."""
    found = list(problems)
    severity = AssetCheckSeverity.WARN if is_warning else AssetCheckSeverity.ERROR
    shown = {"problems": bullets(found)}
    return AssetCheckResult(passed=not found, check_name=name, severity=severity, metadata=shown, description=said)


def bullets(texts: Iterable[str]) -> MarkdownMetadataValue:
    return MetadataValue.md("\n".join(f"- {for_markdown(text)}" for text in texts) or _NONE)


def bulleted(shown: MetadataValue[Any]) -> list[str]:
    """Return the texts that ``bullets`` shows."""
    lines = str(shown.value or _NONE).split("\n")
    return [from_markdown(line.removeprefix("- ")) for line in lines if line != _NONE]


def markdown_table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> MarkdownMetadataValue:
    """Show the rows as a table; ``none`` when there are none."""
    columns, cells = list(heads), [[for_markdown(str(cell)) for cell in row] for row in rows]
    lines = [columns, ["---"] * len(columns), *cells]
    return MetadataValue.md("\n".join(f"| {' | '.join(line)} |" for line in lines) if cells else _NONE)


def markdown_links(links: Iterable[tuple[str, str]]) -> MarkdownMetadataValue:
    """Show links by (text, address). The addresses are those of ``links``, which quotes what it puts into them."""
    return MetadataValue.md(", ".join(f"[{for_markdown(text)}]({address})" for text, address in links) or _NONE)


def svg_picture(title: str, svg: str | None, caption: str = "") -> MarkdownMetadataValue:
    """Show a picture that we drew, ``none`` without one. ``title`` and ``caption``: words of ours.

    A picture without a width of its own fills the dialog that the UI shows it in, and on a wide screen the dialog is as
    wide as the caption.
    """
    if svg is None:
        return MetadataValue.md(_NONE)
    image = base64.b64encode(svg.encode()).decode()
    text = f"\n\n{caption}" if caption else ""
    return MetadataValue.md(f"![{title}](data:image/svg+xml;base64,{image}){text}")


def order_columns(policy: Policy) -> TableSchema:
    """Return the columns of the vault: the allow-listed fields and the form, each with what becomes of it."""
    fields = [
        TableColumn(name, field.type or "form", field.description)
        for name, field in policy.payload.items()
        if field.action == "keep"
    ]
    own = [TableColumn(name, "TIMESTAMP", text) for name, text in _OWN_FIELDS.items()]
    asked = [rule for rule in policy.form if rule.labels]
    form = [TableColumn(rule.labels[0], "answer", f"{rule.description} ({rule.action})") for rule in asked]
    return TableSchema([*fields, *own, *form])


def table_columns(table: Table) -> TableSchema:
    return TableSchema([TableColumn(column.name, column.type, column.description) for column in table.columns])


def column_lineage(table: Table, orders: AssetKey) -> TableColumnLineage:
    """Each column of a table from the field or question of the orders it is made of."""
    sources = {column.name: _sources(column.name, column.source) for column in table.columns}
    if CONTACT_ADDRESS_COLUMN in sources:
        sources[AS_TYPED_COLUMN] = sources[CONTACT_ADDRESS_COLUMN]
    return TableColumnLineage(
        {name: [TableColumnDep(orders, source) for source in found] for name, found in sources.items() if found}
    )


def _sources(name: str, source: str) -> list[str]:
    kind, _, field = source.partition(": ")
    if kind in ("payload", "form"):
        return [field]
    return _DERIVED.get(name, [name] if name in _OWN_FIELDS else [])


def preview_of_rows(frame: pd.DataFrame) -> Any:
    """The newest rows, without a single form answer."""
    newest = frame[list(_PREVIEWED)].sort_values("attendee_id").tail(PREVIEW_ROWS).astype(object)
    return _preview(newest.where(newest.notna(), None).to_dict("records"))


def preview_of_orders(snapshot: OrderSnapshot) -> Any:
    newest = sorted(snapshot.records.values(), key=lambda record: record.attendee.attendee_id)[-PREVIEW_ROWS:]
    return _preview(
        {
            "attendee_id": record.attendee.attendee_id,
            "ticket_name": record.attendee.ticket_name,
            "state": record.ticket_state,
            "is_paid": record.attendee.is_paid,
            "is_usable": record.is_usable,
            "first_seen_at": record.first_seen_at,
        }
        for record in newest
    )


def _preview(rows: Iterable[Mapping[Any, Any]]) -> Any:
    records = [TableRecord({str(name): _cell(value) for name, value in row.items()}) for row in rows]
    names = list(records[0].data) if records else ["attendee_id"]
    return MetadataValue.table(records, schema=TableSchema([TableColumn(name) for name in names]))


def _cell(value: Any) -> str | int | bool:
    if value is None:
        return "-"
    return value if isinstance(value, (bool, int)) else shorten(str(value))


def counted(counts: Mapping[str, int], heading: str) -> Any:
    """Counts as a small table; ``none`` when there are none."""
    return markdown_table([heading, "answers"], sorted(counts.items()))
