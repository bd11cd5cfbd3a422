"""A ledger in a file keeps its connections, and never goes on with a file or a process that is not its own."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.remote_ids import record_remote_id, remembered_id


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(file: Path) -> Iterator[Ledger]:
    opened = Ledger(file)
    yield opened
    opened.engine.dispose()


def count_connections(ledger: Ledger) -> list[object]:
    """Return a list that gets an item with every connection that is opened from now on."""
    opened: list[object] = []
    sa.event.listen(ledger.engine, "connect", lambda connection, _record: opened.append(connection))
    return opened


def test_many_transactions_share_a_connection(ledger: Ledger) -> None:
    ledger.engine.dispose()
    opened = count_connections(ledger)
    for number in range(5):
        record_remote_id(ledger, "list", f"name {number}", "value")
    assert len(opened) == 1


def test_a_thread_that_works_at_once_gets_a_connection_of_its_own(ledger: Ledger) -> None:
    with ledger.engine.connect() as one, ledger.engine.connect() as other:
        assert one.connection.dbapi_connection is not other.connection.dbapi_connection


def test_every_connection_waits_for_the_disk(ledger: Ledger) -> None:
    """Intents must be durable before the call that they are about leaves."""
    full = 2
    for _ in range(2):
        with ledger.engine.connect() as db:
            assert db.exec_driver_sql("PRAGMA synchronous").scalar() == full


def test_no_file_is_open_after_the_work(ledger: Ledger, file: Path) -> None:
    with ledger.in_use():
        record_remote_id(ledger, "list", "name", "value")
        assert Path(f"{file}-wal").exists()
    assert list(file.parent.glob(f"{file.name}*")) == [file]
    assert remembered_id(ledger, "list", "name") == "value"


def test_the_files_are_closed_after_work_that_failed(ledger: Ledger, file: Path) -> None:
    def fail() -> None:
        with ledger.in_use():
            record_remote_id(ledger, "list", "name", "value")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not Path(f"{file}-wal").exists()


def test_a_ledger_put_in_its_place_is_read_at_once(ledger: Ledger, file: Path, tmp_path: Path) -> None:
    record_remote_id(ledger, "list", "name", "before the restore")
    other = Ledger(tmp_path / "restored.sqlite")
    record_remote_id(other, "list", "name", "restored")
    other.engine.dispose()
    for companion in ("-wal", "-shm"):
        Path(f"{file}{companion}").unlink()
    os.replace(tmp_path / "restored.sqlite", file)
    assert remembered_id(ledger, "list", "name") == "restored"
    record_remote_id(ledger, "list", "later", "value")
    ledger.engine.dispose()
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT count(*) FROM remote_ids").fetchone() == (2,)


def test_a_forked_child_opens_a_connection_of_its_own(ledger: Ledger) -> None:
    record_remote_id(ledger, "list", "of the parent", "value")
    opened = count_connections(ledger)

    def work() -> None:
        record_remote_id(ledger, "list", "of the child", "value")
        os._exit(len(opened))

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(30)
    assert child.exitcode == 1
    assert opened == [], "the connection of the parent is still open"
    assert remembered_id(ledger, "list", "of the child") == "value"
