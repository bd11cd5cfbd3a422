"""Schema changes happen whole or not at all, in one process at a time, and never in read-only commands."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pycontw_assets.ledger import ledger as ledger_module
from pycontw_assets.ledger.database.copies import reading_engine
from pycontw_assets.ledger.database.engine import LedgerError, open_engine
from pycontw_assets.ledger.database.migrations import SCHEMA_VERSION, prepare
from pycontw_assets.ledger.database.schema_6 import NUMBER_CHANGES
from pycontw_assets.ledger.database.tables import batches, invitations, metadata
from pycontw_assets.ledger.grants import current_grants, intend_grants
from pycontw_assets.ledger.guest_lists import guest_list_state
from pycontw_assets.ledger.ledger import Ledger, copy_of
from pycontw_assets.ledger.locks import LockName, lock_owner
from pycontw_assets.ledger.people import erased_ids
from pycontw_assets.ledger.polls import news_since
from pycontw_assets_tests.migration.fixture import build_ledger, rows_of
from pycontw_assets_tests.postgres import PostgresServer

EDITION, CORPORATE = "2031", "2031-corporate-90004"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database without tables, on either engine."""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.url(server.new_database())
    return f"sqlite:///{tmp_path / 'ledger.sqlite'}"


@pytest.fixture
def old_url(empty_url: str) -> str:
    build_ledger(empty_url)
    return empty_url


def shape(engine: sa.Engine) -> dict[str, Any]:
    """Return tables, columns, keys and indexes. Old constraints keep their old names, so names are left out."""
    tables = sa.inspect(engine)
    return {
        name: {
            "columns": {c["name"]: (str(c["type"]), c["nullable"]) for c in tables.get_columns(name)},
            "key": tables.get_pk_constraint(name)["constrained_columns"],
            "unique": sorted(u["column_names"] for u in tables.get_unique_constraints(name)),
            "indexes": sorted(
                (i["name"], tuple(i["column_names"]), bool(i["unique"]), str(sorted(i["dialect_options"])))
                for i in tables.get_indexes(name)
                if not i.get("duplicates_constraint")
            ),
            "foreign": [(f["constrained_columns"], f["referred_table"]) for f in tables.get_foreign_keys(name)],
        }
        for name in tables.get_table_names()
    }


def content(engine: sa.Engine, tables: sa.MetaData | None = None) -> dict[str, list[Any]]:
    """Return every row of all tables, or of the given ones."""
    with engine.connect() as db:
        if tables is None:
            tables = sa.MetaData()
            tables.reflect(db)
        return {
            table.name: sorted((tuple(row) for row in db.execute(sa.select(table))), key=repr)
            for table in tables.sorted_tables
        }


def check_a_few_facts(ledger: Ledger) -> None:
    assert erased_ids(ledger, CORPORATE) == {700121}
    assert guest_list_state(ledger).size == 29
    assert CORPORATE in news_since(ledger)
    open_grants = [row for row in rows_of("grants") if row["edition"] == EDITION and row["state"] != "revoked"]
    assert len(current_grants(ledger, EDITION)) == len(open_grants)
    spaces = {grant.space_digest for grant in current_grants(ledger, EDITION).values()}
    assert spaces == {guest_list_state(ledger).space_digest}, "everybody is in the only space of then"
    assert None not in spaces


# -- texts of the mail service ------------------------------------------------------------------------

SAID = "550 <mei.chen@example.org>: no such user"
STORED_AS = {
    "HARD_BOUNCE; UNSUBSCRIBE": "HARD_BOUNCE; UNSUBSCRIBE",
    SAID: "another reason",
    f"HARD_BOUNCE; {SAID}": "HARD_BOUNCE; another reason",
    f"Cancelled: {SAID}": "Cancelled: another reason",
}


@pytest.mark.parametrize("said", STORED_AS)
def test_what_the_mail_service_said_becomes_a_known_reason(old_url: str, said: str) -> None:
    with open_engine(old_url).begin() as db:
        keys = {"said": said, "cause": f"unreachable: {said}", "title": f"attendee 7 cannot be mailed ({said})"}
        db.execute(sa.text("UPDATE invitations SET reason = :said WHERE reason IS NOT NULL"), keys)
        db.execute(sa.text("UPDATE batches SET remote_status = :said WHERE state = 'cancelled'"), keys)
        db.execute(sa.text("UPDATE troubles SET cause = :cause, text = :title WHERE subject = 'poll'"), keys)
        db.execute(sa.text("UPDATE alarms SET cause = :cause, title = :title WHERE cause LIKE 'poll%'"), keys)
    ledger = Ledger(old_url)
    assert ledger.column(sa.select(invitations.c.reason).where(invitations.c.reason.is_not(None))) == {STORED_AS[said]}
    assert ledger.column(sa.select(batches.c.remote_status).where(batches.c.state == "cancelled")) == {STORED_AS[said]}
    assert SAID not in str(content(ledger.engine))


