"""Every warehouse replaces whole partitions or nothing; DuckDB also with other writers and after kill -9."""

from __future__ import annotations

import fcntl
import hashlib
import multiprocessing
import os
import random
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pandas as pd
import pytest

from pycontw_assets.deidentify.policy import Column, load_policy
from pycontw_assets.deidentify.pseudonymize import deidentify
from pycontw_assets.load.duckdb_warehouse import DuckDBWarehouse
from pycontw_assets.load.schema import attendee_tables
from pycontw_assets.load.warehouse import Warehouse, WarehouseError, content_digest
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition
from pycontw_assets_tests.pipeline.engines import (
    KEY,
    KEY_COLUMNS,
    NOW,
    OTHER_KEY,
    TABLE,
    Engine,
    frame,
    put,
)

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "warehouse.duckdb"


def test_a_partition_holds_exactly_the_rows_last_given(warehouse: Warehouse) -> None:
    put(warehouse, frame(5))
    put(warehouse, frame(2, "y"))
    stored = warehouse.read(TABLE)
    assert list(stored["answer"]) == ["y", "y"]
    assert warehouse.partition_rows(TABLE, KEY) == 2
    assert set(stored["loaded_at"]) == {pd.Timestamp(NOW)}


def test_the_same_rows_are_not_written_again(warehouse: Warehouse) -> None:
    assert put(warehouse, frame(3)) == "written"
    assert put(warehouse, frame(3).iloc[::-1]) == "unchanged"
    assert put(warehouse, frame(3, "y")) == "written"
    assert warehouse.partition_digest(TABLE, KEY) == content_digest(frame(3, "y"))


def test_a_partition_somebody_deleted_from_is_written_again(warehouse: Warehouse, engine: Engine) -> None:
    put(warehouse, frame(3))
    engine.execute(f"DELETE FROM {engine.dataset}.{TABLE.name} WHERE attendee_id = 1")
    assert put(warehouse, frame(3)) == "written"
    assert warehouse.partition_rows(TABLE, KEY) == 3


def test_other_partitions_are_left_alone(warehouse: Warehouse) -> None:
    put(warehouse, frame(3, key=OTHER_KEY), OTHER_KEY)
    put(warehouse, frame(2))
    put(warehouse, frame(0))
    assert warehouse.partition_rows(TABLE, OTHER_KEY) == 3


def test_an_event_without_attendees_empties_its_partition(warehouse: Warehouse) -> None:
    put(warehouse, frame(3))
    assert put(warehouse, frame(0)) == "written"
    assert warehouse.partition_rows(TABLE, KEY) == 0
    assert warehouse.partition_digest(TABLE, KEY) is None


@pytest.mark.parametrize("key", ["' OR 1=1 --", "x'; DROP TABLE t; --", "%", ""])
def test_a_hostile_key_touches_no_row(warehouse: Warehouse, key: str) -> None:
    put(warehouse, frame(3))
    warehouse.replace_partition(TABLE, key, frame(0), digest="digest")
    assert warehouse.partition_rows(TABLE, key) == 0
    assert warehouse.partition_rows(TABLE, KEY) == 3


def test_before_the_first_load_there_is_nothing_and_no_error(warehouse: Warehouse) -> None:
    assert warehouse.partition_digest(TABLE, KEY) is None
    assert warehouse.partition_rows(TABLE, KEY) == 0
    assert list(warehouse.read(TABLE).columns) == [column.name for column in TABLE.columns]


def test_the_state_of_a_table_tells_whether_it_is_still_the_one_we_left(warehouse: Warehouse, engine: Engine) -> None:
    assert warehouse.state(TABLE) == ""
    put(warehouse, frame(3))
    left = warehouse.state(TABLE)
    assert warehouse.state(TABLE, is_waiting=False) == left != ""
    engine.execute(f"DROP TABLE {engine.dataset}.{TABLE.name}")
    assert warehouse.state(TABLE) == ""
    put(warehouse, frame(2))
    assert warehouse.state(TABLE) not in (left, "")


def test_rows_of_another_partition_are_refused(warehouse: Warehouse) -> None:
    with pytest.raises(WarehouseError, match="3 rows are not of partition"):
        put(warehouse, frame(3, key=OTHER_KEY))


def test_a_seat_given_twice_is_refused_and_the_old_rows_stay(warehouse: Warehouse) -> None:
    put(warehouse, frame(3))
    with pytest.raises(WarehouseError, match="3 attendees twice"):
        put(warehouse, pd.concat([frame(3), frame(3, "y")]))
    assert warehouse.partition_rows(TABLE, KEY) == 3


