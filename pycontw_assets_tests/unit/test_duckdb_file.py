"""Every DuckDB that a supported Python brings reads the file, and a copy holds all of it but what was deleted."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from pycontw_assets.load.duckdb_file import file_stamp
from pycontw_assets.load.duckdb_warehouse import DuckDBWarehouse
from pycontw_assets.load.ownership import marked
from pycontw_assets.load.warehouse import WarehouseError
from pycontw_assets_tests.pipeline.engines import KEY, TABLE, frame, put

OLDEST_NUMBER = 64  # of storage version v1.0.0, in bytes 12 to 19 of a file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "warehouse of '31.duckdb"


def storage_number(path: Path) -> int:
    header = path.read_bytes()[:20]
    assert header[8:12] == b"DUCK"
    return int.from_bytes(header[12:], "little")


def made_by_others(path: Path) -> None:
    """Make a file in the newest format, with things of an analyst in it."""
    path.parent.mkdir()
    with duckdb.connect(str(path), config={"storage_compatibility_version": "latest"}) as connection:
        connection.execute("CREATE TABLE notes (number INTEGER PRIMARY KEY); INSERT INTO notes VALUES (7)")
        connection.execute("CREATE VIEW double AS SELECT number * 2 AS number FROM notes")


def test_a_new_file_has_the_format_that_every_duckdb_reads(path: Path) -> None:
    put(DuckDBWarehouse(path), frame(3))
    assert storage_number(path) == OLDEST_NUMBER


def test_a_file_in_a_newer_format_gets_the_old_one_with_the_next_load(path: Path) -> None:
    made_by_others(path)
    assert storage_number(path) > OLDEST_NUMBER
    warehouse = DuckDBWarehouse(path)
    assert put(warehouse, frame(3)) == "written"
    assert storage_number(path) == OLDEST_NUMBER
    assert put(warehouse, frame(3)) == "unchanged"
    assert warehouse.partition_rows(TABLE, KEY) == 3
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("FROM double").fetchall() == [(14,)]
        descriptions = connection.execute("SELECT comment FROM duckdb_tables() WHERE schema_name = 'ods'").fetchall()
    assert descriptions == [(marked(TABLE.description),)]


def test_rows_that_are_loaded_already_renew_the_format_too(path: Path) -> None:
    made_by_others(path)
    with duckdb.connect(str(path)) as connection:
        put(DuckDBWarehouse(path.with_name("other.duckdb")), frame(3))
        connection.execute(f"ATTACH '{path.parent}/other.duckdb' AS other")
        connection.execute(f"CREATE SCHEMA ods; CREATE TABLE ods.{TABLE.name} AS FROM other.ods.{TABLE.name}")
    assert put(DuckDBWarehouse(path), frame(3)) == "unchanged"
    assert storage_number(path) == OLDEST_NUMBER


def test_a_file_that_cannot_be_copied_is_loaded_all_the_same(path: Path) -> None:
    """The copy's place is taken by a folder."""
    made_by_others(path)
    path.with_name(f"{path.name}.new").mkdir()
    assert put(DuckDBWarehouse(path), frame(3)) == "written"
    assert DuckDBWarehouse(path).partition_rows(TABLE, KEY) == 3
    assert storage_number(path) > OLDEST_NUMBER


def test_a_file_of_a_newer_duckdb_is_named_as_the_cause(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of DuckDB 1.5.6. A test of all versions sees them come (pipeline/test_duckdb_versions.py)."""
    said = (
        "Trying to read a database file with version number 69, but we can only read versions between 64 and 68.\n"
        "The database file was created with a newer version of DuckDB."
    )

    def refuse(*_: object, **__: object) -> None:
        raise duckdb.IOException(said)

    monkeypatch.setattr(duckdb, "connect", refuse)
    with pytest.raises(WarehouseError) as caught:
        put(DuckDBWarehouse(path), frame(1))
    assert f"written by a newer DuckDB than the {duckdb.__version__} of this Python" in str(caught.value)
    assert "polls fill a new one" in str(caught.value)


def test_a_file_of_which_nobody_can_say_whether_it_changed_has_no_stamp(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert file_stamp(tmp_path / "file" / "warehouse.duckdb") is None
    assert file_stamp(tmp_path / "warehouse.duckdb") == ()
