"""Dagster's instance in memory, as ``DagsterInstance.ephemeral()`` makes it, at half the cost of each statement.

Dagster opens a connection and sets two options of SQLite for every statement there. Here each database has one
connection, which threads take in turn.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from dagster import DagsterInstance
from dagster._core.instance.types import InstanceType
from dagster._core.launcher.sync_in_memory_run_launcher import SyncInMemoryRunLauncher
from dagster._core.run_coordinator import DefaultRunCoordinator
from dagster._core.storage.event_log import InMemoryEventLogStorage
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._core.storage.root import TemporaryLocalArtifactStorage
from dagster._core.storage.runs import InMemoryRunStorage


class _Connection:
    def __init__(self, engine: sa.Engine) -> None:
        self._lock = threading.RLock()
        shared = sa.create_engine(engine.url, poolclass=sa.pool.StaticPool, connect_args={"check_same_thread": False})
        self._connection = shared.connect()
        self._connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        self._connection.commit()

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def in_turn(self) -> Iterator[sa.Connection]:
        with self._lock:
            if self._connection.in_transaction():
                yield self._connection
                return
            with self._connection.begin():
                yield self._connection


class _Events(InMemoryEventLogStorage):
    def __init__(self) -> None:
        super().__init__()
        self._shared = _Connection(self._engine)

    def _connect(self):
        return self._shared.in_turn()

    def dispose(self) -> None:
        self._shared.close()
        super().dispose()


class _Runs(InMemoryRunStorage):
    def __init__(self) -> None:
        super().__init__()
        self._shared = _Connection(self._engine)

    def connect(self):
        return self._shared.in_turn()

    def dispose(self) -> None:
        self._shared.close()
        super().dispose()


def ephemeral_instance() -> DagsterInstance:
    return DagsterInstance(
        instance_type=InstanceType.EPHEMERAL,
        local_artifact_storage=TemporaryLocalArtifactStorage(),
        run_storage=_Runs(),
        event_storage=_Events(),
        compute_log_manager=NoOpComputeLogManager(),
        run_coordinator=DefaultRunCoordinator(),
        run_launcher=SyncInMemoryRunLauncher(),
    )