# -- whole or not at all -----------------------------------------------------------------------------


def test_a_migrated_ledger_has_the_tables_of_a_new_one(old_url: str) -> None:
    migrated = Ledger(old_url)
    fresh = shape(migrated.engine)
    with migrated.engine.begin() as db:
        metadata.drop_all(db)
    assert shape(Ledger(old_url).engine) == fresh


class Stopped(Exception):
    """Raised in place of anything that ends a process."""


def stop() -> None:
    raise Stopped


class Statements:
    """Counts the writing statements of a schema change, and stops the change at one of them."""

    def __init__(self, engine: sa.Engine, stop_at: int = 0, how: Callable[[], None] = stop) -> None:
        self.number = 0
        self._stop_at = stop_at
        self._how = how
        sa.event.listen(engine, "before_cursor_execute", self._count)

    def stop_at(self, number: int) -> None:
        """Begin to count again."""
        self.number, self._stop_at = 0, number

    def _count(self, _db: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "PRAGMA", "BEGIN")):
            return
        self.number += 1
        if self.number == self._stop_at:
            self._how()


def statements_of(url: str) -> int:
    engine = open_engine(url)
    statements = Statements(engine)
    prepare(engine)
    engine.dispose()
    return statements.number


@pytest.mark.long
def test_a_stopped_migration_leaves_the_old_ledger_whole(old_url: str) -> None:
    engine = open_engine(old_url)
    statements, tables = Statements(engine), sa.MetaData()
    with engine.connect() as db:
        tables.reflect(db)
    before = content(engine, tables)
    while True:
        statements.stop_at(statements.number + 1 if statements.number else 1)
        try:
            prepare(engine)
        except Stopped:
            assert content(engine, tables) == before, f"statement {statements.number}"
            assert set(sa.inspect(engine).get_table_names()) == tables.tables.keys()
            continue
        break
    assert statements.number > 50, "hardly a statement was stopped"
    check_a_few_facts(Ledger(old_url))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_after_a_kill_the_old_ledger_is_whole(old_url: str, tmp_path: Path, share: float) -> None:
    before = content(open_engine(old_url))
    build_ledger(f"sqlite:///{tmp_path}/measured.sqlite")
    only_here = 0 if old_url.startswith("sqlite") else len(NUMBER_CHANGES)  # a server numbers no changes
    number = round(share * (statements_of(f"sqlite:///{tmp_path}/measured.sqlite") - only_here))

    def die() -> None:
        engine = open_engine(old_url)
        Statements(engine, number, lambda: os.kill(os.getpid(), signal.SIGKILL))
        prepare(engine)

    child = multiprocessing.get_context("fork").Process(target=die)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert content(open_engine(old_url)) == before
    check_a_few_facts(Ledger(old_url))


