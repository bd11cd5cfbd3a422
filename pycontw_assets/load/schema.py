"""The three attendee tables: names, columns and what each column is for.

What the columns hold is decided by the field policy, which is passed in; only the two columns about the load
itself are defined here. Nothing here knows an engine: types are BigQuery's names, an engine maps them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from pycontw_assets.records import FAMILIES, Family

PARTITION_COLUMN = "partition_key"
KEY_COLUMNS = ("event_id", "attendee_id")
DIGEST_COLUMN = "content_digest"
LOADED_AT_COLUMN = "loaded_at"

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,127}")
_FAMILY_WORDS: Mapping[Family, str] = {
    "corporate": "paid by an employer",
    "individual": "bought by the person",
    "reserved": "set aside for speakers, sponsors, staff and guests",
}


class ColumnLike(Protocol):
    """What a table has to know of a column; the policy's columns are of this shape."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def source(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumn:
    name: str
    type: str
    mode: str
    description: str
    source: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of attendees: one row per (event id, attendee id), replaced one partition at a time."""

    name: str
    description: str
    columns: tuple[TableColumn, ...]

    @property
    def content_columns(self) -> tuple[str, ...]:
        """The columns a frame brings; the load adds the other two."""
        added = (DIGEST_COLUMN, LOADED_AT_COLUMN)
        return tuple(column.name for column in self.columns if column.name not in added)


def attendee_table_name(family: Family) -> str:
    """Return the name of a family's table; its asset has the same name."""
    return f"ods_kktix_ticket_{family}_attendees"


def attendee_tables(columns: Iterable[ColumnLike]) -> dict[Family, Table]:
    """The table of each family, with the policy's columns followed by those of the load."""
    required = {PARTITION_COLUMN, *KEY_COLUMNS}
    described = tuple(
        TableColumn(
            name=identifier(column.name),
            type=column.type,
            mode="REQUIRED" if column.name in required else "NULLABLE",
            description=column.description,
            source=column.source,
        )
        for column in columns
    )
    missing = required - {column.name for column in described}
    if missing:
        raise ValueError(f"the columns of an attendee table lack {', '.join(sorted(missing))}")
    return {
        family: Table(
            attendee_table_name(family),
            f"KKTIX attendees with a {family} ticket ({_FAMILY_WORDS[family]}), without personal data in clear.",
            described + _LOAD_COLUMNS,
        )
        for family in FAMILIES
    }


def identifier(name: str) -> str:
    """The name, which is safe to stand in a statement unquoted; anything else is refused."""
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError(f"not a plain name for a table or column: {name!r}")
    return name


_LOAD_COLUMNS = (
    TableColumn(
        name=DIGEST_COLUMN,
        type="STRING",
        mode="NULLABLE",
        description="Digest of the whole partition, the same in all its rows: an unchanged partition is not written "
        "again.",
        source="load",
    ),
    TableColumn(
        name=LOADED_AT_COLUMN,
        type="TIMESTAMP",
        mode="NULLABLE",
        description="When the partition was written.",
        source="load",
    ),
)