def test_a_frame_with_other_columns_is_refused_by_name(warehouse: Warehouse) -> None:
    with pytest.raises(WarehouseError, match=r"missing columns \['answer'\], unknown columns \['reply'\]"):
        put(warehouse, frame(3).rename(columns={"answer": "reply"}))


def test_a_new_question_becomes_a_column_and_old_rows_have_no_answer(warehouse: Warehouse) -> None:
    put(warehouse, frame(2, key=OTHER_KEY), OTHER_KEY)
    newer = attendee_tables(
        [*TABLE.columns[:-2], Column(name="diet", type="STRING", description="Diet.", source="form: y")]
    )["individual"]
    put(warehouse, frame(1).assign(diet="vegan"), table=newer)
    diets = warehouse.read(newer).set_index("partition_key")["diet"]
    assert diets[KEY] == "vegan"
    assert diets[OTHER_KEY].isna().all()


def test_a_table_of_an_older_version_is_read_with_empty_new_columns(warehouse: Warehouse) -> None:
    put(warehouse, frame(2))
    newer = attendee_tables(
        [
            *TABLE.columns[:-2],
            Column(name="diet", type="STRING", description="Diet.", source="form: y"),
            Column(name="asked_at", type="TIMESTAMP", description="When.", source="pipeline"),
        ]
    )["individual"]
    rows = warehouse.read(newer)
    assert len(rows) == 2
    assert rows["answer"].notna().all()
    assert rows[["diet", "asked_at"]].isna().all(axis=None)


def test_a_question_without_a_rule_keeps_its_old_column(warehouse: Warehouse) -> None:
    put(warehouse, frame(2))
    older = attendee_tables(KEY_COLUMNS)["individual"]
    put(warehouse, frame(2).drop(columns="answer"), table=older)
    assert warehouse.read(TABLE)["answer"].isna().all()


def test_a_column_of_another_type_is_refused(warehouse: Warehouse, engine: Engine) -> None:
    put(warehouse, frame(2))
    other = attendee_tables(
        [*KEY_COLUMNS, Column(name="answer", type="INT64", description="A number.", source="form: x")]
    )["individual"]
    with pytest.raises(WarehouseError, match=engine.clash):
        put(warehouse, frame(2).assign(answer=1), table=other)
    assert list(warehouse.read(TABLE)["answer"]) == ["x", "x"]


def test_an_all_null_column_and_a_first_null_row_load(warehouse: Warehouse) -> None:
    put(warehouse, frame(2, None))
    mixed = frame(2_000, None)
    mixed.loc[1_999, "answer"] = "late"
    put(warehouse, mixed)
    assert warehouse.read(TABLE)["answer"].notna().sum() == 1


def test_the_table_describes_itself_and_follows_a_new_description(warehouse: Warehouse, engine: Engine) -> None:
    put(warehouse, frame(1))
    reworded = attendee_tables(
        [*KEY_COLUMNS, Column(name="answer", type="STRING", description="What it's about.", source="form: x")]
    )["individual"]
    put(warehouse, frame(1), table=reworded)
    assert engine.descriptions(TABLE.name) == {column.name: column.description for column in reworded.columns}


def test_no_staging_table_is_left(warehouse: Warehouse, engine: Engine) -> None:
    put(warehouse, frame(3))
    assert engine.tables() == [TABLE.name]


def test_an_error_of_the_engine_quotes_no_value(warehouse: Warehouse) -> None:
    numbers = attendee_tables(
        [*KEY_COLUMNS, Column(name="answer", type="INT64", description="A number.", source="form: x")]
    )["individual"]
    with pytest.raises(WarehouseError) as failure:
        put(warehouse, frame(1, "Zebulon Quokkaworth"), table=numbers)
    assert "Quokkaworth" not in f"{failure.value!r} {failure.value.__context__ and failure.value.__suppress_context__}"
    assert failure.value.__suppress_context__
    assert KEY in str(failure.value)


def test_the_digest_depends_on_the_content_and_not_on_the_order() -> None:
    shuffled = frame(50).sample(frac=1, random_state=1)[["answer", "event_id", "attendee_id", "partition_key"]]
    assert content_digest(shuffled) == content_digest(frame(50))
    loaded = frame(50).assign(loaded_at=NOW, content_digest="x")
    assert content_digest(loaded) == content_digest(frame(50))
    assert content_digest(frame(50, "y")) != content_digest(frame(50))
    assert content_digest(frame(50).rename(columns={"answer": "reply"})) != content_digest(frame(50))


