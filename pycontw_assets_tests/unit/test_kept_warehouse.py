"""Operations may share a connection to DuckDB: it holds the file only then, and an error leaves nothing of it."""

from __future__ import annotations

import fcntl
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pycontw_assets.load.duckdb_warehouse import DuckDBWarehouse
from pycontw_assets.load.schema import TableColumn
from pycontw_assets.load.warehouse import ForeignTable, WarehouseError
from pycontw_assets_tests.pipeline.engines import KEY, TABLE, frame, put


@pytest.fixture
def warehouse(tmp_path: Path) -> DuckDBWarehouse:
    return DuckDBWarehouse(tmp_path / "warehouse.duckdb")


def is_held(folder: Path) -> bool:
    with open(folder / "warehouse.duckdb.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_operations_in_a_block_share_a_connection(warehouse: DuckDBWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    connect = duckdb.connect
    monkeypatch.setattr(duckdb, "connect", lambda *args, **options: opened.append(args) or connect(*args, **options))
    with warehouse.kept_open():
        assert opened == []
        assert put(warehouse, frame(2)) == "written"
        with warehouse.kept_open():
            assert warehouse.partition_rows(TABLE, KEY) == 2
        assert put(warehouse, frame(3)) == "written"
    assert len(opened) == 1
    assert warehouse.partition_rows(TABLE, KEY) == 3


def test_the_file_is_free_before_the_first_operation_and_after_the_block(
    warehouse: DuckDBWarehouse, tmp_path: Path
) -> None:
    with warehouse.kept_open():
        assert not is_held(tmp_path)
        put(warehouse, frame(2))
        assert is_held(tmp_path)
    assert not is_held(tmp_path)


def test_a_table_that_is_made_or_gets_a_column_in_a_block_is_looked_at_again(warehouse: DuckDBWarehouse) -> None:
    added = TableColumn(name="reply", type="STRING", mode="NULLABLE", description="New.", source="form: y")
    wider = replace(TABLE, columns=(*TABLE.columns, added))
    with warehouse.kept_open():
        assert (warehouse.state(TABLE), warehouse.owner_of(TABLE)) == ("", "absent")
        put(warehouse, frame(2))
        assert (warehouse.partition_rows(TABLE, KEY), warehouse.owner_of(TABLE)) == (2, "ours")
        assert "reply" not in warehouse.columns([TABLE.name])[TABLE.name]
        put(warehouse, frame(2).assign(reply="z"), table=wider)
        assert "reply" in warehouse.columns([TABLE.name])[TABLE.name]
        assert list(warehouse.read(wider)["reply"]) == ["z", "z"]


class CountingWarehouse(DuckDBWarehouse):
    """A warehouse that writes down the names that it looks up."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.looked_up: list[str] = []

    def _look_up(self, connection: Any, name: str) -> Any:
        self.looked_up.append(name)
        return super()._look_up(connection, name)


def test_a_table_is_looked_up_once_in_a_block_while_it_stays_as_it_is(tmp_path: Path) -> None:
    warehouse = CountingWarehouse(tmp_path / "warehouse.duckdb")
    put(warehouse, frame(2))
    warehouse.looked_up.clear()
    with warehouse.kept_open():
        for rows in (3, 4):
            put(warehouse, frame(rows))
            assert warehouse.partition_rows(TABLE, KEY) == rows
    assert warehouse.looked_up == [TABLE.name]


def test_an_error_leaves_nothing_and_the_next_operation_goes_on(warehouse: DuckDBWarehouse) -> None:
    put(warehouse, frame(2))
    with warehouse.kept_open():
        with pytest.raises(WarehouseError):
            warehouse.select("SELECT nothing FROM nowhere", sources=[])
        assert put(warehouse, frame(3)) == "written"
    assert warehouse.partition_rows(TABLE, KEY) == 3


def test_a_table_of_somebody_else_is_refused_in_a_block_too(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as other:
        other.execute(f"CREATE SCHEMA ods; CREATE TABLE ods.{TABLE.name} (x INTEGER)")
    with warehouse.kept_open(), pytest.raises(ForeignTable):
        put(warehouse, frame(2))


def test_a_table_is_looked_at_again_when_the_file_changed(
    warehouse: DuckDBWarehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    connect = duckdb.connect
    put(warehouse, frame(2))
    monkeypatch.setattr(duckdb, "connect", lambda *args, **options: opened.append(args) or connect(*args, **options))
    before = warehouse.state(TABLE)
    assert (warehouse.state(TABLE), len(opened)) == (before, 1)
    put(DuckDBWarehouse(tmp_path / "warehouse.duckdb"), frame(3))
    after = warehouse.state(TABLE)
    assert after not in (before, "")
    (tmp_path / "warehouse.duckdb").unlink()
    assert warehouse.state(TABLE) == ""
