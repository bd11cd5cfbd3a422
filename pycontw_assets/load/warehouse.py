"""The interface of a warehouse, and the statements and checks that all warehouses share. No engine is named here.

A partition is replaced by one statement or transaction, never deleted and then loaded. So readers, also after a crash,
see the old rows or the new ones.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pycontw_assets.api.log import log_step
from pycontw_assets.load.ownership import Kind, Ownership, refusal
from pycontw_assets.load.readers.view import Dialect, View, view_name
from pycontw_assets.load.schema import (
    DIGEST_COLUMN,
    KEY_COLUMNS,
    LOADED_AT_COLUMN,
    PARTITION_COLUMN,
    Table,
    identifier,
)
from pycontw_assets.records import Leftovers

if TYPE_CHECKING:
    import pandas as pd

Outcome = Literal["written", "unchanged"]
ViewOutcome = Literal["made", "unchanged"]


class WarehouseError(Exception):
    """The warehouse could not do it. The text names tables, columns and partitions, never a value of a row."""


class ForeignTable(WarehouseError):
    """Somebody else made what has the name of one of our tables or views. Nothing was changed."""

    def __init__(self, name: str, *, kind: Kind = "table") -> None:
        self.name = name
        super().__init__(refusal(name, kind=kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A table that was copied to ``copy``, checked row for row, and whose name is free now. Names with the dataset.

    ``is_snapshot``: the copy cannot be changed. ``was_copied``: an earlier attempt had made the copy.
    """

    name: str
    copy: str
    rows: int
    is_snapshot: bool
    was_copied: bool


class Warehouse(Protocol):
    """A warehouse. Every method may be repeated, and called by several processes at once.

    A method that meets a table which this program did not make raises ``ForeignTable`` and changes nothing.
    """

    @property
    def dialect(self) -> Dialect:
        """How the warehouse spells the SQL of views."""

    def kept_open(self) -> AbstractContextManager[None]:
        """Let the operations of this thread in the block share what is costly to open. Others wait for its end.

        The first operation opens it, so what comes before that keeps nobody waiting.
        """

    def replace_partition(self, table: Table, partition_key: str, frame: pd.DataFrame, *, digest: str) -> Outcome:
        """Make the partition hold exactly these rows. Create or extend the table where needed.

        ``frame``: the columns of the table but the two of the load. ``digest``: its ``content_digest``. Return
        ``unchanged`` when the partition holds as many rows with this digest. Raise ``WarehouseError``.
        """

    def partition_digest(self, table: Table, partition_key: str) -> str | None:
        """Return the content digest that the partition was written with; ``None`` when it holds no rows."""

    def partition_rows(self, table: Table, partition_key: str) -> int:
        """Count the rows of the partition."""

    def read(self, table: Table) -> pd.DataFrame:
        """Return the whole table, for checks and people. Without a table: no rows, all columns.

        A column that the table of an older version lacks is empty.
        """

    leftovers: Leftovers | None
    """What is kept of replaced rows in spite of ``forget``."""

    def count(self, tables: Iterable[Table], column: str, digest: str) -> int:
        """Count the rows of all these tables that have this digest in this column."""

    def forget(self, tables: Iterable[Table], column: str, digest: str) -> int:
        """Delete these rows, and what replaced rows left behind in storage. Return how many were deleted.

        Nothing is created. Raise ``WarehouseError``.
        """

    def state(self, table: Table, *, is_waiting: bool = True) -> str:
        """Return a text that differs after every change of the table's rows; without a table ``""``. It costs nothing.

        ``is_waiting``: for another process, and for a service that does not answer. Raise ``WarehouseError``.
        """

    def select(self, statement: str, *parameters: str, sources: Sequence[Table]) -> list[tuple[Any, ...]]:
        """Return the rows of a query. ``{name}`` in it stands for a table of ``sources``; ``?`` for a parameter.

        Without one of the tables there are no rows. Nothing is created. Raise ``WarehouseError``.
        """

    def owner_of(self, table: Table) -> Ownership:
        """Say whose the table is, if there is one. Nothing is changed, and nothing foreign raises."""

    def full_name(self, table: Table) -> str:
        """Return the name as people see it: with the dataset and the prefix."""

    def set_aside(self, table: Table) -> SetAside:
        """Copy somebody else's table aside, check the copy row for row, and only then free the name.

        Killed at any point it loses nothing, and it may be repeated. Raise ``WarehouseError`` when the copy's name is
        taken by something else, or the table changes meanwhile.
        """

    def columns(self, names: Iterable[str]) -> dict[str, frozenset[str]]:
        """Return the columns of those of these tables that are there and that this program made or set aside.

        ``names`` are those of ``Table``, or ``ownership.set_aside_name`` of them: without the prefix.
        """

    def put_view(self, view: View) -> ViewOutcome:
        """Make the view, or replace it when its text changed. Raise ``ForeignTable`` rather than hide something."""

    def view_owner(self, name: str) -> Ownership:
        """Say whose the thing under a view's name is. Nothing is changed."""


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


