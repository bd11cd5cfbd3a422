"""An instance in a data folder keeps its history in few files, which belong to the folder and appear whole."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from dagster import AssetKey, AssetObservation, DagsterInstance, EventLogEntry, job, op
from dagster._core.storage.event_log import SqliteEventLogStorage

from pycontw_assets.orchestration.instance import INSTANCE_CONFIG, close_history, open_instance
from pycontw_assets.orchestration.storage.in_folder import KeptFile, create_whole

SEEN = AssetKey("kktix")


@op
def look() -> None:
    """Do nothing."""


@job
def looking() -> None:
    look()


def observe(instance: DagsterInstance) -> None:
    instance.report_runless_asset_event(AssetObservation(SEEN))


def observations(instance: DagsterInstance) -> int:
    return len(instance.fetch_observations(SEEN, limit=10).records)


def files_of(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_runs_share_a_file(tmp_path: Path) -> None:
    with open_instance(tmp_path) as instance:
        runs = {looking.execute_in_process(instance=instance).run_id for _ in range(2)}
        assert {record.dagster_run.run_id for record in instance.get_run_records()} == runs
        assert all(instance.all_logs(run_id) for run_id in runs)
    expected = {"dagster.yaml", "history/event_log.db", "history/runs.db", "schedules/schedules.db"}
    assert files_of(tmp_path) == expected


def test_the_history_moves_with_the_folder(tmp_path: Path) -> None:
    with open_instance(tmp_path / "here") as instance:
        observe(instance)
    (tmp_path / "here").rename(tmp_path / "there")
    with open_instance(tmp_path / "there") as instance:
        assert observations(instance) == 1
    assert not (tmp_path / "here").exists()


def test_another_process_opens_the_same_history_from_its_reference(tmp_path: Path) -> None:
    with open_instance(tmp_path) as instance:
        observe(instance)
        with DagsterInstance.from_ref(instance.get_ref()) as same:
            assert observations(same) == 1


def test_a_folder_of_an_older_version_keeps_its_history(tmp_path: Path) -> None:
    older = "\n".join(line for line in INSTANCE_CONFIG.splitlines() if not line.startswith("storage:"))
    (tmp_path / "dagster.yaml").write_text(older)
    for expected in (1, 2):
        with open_instance(tmp_path) as instance:
            assert isinstance(instance.event_log_storage, SqliteEventLogStorage)
            observe(instance)
            assert observations(instance) == expected
    assert "history/event_log.db" not in files_of(tmp_path)


def test_a_closed_history_opens_again(tmp_path: Path) -> None:
    with open_instance(tmp_path) as instance:
        observe(instance)
        close_history(instance)
        assert not [name for name in files_of(tmp_path) if name.startswith("history/") and name.endswith("-wal")]
        assert observations(instance) == 1


def test_the_events_of_a_run_reach_who_watches_it_while_the_file_is_open(tmp_path: Path) -> None:
    """A page of the UI watches from another process, and the run does not close the file."""
    seen, arrived = [], threading.Event()

    def hear(entry: EventLogEntry, _cursor: str) -> None:
        seen.append(entry.message)
        arrived.set()

    with open_instance(tmp_path) as running, open_instance(tmp_path) as watching:
        run = running.create_run_for_job(looking)
        watching.watch_event_logs(run.run_id, None, hear)
        running.report_engine_event("begun", run)
        assert arrived.wait(30)
        watching.end_watch_event_logs(run.run_id, hear)
    assert seen == ["begun"]


def test_dagster_can_migrate_it(tmp_path: Path) -> None:
    with open_instance(tmp_path) as instance:
        observe(instance)
        instance.upgrade()
        assert observations(instance) == 1


def test_a_new_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "new" / "some.db"

    def make(folder: str) -> None:
        (Path(folder) / "some.db").write_text("half")
        assert not file.exists()
        (Path(folder) / "some.db").write_text("whole")

    assert create_whole(file, make).read_text() == "whole"
    assert files_of(tmp_path) == {"new/some.db"}


def test_a_file_that_another_process_made_meanwhile_stays(tmp_path: Path) -> None:
    file = tmp_path / "some.db"

    def make(folder: str) -> None:
        (Path(folder) / "some.db").write_text("ours")
        file.write_text("theirs")

    assert create_whole(file, make).read_text() == "theirs"


@pytest.fixture
def kept(tmp_path: Path) -> KeptFile:
    kept = KeptFile(tmp_path / "numbers.db")
    with kept.begin() as connection:
        connection.execute(sa.text("PRAGMA journal_mode = WAL"))
        connection.execute(sa.text("CREATE TABLE numbers (number INTEGER)"))
    return kept


def test_one_connection_serves_one_statement_after_the_other(kept: KeptFile) -> None:
    seen = set()
    for _ in range(3):
        with kept.begin() as connection:
            seen.add(id(connection.connection.dbapi_connection))
    assert len(seen) == 1


def test_a_failed_transaction_leaves_nothing(kept: KeptFile) -> None:
    def write() -> None:
        with kept.begin() as connection:
            connection.execute(sa.text("INSERT INTO numbers VALUES (1)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    with kept.begin() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM numbers")) == 0


def test_threads_write_at_the_same_time(kept: KeptFile) -> None:
    def write() -> None:
        for number in range(20):
            with kept.begin() as connection:
                connection.execute(sa.text("INSERT INTO numbers VALUES (:number)"), {"number": number})

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with kept.begin() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM numbers")) == 80


def test_what_a_table_lacks_is_looked_for_again(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "some.db")) as connection:
        file = KeptFile(tmp_path / "some.db")
        assert not file.has_table("some")
        connection.execute("CREATE TABLE some (first TEXT)")
        assert (file.has_table("some"), file.has_column("some", "second")) == (True, False)
        connection.execute("ALTER TABLE some ADD COLUMN second TEXT")
        assert file.has_column("some", "second")
        file.close()
