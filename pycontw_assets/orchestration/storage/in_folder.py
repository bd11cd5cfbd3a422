"""The storage of an instance in a data folder: Dagster's SQLite tables, without what makes them costly.

Dagster's default keeps each run in a file of its own, which is 150 kB of empty schema, and writes every event of an
asset a second time into an index. It builds a database engine for every statement, which is most of what an event
costs, and compares versions of its schema with every start. Here all runs share a file, which is opened once.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dagster import DagsterInstance
from dagster._core.event_api import EventHandlerFn
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage, SqlPollingEventWatcher
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

_EVENT_LOG = "event_log.db"
_PAGE_BYTES = 16_384  # SQLite's default is 4,096
_PAGES_IN_LOG = 128  # 2 MB of the event log; SQLite's default is 1,000
_LOCK_SECONDS = 30  # how long a writer waits for another one, as in Dagster


class KeptFile:
    """A SQLite file with a connection that stays open. Prepared statements and the columns of tables stay known."""

    def __init__(self, file: Path) -> None:
        url = sa.URL.create("sqlite", database=str(file))
        # More connections are made when they are needed at once, and closed after use.
        self._engine = sa.create_engine(url, connect_args={"timeout": _LOCK_SECONDS}, pool_size=1, max_overflow=-1)
        sa.event.listen(self._engine, "connect", _prepare)
        self._columns: dict[str, frozenset[str]] = {}

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """Yield a connection in a transaction, which is committed at the end."""
        with self._engine.begin() as connection:
            yield connection

    def has_column(self, table: str, column: str) -> bool:
        """Whether there is such a column. What is there stays; what is missing may come with a migration."""
        if column not in self._columns.get(table, ()):
            self._columns[table] = self._columns_of(table)
        return column in self._columns[table]

    def has_table(self, table: str) -> bool:
        if not self._columns.get(table):
            self._columns[table] = self._columns_of(table)
        return bool(self._columns[table])

    def _columns_of(self, table: str) -> frozenset[str]:
        with self.begin() as connection:
            rows = connection.exec_driver_sql("SELECT name FROM pragma_table_info(?)", (table,))
            return frozenset(rows.scalars())

    def close(self) -> None:
        """Close the file. It opens again when it is needed."""
        self._engine.dispose()


def _prepare(connection: Any, _record: object) -> None:
    # The log of writes is emptied by every closing of a file, and so never by a process that keeps it open.
    connection.execute(f"PRAGMA wal_autocheckpoint = {_PAGES_IN_LOG}")
    # When the machine crashes, the last events may be lost, and nothing depends on them. A dead process loses none.
    connection.execute("PRAGMA synchronous = NORMAL")


def create_whole(file: Path, make: Callable[[str], object]) -> Path:
    """Make a file that is not there yet, whole or not at all, because other processes may open it at any time.

    ``make`` gets an empty folder, and makes a file of this name in it.
    """
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as staged:
            make(staged)
            with suppress(FileExistsError):
                os.link(Path(staged) / file.name, file)
    return file


def _make_event_log(folder: str) -> None:
    """Make an empty event log with large pages: with small ones, events of 2 kB leave a fourth of the file empty."""
    ConsolidatedSqliteEventLogStorage(folder)
    with closing(sqlite3.connect(Path(folder) / _EVENT_LOG)) as connection:
        for statement in ("journal_mode = DELETE", f"page_size = {_PAGE_BYTES}"):
            connection.execute(f"PRAGMA {statement}")
        connection.execute("VACUUM")
        connection.execute("PRAGMA journal_mode = WAL")


# Each part is opened by ``register_instance``, the first call that Dagster makes to it: only then is the folder known.
# A folder written down in dagster.yaml would be wrong after the data folder was moved.


class EventLog(ConsolidatedSqliteEventLogStorage):
    """The events that runs and ticks reported: ``history/event_log.db``."""

    def __init__(self) -> None:
        """Open nothing yet."""

    def register_instance(self, instance: DagsterInstance) -> None:
        file = create_whole(_folder(instance) / "history" / _EVENT_LOG, _make_event_log)
        super().__init__(str(file.parent))
        super().register_instance(instance)
        self._kept = KeptFile(file)
        self._watcher: SqlPollingEventWatcher | None = None

    def run_connection(self, run_id: str | None = None) -> Any:
        return self._kept.begin()

    def index_connection(self) -> Any:
        return self._kept.begin()

    # Dagster asks for parts of its own schema with every event, in case it is an older one.

    def has_table(self, table_name: str) -> bool:
        return self._kept.has_table(table_name)

    def has_asset_key_col(self, column_name: str) -> bool:
        return self._kept.has_column("asset_keys", column_name)

    def watch(self, run_id: str, cursor: str | None, callback: EventHandlerFn) -> None:
        """Pass on the events of a run as they come, for the run's page in the UI.

        They are asked for, as with PostgreSQL: an event that is written into an open file does not change it at once.
        """
        self._watcher = self._watcher or SqlPollingEventWatcher(self)
        self._watcher.watch_run(run_id, cursor, callback)

    def end_watch(self, run_id: str, handler: EventHandlerFn) -> None:
        if self._watcher:
            self._watcher.unwatch_run(run_id, handler)

    def dispose(self) -> None:
        if self._watcher:
            self._watcher.close()
            self._watcher = None
        self._kept.close()


class RunStorage(SqliteRunStorage):
    """Runs and their tags: ``history/runs.db``, where Dagster's default has them."""

    def __init__(self) -> None:
        """Open nothing yet."""

    def register_instance(self, instance: DagsterInstance) -> None:
        file = create_whole(_folder(instance) / "history" / "runs.db", SqliteRunStorage.from_local)
        super().__init__(_url(file))
        super().register_instance(instance)
        self._kept = KeptFile(file)

    def connect(self) -> Any:
        return self._kept.begin()

    def has_run_stats_index_cols(self) -> bool:
        return self._kept.has_column("runs", "start_time") and self._kept.has_column("runs", "end_time")

    def dispose(self) -> None:
        super().dispose()
        self._kept.close()


class ScheduleStorage(SqliteScheduleStorage):
    """Ticks and the state of sensors: ``schedules/schedules.db``, where Dagster's default has them.

    Dagster closes an instance without a word to this part, so nothing of it stays open.
    """

    def __init__(self) -> None:
        """Open nothing yet."""

    def register_instance(self, instance: DagsterInstance) -> None:
        file = create_whole(_folder(instance) / "schedules" / "schedules.db", SqliteScheduleStorage.from_local)
        super().__init__(_url(file))
        super().register_instance(instance)


class FolderStorage(DagsterStorage[DagsterInstance], ConfigurableClass):
    """All three, in the folder of the instance. ``dagster.yaml`` names this class, and has nothing to set."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inst_data = inst_data
        self._event_log, self._runs, self._schedules = EventLog(), RunStorage(), ScheduleStorage()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> FolderStorage:
        return cls(inst_data)

    @property
    def event_log_storage(self) -> EventLog:
        return self._event_log

    @property
    def run_storage(self) -> RunStorage:
        return self._runs

    @property
    def schedule_storage(self) -> ScheduleStorage:
        return self._schedules


def _folder(instance: DagsterInstance) -> Path:
    return Path(instance.root_directory)


def _url(file: Path) -> str:
    return sa.URL.create("sqlite", database=str(file)).render_as_string(hide_password=False)