def content_digest(frame: pd.DataFrame, keys: Sequence[str] = KEY_COLUMNS) -> str:
    """Return a digest of rows and columns. Their order and the time of the load do not matter."""
    columns = sorted(set(frame.columns) - {DIGEST_COLUMN, LOADED_AT_COLUMN})
    rows = frame.sort_values(list(keys))[columns]
    rows = rows.assign(**{name: _iso_texts(rows[name]) for name in rows.select_dtypes("datetimetz")})
    # The text of ``orient="split"`` without the index. Pandas would make that one cell by cell in Python.
    data = rows.to_json(orient="values", date_format="iso", date_unit="us", double_precision=15)
    digest = hashlib.sha256(f'{{"columns":{json.dumps(columns, separators=(",", ":"))},"data":'.encode())
    digest.update(data.encode())
    digest.update(b"}")
    return digest.hexdigest()


def _iso_texts(moments: pd.Series[Any]) -> list[str | None]:
    """Return moments as ``to_json`` spells them. It would make a datetime in Python of each of them first."""
    texts: list[str] = moments.to_numpy(dtype="datetime64[us]").astype(str).tolist()
    return [None if text == "NaT" else f"{text}Z" for text in texts]


def replace_rows(warehouse: Warehouse, table: Table, partition_key: str, frame: pd.DataFrame) -> Outcome:
    """Replace the rows of a partition, unless it has the same ones, and log that."""
    begun_at = time.monotonic()
    outcome = warehouse.replace_partition(table, partition_key, frame, digest=content_digest(frame, table.keys))
    seconds = time.monotonic() - begun_at
    log_step(
        "table_replaced",
        step="load",
        table=table.name,
        partition=partition_key,
        rows=len(frame),
        outcome=outcome,
        seconds=seconds,
    )
    return outcome


def check_frame(table: Table, partition_key: str, frame: pd.DataFrame) -> None:
    """Refuse a frame with rows of another partition, with a seat twice, or without a column."""
    missing = sorted(set(table.content_columns) - set(frame.columns))
    unknown = sorted(set(frame.columns) - set(table.content_columns))
    if missing or unknown:
        raise WarehouseError(f"{table.name}: missing columns {missing}, unknown columns {unknown}")
    foreign = int((frame[PARTITION_COLUMN] != partition_key).sum())
    if foreign:
        raise WarehouseError(f"{table.name}: {foreign} rows are not of partition {partition_key}")
    if doubled := doubled_rows(frame, table.keys):
        raise WarehouseError(f"{table.name}: {doubled} attendees twice in partition {partition_key}")


def doubled_rows(frame: pd.DataFrame, keys: Sequence[str] = KEY_COLUMNS) -> int:
    """Count the rows whose keys, such as event and attendee, another row has already."""
    return int(frame.duplicated(list(keys)).sum())


def partition_state_statement(target: str) -> str:
    """Return the query for the rows, the smallest and the largest digest of a partition, its only parameter.

    ``target`` is made of plain names (``schema.identifier``), as in every statement of a warehouse.
    """
    return f"SELECT COUNT(*), MIN({DIGEST_COLUMN}), MAX({DIGEST_COLUMN})\nFROM {target} WHERE {PARTITION_COLUMN} = ?"


def partition_states_statement(target: str) -> str:
    """Return the query for the same of every partition, with its key before it."""
    return (
        f"SELECT {PARTITION_COLUMN}, COUNT(*), MIN({DIGEST_COLUMN}), MAX({DIGEST_COLUMN})\n"
        f"FROM {target} GROUP BY {PARTITION_COLUMN} ORDER BY {PARTITION_COLUMN}"
    )


def count_statement(target: str, column: str) -> str:
    """Return the query for the number of rows with a value, its only parameter, in a column."""
    return f"SELECT COUNT(*)\nFROM {target} WHERE {identifier(column)} = ?"


def delete_statement(target: str, column: str) -> str:
    """Return the statement that deletes these rows."""
    return f"DELETE FROM {target} WHERE {identifier(column)} = ?"  # noqa: S608 - plain names only


def differing_copy(source: str, copy: str) -> str:
    """Return the error for a copy that does not hold what it should, or that somebody else made."""
    return (
        f"{copy} is not a copy of {source} as it is now, so {source} stays as it is and nothing was deleted. Stop what "
        f"writes {source}, rename or delete {copy}, then run the command again"
    )


def place_of_view(view: View, *, dataset: str, prefix: str, views_dataset: str | None) -> tuple[str, str]:
    """Return the dataset and the name of a view. Raise ``WarehouseError`` where it has no place."""
    if view.is_next_to_tables:
        return dataset, identifier(prefix + view.name)
    if views_dataset is None:
        raise WarehouseError(f"VIEWS_DATASET is not set, so the view {view.name} was not made")
    return views_dataset, view_name(view.name)
