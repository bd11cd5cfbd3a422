"""What every warehouse can do, and the statements and checks all of them share. No engine is named here.

A partition is replaced by one statement or transaction, never deleted and then loaded: a reader, and whoever comes
after a crash, sees the old rows or the new ones.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Literal, Protocol

from pycontw_assets.load.schema import (
    DIGEST_COLUMN,
    KEY_COLUMNS,
    LOADED_AT_COLUMN,
    PARTITION_COLUMN,
    Table,
)

if TYPE_CHECKING:
    import pandas as pd

Outcome = Literal["written", "unchanged"]


class WarehouseError(Exception):
    """The warehouse could not do it. The text names tables, columns and partitions, never a value of a row."""


class Warehouse(Protocol):
    """The traffic with a warehouse. Every method is safe to repeat and to call from several processes."""

    def replace_partition(self, table: Table, partition_key: str, frame: pd.DataFrame, *, digest: str) -> Outcome:
        """Make the partition hold exactly these rows, creating or extending the table where needed."""

    def partition_digest(self, table: Table, partition_key: str) -> str | None:
        """The content digest the partition was written with; ``None`` when it holds no rows."""

    def partition_rows(self, table: Table, partition_key: str) -> int: ...

    def read(self, table: Table) -> pd.DataFrame:
        """The whole table, for checks and people; empty, with all columns, when there is none yet."""


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


def content_digest(frame: pd.DataFrame) -> str:
    """Names the rows and columns of a frame, whatever their order and whenever they are loaded."""
    columns = sorted(set(frame.columns) - {DIGEST_COLUMN, LOADED_AT_COLUMN})
    rows = frame.sort_values(list(KEY_COLUMNS))[columns]
    # What ``orient="split"`` without the index writes, which goes cell by cell through Python.
    data = rows.to_json(orient="values", date_format="iso", date_unit="us", double_precision=15)
    content = f'{{"columns":{json.dumps(columns, separators=(",", ":"))},"data":{data}}}'
    return hashlib.sha256(content.encode()).hexdigest()


def check_frame(table: Table, partition_key: str, frame: pd.DataFrame) -> None:
    """Refuses a frame that would put rows into another partition, double a seat or leave out a column."""
    missing = sorted(set(table.content_columns) - set(frame.columns))
    unknown = sorted(set(frame.columns) - set(table.content_columns))
    if missing or unknown:
        raise WarehouseError(f"{table.name}: missing columns {missing}, unknown columns {unknown}")
    foreign = int((frame[PARTITION_COLUMN] != partition_key).sum())
    if foreign:
        raise WarehouseError(f"{table.name}: {foreign} rows are not of partition {partition_key}")
    if doubled := doubled_rows(frame):
        raise WarehouseError(f"{table.name}: {doubled} attendees twice in partition {partition_key}")


def doubled_rows(frame: pd.DataFrame) -> int:
    """Rows whose (event, attendee) is there already."""
    return int(frame.duplicated(list(KEY_COLUMNS)).sum())


def partition_state_statement(target: str) -> str:
    """Rows, and the smallest and largest digest, of the partition given as the only parameter.

    ``target`` is made of plain names, as are those of every statement of a warehouse.
    """
    return f"SELECT COUNT(*), MIN({DIGEST_COLUMN}), MAX({DIGEST_COLUMN})\nFROM {target} WHERE {PARTITION_COLUMN} = ?"
