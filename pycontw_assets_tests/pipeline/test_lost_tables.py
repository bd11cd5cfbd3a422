"""Tables that somebody deleted, emptied or put back from a copy are filled again by the next poll."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.polls import record_table_state, table_state
from pycontw_assets.load.duckdb_warehouse import DuckDBWarehouse
from pycontw_assets.load.schema import attendee_table_name
from pycontw_assets.pipeline.steps import changed_tables, recorded_change
from pycontw_assets.records import EventPartition
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.engines import TABLE, frame, put
from pycontw_assets_tests.pipeline.harness import Pipeline

pytestmark = pytest.mark.thorough

PARTITION = EventPartition(90001, "2031", "individual")
FAMILIES = ("Individual", "Corporate")
NAME = f"ods.{attendee_table_name('individual')}"


def rows(pipeline: Pipeline) -> dict[str, list[dict[str, Any]]]:
    """Return all rows without the times of their loads."""
    return {
        family: [{name: value for name, value in row.items() if name != "loaded_at"} for row in table]
        for family, table in pipeline.tables().items()
    }


@pytest.mark.embedded
def test_the_next_poll_fills_a_warehouse_that_somebody_deleted(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event, 2)
    pipeline.poll()
    before = rows(pipeline)
    pipeline.settings.duckdb_file.unlink()
    report = pipeline.later_poll()
    assert report.ok
    assert [run.job for run in report.runs] == [f"load_{attendee_table_name('individual')}_job"]
    assert rows(pipeline) == before
    assert pipeline.later_poll().runs == ()


def run(statement: str) -> Callable[[Path, Path], None]:
    def damage(file: Path, _older: Path) -> None:
        with duckdb.connect(str(file)) as connection:
            connection.execute(statement)

    return damage


DAMAGES: dict[str, Callable[[Path, Path], Any]] = {
    "an older copy": lambda file, older: shutil.copy(older, file),
    "a table dropped": run(f"DROP TABLE {NAME}"),
    "all tables dropped": run("DROP SCHEMA ods CASCADE"),
    "a row deleted": run(f"DELETE FROM {NAME} WHERE attendee_id = (SELECT min(attendee_id) FROM {NAME})"),
}


@pytest.mark.embedded
@pytest.mark.slow
def test_whatever_somebody_did_to_the_tables_the_next_poll_repairs_it(
    pipeline: Pipeline, world: World, event: int
) -> None:
    for other in (event, *map(world.add_event, [f"PyCon TW 2031 Registration: {name}" for name in FAMILIES])):
        world.sell(other, 2)
    pipeline.until_quiet()
    file, older = pipeline.settings.duckdb_file, pipeline.home / "older.duckdb"
    shutil.copy(file, older)
    world.sell(event)
    pipeline.until_quiet()
    before = rows(pipeline)
    for name, damage in DAMAGES.items():
        damage(file, older)
        assert rows(pipeline) != before, name
        assert pipeline.later_poll().ok
        assert rows(pipeline) == before, name
        assert pipeline.later_poll().runs == ()


# -- what is known of a table -----------------------------------------------------------------------


@dataclass
class Store:
    path: Path
    warehouse: DuckDBWarehouse
    ledger: Ledger

    def load(self, count: int) -> None:
        with recorded_change(TABLE, warehouse=self.warehouse, ledger=self.ledger):
            put(self.warehouse, frame(count))

    def changed(self) -> dict[str, str]:
        return changed_tables([PARTITION], warehouse=self.warehouse, ledger=self.ledger)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    path = tmp_path / "warehouse.duckdb"
    return Store(path, DuckDBWarehouse(path), Ledger(f"sqlite:///{tmp_path}/ledger.sqlite"))


def test_our_own_loads_are_no_change(store: Store) -> None:
    for count in (3, 3, 0, 2):
        store.load(count)
        assert store.changed() == {}


def test_a_load_does_not_hide_what_somebody_else_changed_before_it(store: Store) -> None:
    store.load(3)
    store.path.unlink()
    store.load(2)
    assert store.changed() == {TABLE.name: store.warehouse.state(TABLE)}


def test_a_ledger_of_an_older_version_compares_once(store: Store) -> None:
    put(store.warehouse, frame(3))
    [(name, state)] = store.changed().items()
    record_table_state(store.ledger, name, state)
    assert store.changed() == {}


def test_looking_at_a_warehouse_that_is_not_there_makes_none(store: Store) -> None:
    assert store.changed() == {TABLE.name: ""}
    assert not store.path.exists()


@contextmanager
def held_by_us(path: Path) -> Iterator[None]:
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def held_by_an_analyst(path: Path) -> Iterator[None]:
    """Open the file for writing in another program, which leaves no lock of ours."""
    hold = "import duckdb, sys; connection = duckdb.connect(sys.argv[1]); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as analyst:
        assert analyst.stdout
        analyst.stdout.readline()
        yield
        analyst.communicate()


@pytest.mark.parametrize("held", [held_by_us, held_by_an_analyst])
def test_a_warehouse_that_cannot_be_looked_at_is_not_taken_for_changed(
    store: Store, held: Callable[[Path], Any]
) -> None:
    store.load(3)
    known = table_state(store.ledger, TABLE.name)
    with held(store.path):
        assert store.changed() == {}
    assert table_state(store.ledger, TABLE.name) == known