def test_many_processes_may_open_an_old_ledger_at_once(old_url: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        ledgers = list(pool.map(lambda _: Ledger(old_url), range(6)))
    for ledger in ledgers:
        check_a_few_facts(ledger)


def test_opened_again_it_changes_nothing(old_url: str) -> None:
    ledger = Ledger(old_url)
    before = content(ledger.engine)
    assert statements_of(old_url) == 0
    assert content(ledger.engine) == before


def test_an_old_ledger_without_its_late_tables_is_migrated(old_url: str) -> None:
    """Version 1 made some tables when they were first used, and wrote its number after the tables."""
    with open_engine(old_url).begin() as db:
        for table in ("troubles", "alarms", "sales", "rate_slots"):
            db.exec_driver_sql(f"DROP TABLE {table}")
        db.exec_driver_sql("DELETE FROM meta")
    migrated = Ledger(old_url)
    assert shape(migrated.engine).keys() == metadata.tables.keys()
    assert guest_list_state(migrated).size is None
    fresh = shape(migrated.engine)
    with migrated.engine.begin() as db:
        metadata.drop_all(db)
    assert shape(Ledger(old_url).engine) == fresh


@pytest.mark.parametrize("open_it", [Ledger, Ledger.reading])
def test_a_newer_schema_is_refused(empty_url: str, open_it: Callable[[str], Ledger]) -> None:
    ledger = Ledger(empty_url)
    with ledger.engine.begin() as db:
        db.exec_driver_sql(f"UPDATE meta SET value = '{SCHEMA_VERSION + 1}' WHERE name = 'schema'")
    before = content(ledger.engine)
    newer = rf"schema {SCHEMA_VERSION + 1}.*up to {SCHEMA_VERSION}.*Install the newer version"
    with pytest.raises(LedgerError, match=newer):
        open_it(empty_url)
    assert content(ledger.engine) == before


# -- read-only commands -------------------------------------------------------------------------------


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def content_at(url: str) -> Any:
    """Return the content of a ledger, and leave no file of it open."""
    engine = open_engine(url)
    stored = content(engine)
    engine.dispose()
    return stored


def test_an_old_ledger_can_be_read_without_being_changed(old_url: str, tmp_path: Path) -> None:
    stored = content_at(old_url)
    before = files(tmp_path)
    ledger = Ledger.reading(old_url)
    ledger.check_identity("plain")
    check_a_few_facts(ledger)
    with pytest.raises((LedgerError, sa.exc.DBAPIError)):
        intend_grants(ledger, EDITION, CORPORATE, ["0" * 64], added_by_us=True)
    with pytest.raises(LedgerError, match="pseudonym key"):
        ledger.check_identity("another")
    ledger.engine.dispose()
    assert content_at(old_url) == stored
    assert files(tmp_path) == before


def test_a_ledger_opened_for_reading_is_never_written(old_url: str, tmp_path: Path) -> None:
    written = Ledger(old_url)
    written.check_identity("plain")
    before, stored = files(tmp_path), content(written.engine)
    ledger = Ledger.reading(old_url)
    ledger.check_identity("plain")
    check_a_few_facts(ledger)
    with pytest.raises(LedgerError):
        intend_grants(ledger, EDITION, CORPORATE, ["0" * 64], added_by_us=True)
    assert lock_owner(ledger, LockName.GUEST_LIST) is not None
    assert content(written.engine) == stored
    assert files(tmp_path) == before
    intend_grants(written, EDITION, CORPORATE, ["1" * 64], added_by_us=True)
    assert "1" * 64 in current_grants(ledger, EDITION), "it is no copy"


def test_reading_before_there_is_a_ledger_makes_none(tmp_path: Path) -> None:
    ledger = Ledger.reading(f"sqlite:///{tmp_path}/ledger.sqlite")
    ledger.check_identity("plain")
    assert current_grants(ledger, EDITION) == {}
    with pytest.raises(sa.exc.DBAPIError):
        intend_grants(ledger, EDITION, CORPORATE, ["0" * 64], added_by_us=True)
    assert files(tmp_path) == {}


def test_reading_an_empty_database_leaves_it_empty(empty_url: str) -> None:
    ledger = Ledger.reading(empty_url)
    assert current_grants(ledger, EDITION) == {}
    assert empty_url.startswith("sqlite") or content(open_engine(empty_url)) == {}


def test_reading_leaves_the_log_of_a_killed_writer(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    Ledger(url)

    def die() -> None:
        ledger = Ledger(url)
        with ledger.engine.connect():  # one more connection, so that none is the last that closes
            intend_grants(ledger, EDITION, CORPORATE, ["0" * 64], added_by_us=True)
            os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=die)
    child.start()
    child.join()
    before = {name: stored for name, stored in files(tmp_path).items() if not name.endswith("-shm")}
    assert before["ledger.sqlite-wal"], "nothing was left"
    assert list(current_grants(Ledger.reading(url), EDITION)) == ["0" * 64]
    assert {name: stored for name, stored in files(tmp_path).items() if not name.endswith("-shm")} == before
    assert list(current_grants(Ledger(url), EDITION)) == ["0" * 64]


# -- copies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, SCHEMA_VERSION])
def test_a_copy_knows_all_but_the_locks(old_url: str, tmp_path_factory: pytest.TempPathFactory, version: int) -> None:
    if version == SCHEMA_VERSION:
        Ledger(old_url)
    folder = tmp_path_factory.mktemp("copy")
    stored = content(open_engine(old_url))
    copy = copy_of(old_url, folder)
    copy.check_identity("plain")
    check_a_few_facts(copy)
    assert lock_owner(copy, LockName.GUEST_LIST) is None
    known = next(iter(current_grants(copy, EDITION)))
    intend_grants(copy, EDITION, CORPORATE, [known, "0" * 64], added_by_us=True)
    assert current_grants(copy, EDITION)[known].period == 1, "its keys are those of the original"
    assert content(open_engine(old_url)) == stored
    with pytest.raises(LedgerError, match="pseudonym key"):
        copy.check_identity("another")
    changed = ("grants", "counted_changes")
    everything = {name: rows for name, rows in content(reading_engine(old_url)).items() if name not in changed}
    left_out: dict[str, list[Any]] = {"locks": [], "rate_slots": [], "kept_counts": []}
    assert {name: rows for name, rows in content(copy.engine).items() if name not in changed} == everything | left_out


def test_a_copy_of_nothing_is_an_empty_ledger(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "copy"
    folder.mkdir()
    copy = copy_of(f"sqlite:///{home}/ledger.sqlite", folder)
    copy.check_identity("plain")
    assert current_grants(copy, EDITION) == {}
    assert not home.exists()


# -- the size of the core ----------------------------------------------------------------------------


def test_the_ledger_itself_stays_small() -> None:
    assert len(Path(ledger_module.__file__).read_text().splitlines()) <= 150