def test_the_digest_is_that_of_the_text_of_pandas() -> None:
    """Tables that an older version wrote count as unchanged."""
    spellings = ["2031-06-02T07:00:00.000001Z", None, "1969-12-31T23:59:59.900000Z", "0001-01-01T00:00:00.000000Z"]
    moments = pd.Series(spellings + ["2031-06-02T07:00:00Z"] * 46).astype("datetime64[us, UTC]")
    rows = frame(50, '"/一般票').assign(seen_at=moments, gone_at=moments[::-1].array)
    columns = sorted(rows.columns)
    text = rows[columns].to_json(orient="split", index=False, date_format="iso", date_unit="us", double_precision=15)
    assert content_digest(rows.iloc[::-1]) == hashlib.sha256(text.encode()).hexdigest()


def test_deidentified_attendees_come_back_as_they_were_loaded(warehouse: Warehouse) -> None:
    answers = (("聯絡人 Email", "a@example.org"), ("Gender / 性別", "女"), ("New question?", "x"))
    attendee = Attendee(
        attendee_id=1, is_paid=True, state="activated", answers=answers, price=0, updated_at=1930000123.4567
    )
    records = [AttendeeRecord(attendee, NOW)]
    rows = deidentify(records, EventPartition(90001, "2031", "individual"), Pseudonymizer()).frame
    table = attendee_tables(load_policy().columns)["individual"]
    put(warehouse, rows, table=table)
    assert content_digest(warehouse.read(table)) == content_digest(rows) == warehouse.partition_digest(table, KEY)


# -- DuckDB ------------------------------------------------------------------------------------------


def test_a_locked_file_is_reported_after_a_bounded_wait(path: Path) -> None:
    path.parent.mkdir()
    with open(f"{path}.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(WarehouseError, match="another process"):
            put(DuckDBWarehouse(path, patience_seconds=0.05), frame(1))


def test_an_unusable_file_is_reported_with_the_fix(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 1_000)
    with pytest.raises(WarehouseError, match=r"warehouse\.duckdb cannot be opened"):
        DuckDBWarehouse(path).partition_rows(TABLE, KEY)


def _write_for_ever(path: Path, started: Event) -> None:
    warehouse = DuckDBWarehouse(path)
    started.set()
    while True:
        put(warehouse, frame(200, "old"))
        put(warehouse, frame(300, "new"))


@pytest.mark.long
def test_a_killed_writer_leaves_the_old_partition_or_the_new_one(path: Path) -> None:
    warehouse = DuckDBWarehouse(path)
    put(warehouse, frame(50, key=OTHER_KEY), OTHER_KEY)
    put(warehouse, frame(200, "old"))
    moments = random.Random(20310601)
    for _ in range(15):
        started = FORK.Event()
        writer = FORK.Process(target=_write_for_ever, args=(path, started))
        writer.start()
        started.wait(30)
        time.sleep(moments.uniform(0, 0.15))
        os.kill(writer.pid or 0, signal.SIGKILL)
        writer.join()
        stored = warehouse.read(TABLE)
        answers = list(stored[stored["partition_key"] == KEY]["answer"])
        assert answers in (["old"] * 200, ["new"] * 300)
        assert len(stored) == len(answers) + 50
    assert put(warehouse, frame(7)) == "written"


def _write_own_and_common(path: Path, number: int) -> None:
    warehouse = DuckDBWarehouse(path)
    own = f"2031-individual-{number}"
    for turn in range(5):
        put(warehouse, frame(20 + turn, f"of {number}", key=own), own)
        put(warehouse, frame(10 * number, f"of {number}"))


@pytest.mark.long
def test_four_processes_write_at_once_and_lose_nothing(path: Path) -> None:
    warehouse = DuckDBWarehouse(path)
    writers = [FORK.Process(target=_write_own_and_common, args=(path, number)) for number in (1, 2, 3, 4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
    assert [warehouse.partition_rows(TABLE, f"2031-individual-{number}") for number in (1, 2, 3, 4)] == [24] * 4
    stored = warehouse.read(TABLE)
    common = stored[stored["partition_key"] == KEY]
    assert len(common) == 10 * int(set(common["answer"]).pop().removeprefix("of "))
    assert common["answer"].nunique() == 1
