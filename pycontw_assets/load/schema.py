"""The three attendee tables: their names, columns and descriptions.

The field policy, which is passed in, decides what the columns hold. Only the two columns about the load are defined
here. Types have BigQuery's names, and every engine maps them to its own.
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
    """A column as the policy describes it."""

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


LOAD_COLUMNS = (
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


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is replaced one partition at a time. ``keys``: the columns in which no two rows are equal.

    One of attendees has one row per event and attendee.
    """

    name: str
    description: str
    columns: tuple[TableColumn, ...]
    keys: tuple[str, ...] = KEY_COLUMNS

    @property
    def content_columns(self) -> tuple[str, ...]:
        """The columns of a frame. The load adds the other two."""
        added = (DIGEST_COLUMN, LOADED_AT_COLUMN)
        return tuple(column.name for column in self.columns if column.name not in added)


def attendee_table_name(family: Family) -> str:
    """Return the name of a family's table; its asset has the same name."""
    return f"ods_kktix_ticket_{family}_attendees"


def attendee_tables(columns: Iterable[ColumnLike]) -> dict[Family, Table]:
    """Return the table of each family: the policy's columns, then the two of the load."""
    required = {PARTITION_COLUMN, *KEY_COLUMNS}
    policy_columns = tuple(
        TableColumn(
            name=identifier(column.name),
            type=column.type,
            mode="REQUIRED" if column.name in required else "NULLABLE",
            description=column.description,
            source=column.source,
        )
        for column in columns
    )
    missing = required - {column.name for column in policy_columns}
    if missing:
        raise ValueError(f"the columns of an attendee table lack {', '.join(sorted(missing))}")
    return {
        family: Table(
            attendee_table_name(family),
            f"KKTIX attendees with a {family} ticket ({_FAMILY_WORDS[family]}), without personal data in clear.",
            policy_columns + LOAD_COLUMNS,
        )
        for family in FAMILIES
    }


def identifier(name: str) -> str:
    """Return the name if it is safe in a statement without quotes. Raise ``ValueError`` otherwise."""
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError(f"not a plain name for a table or column: {name!r}")
    return name
