"""The warehouses under test, direct access to their contents, and the table and rows of the tests."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pandas as pd
import pytest

from pycontw_assets.deidentify.policy import Column
from pycontw_assets.load.bigquery_warehouse import BigQueryWarehouse
from pycontw_assets.load.duckdb_warehouse import DuckDBWarehouse
from pycontw_assets.load.schema import Table, attendee_tables
from pycontw_assets.load.warehouse import Warehouse, content_digest
from pycontw_assets_tests import bigquery

KEY = "2031-individual-90001"
OTHER_KEY = "2031-individual-90002"
NOW = datetime(2031, 6, 1, 10, tzinfo=timezone.utc)
KEY_COLUMNS = [
    Column(name="partition_key", type="STRING", description="Partition.", source="pipeline"),
    Column(name="event_id", type="INT64", description="Event.", source="pipeline"),
    Column(name="attendee_id", type="INT64", description="Attendee.", source="payload: id"),
]
TABLE = attendee_tables(
    [*KEY_COLUMNS, Column(name="answer", type="STRING", description="The organiser's question.", source="form: x")]
)["individual"]


def frame(count: int, answer: str | None = "x", key: str = KEY) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "partition_key": pd.Series([key] * count, dtype="string[python]"),
            "event_id": pd.Series([int(key.rpartition("-")[2])] * count, dtype="Int64"),
            "attendee_id": pd.Series(range(count), dtype="Int64"),
            "answer": pd.Series([answer] * count, dtype="string[python]"),
        }
    )


def put(warehouse: Warehouse, rows: pd.DataFrame, key: str = KEY, table: Table = TABLE) -> str:
    return warehouse.replace_partition(table, key, rows, digest=content_digest(rows))


class Engine(Protocol):
    warehouse: Warehouse
    dataset: str
    clash: str

    def execute(self, statement: str) -> None: ...

    def rows(self, statement: str) -> list[tuple[Any, ...]]: ...

    def open(self, **options: Any) -> Warehouse: ...

    def fingerprint(self, table: str) -> Any: ...

    def descriptions(self, table: str) -> dict[str, str]: ...

    def tables(self) -> list[str]: ...


class DuckDBEngine:
    dataset = "ods"
    clash = "answer is VARCHAR, not BIGINT"

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self.warehouse = self.open()

    def open(self, **options: Any) -> DuckDBWarehouse:
        return DuckDBWarehouse(Path(self._path), clock=lambda: NOW, **options)

    def execute(self, statement: str) -> None:
        Path(self._path).parent.mkdir(exist_ok=True)
        self.rows(statement)

    def fingerprint(self, table: str) -> Any:
        """Return all that there is to see of a table: columns, comments and rows."""
        without_numbers = "* EXCLUDE (database_oid, schema_oid, table_oid)"
        columns = self.rows(f"SELECT {without_numbers} FROM duckdb_columns() WHERE table_name = '{table}'")
        comments = self.rows(f"SELECT comment FROM duckdb_tables() WHERE table_name = '{table}'")
        return columns, comments, self.rows(f"SELECT * FROM {self.dataset}.{table} ORDER BY ALL")

    def descriptions(self, table: str) -> dict[str, str]:
        return dict(self.rows(f"SELECT column_name, comment FROM duckdb_columns() WHERE table_name = '{table}'"))

    def tables(self) -> list[str]:
        return [name for (name,) in self.rows("SELECT table_name FROM duckdb_tables()")]

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(self._path) as connection:
            return connection.execute(statement).fetchall()


class BigQueryEngine:
    """One dataset in the emulator per test."""

    clash = "answer is STRING, not INT64"

    def __init__(self, variables: dict[str, str]) -> None:
        self.variables = variables
        self.dataset = f"test_{secrets.token_hex(6)}"
        self.client = bigquery.client(variables)
        self.warehouse = self.open()

    def open(self, url: str | None = None, **options: Any) -> BigQueryWarehouse:
        """Return the warehouse as another process opens it; with ``url`` it calls that server."""
        variables = {**self.variables, **({"BIGQUERY_EMULATOR_HOST": url} if url else {})}
        return BigQueryWarehouse(lambda: bigquery.client(variables), self.dataset, **{"clock": lambda: NOW, **options})

    def execute(self, statement: str) -> None:
        self.client.create_dataset(self.dataset, exists_ok=True)
        self.client.query_and_wait(statement)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.client.query_and_wait(statement)]

    def fingerprint(self, table: str) -> Any:
        """Return all that there is to see of a table: columns, labels, description, the last change, and rows."""
        found = self.table(table)
        about = found.schema, found.labels, found.description, found.created, found.modified, found.num_rows
        return about, sorted(self.rows(f"SELECT TO_JSON_STRING(t) FROM {self.dataset}.{table} t"))

    def descriptions(self, table: str) -> dict[str, str]:
        return {field.name: field.description for field in self.table(table).schema}

    def tables(self) -> list[str]:
        return [table.table_id for table in self.client.list_tables(self.dataset)]

    def table(self, name: str = TABLE.name) -> Any:
        return self.client.get_table(f"{self.client.project}.{self.dataset}.{name}")


ENGINES = ["duckdb", pytest.param("bigquery", marks=pytest.mark.bigquery)]


def engine_of(request: pytest.FixtureRequest, folder: Path) -> Engine:
    """Return the engine that a fixture with the parameters ``ENGINES`` asks for."""
    if request.param == "duckdb":
        return DuckDBEngine(folder / "home" / "warehouse.duckdb")
    return BigQueryEngine(request.getfixturevalue("bigquery_emulator"))
