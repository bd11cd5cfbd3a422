"""The dump of an older installation -> a real ledger, vault and warehouse. Knows nothing of today's code.

README.md lists the contents of the dumps; the tests check the results of the migration.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Dump:
    """The files of one dump. ``schema``: the beginning of the names of its two schemas."""

    ledger: Path
    schema: str
    vault: Path
    world: Path

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ledger.read_text(encoding="utf-8"))
        return found


V1 = Dump(FOLDER / "ledger_v1.json", "ledger_v1_schema", FOLDER / "vault_v1.json", FOLDER / "world_v1.json")
V2 = Dump(FOLDER / "v2/ledger.json", "v2/schema", FOLDER / "v2/vault.json", FOLDER / "v2/world.json")
# Invented for this fixture: 32 readable bytes, so that nobody takes it for a live one.
VAULT_KEY = base64.urlsafe_b64encode(b"invented key: opens no secrets..").decode()
SETTINGS: dict[str, Any] = {"retention_days": 30}  # all other settings were the sandbox's defaults


@dataclass(frozen=True)
class Person:
    """One invented person of the fixture.

    ``grants`` are ``[edition, span, state, ours]``, ``invitations`` ``[edition, span, state, state of the batch]``;
    ``mails`` were sent before the dump, ``mails_to_come`` are due after it.
    """

    address: str
    situation: str
    mails: int
    mails_to_come: int
    grants: list[list[Any]]
    invitations: list[list[Any]]


def people() -> dict[str, Person]:
    """Return the people by the part of the address before the ``@``."""
    found = json.loads((FOLDER / "people_v1.json").read_text(encoding="utf-8"))
    return {address.partition("@")[0]: Person(address, **said) for address, said in found.items()}


def taken_at(dump: Dump = V1) -> datetime:
    """Return the time of the dump, by its own clock."""
    return datetime.fromisoformat(dump.read()["taken_at"])


def rows_of(table: str, dump: Dump = V1) -> list[dict[str, Any]]:
    """Return the rows of one table of the dump; times in seconds."""
    dumped = dump.read()["tables"][table]
    return [dict(zip(dumped["columns"], row, strict=True)) for row in dumped["rows"]]


def build_ledger(url: str, dump: Dump = V1) -> None:
    """Make an old ledger in an empty database, tables as the old code made them and rows as it left them."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.connect() as db:
        if db.dialect.name == "sqlite":
            db.exec_driver_sql("PRAGMA journal_mode=WAL")
    schema = (FOLDER / f"{dump.schema}_{engine.dialect.name}.sql").read_text(encoding="utf-8")
    tables = sa.MetaData()
    with engine.begin() as db:
        for statement in schema.split(";\n"):
            if statement.strip():
                db.exec_driver_sql(statement)
        tables.reflect(db)
        assert dump.read()["tables"].keys() == tables.tables.keys()
        for table in tables.sorted_tables:
            if rows := _typed(table, rows_of(table.name, dump)):
                db.execute(sa.insert(table), rows)
        if db.dialect.name == "postgresql":
            _as_a_server_has_it(db, "leases" if "leases" in tables.tables else "locks", dump)


def fill_vault(home: Path, dump: Dump = V1) -> None:
    """Write the encrypted orders and their key where a sandbox installation keeps them."""
    (home / "vault").mkdir(parents=True, exist_ok=True)
    (home / "vault.key").write_text(VAULT_KEY, encoding="utf-8")
    for name, content in json.loads(dump.vault.read_text(encoding="utf-8")).items():
        (home / "vault" / name).write_bytes(content.encode("ascii"))


def fill_warehouse(home: Path) -> None:
    """Write the tables of the second dump to the embedded warehouse."""
    tables = json.loads((FOLDER / "v2/warehouse.json").read_text(encoding="utf-8"))
    with duckdb.connect(str(home / "warehouse.duckdb")) as connection:
        connection.execute("CREATE SCHEMA ods")
        for name, table in tables.items():
            connection.execute(table["sql"])
            for row in table["rows"]:
                places = ", ".join("?" for _ in row)
                connection.execute(f"INSERT INTO ods.{name} ({', '.join(row)}) VALUES ({places})", [*row.values()])


def _typed(table: sa.Table, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    dates = [column.name for column in table.columns if isinstance(column.type, sa.Date)]
    return [{**row, **{name: date.fromisoformat(row[name]) for name in dates}} for row in rows]


def _as_a_server_has_it(db: sa.Connection, locks: str, dump: Dump) -> None:
    """Set the sequence behind the rows, and the locks by the clock of the server, which no test can set."""
    db.exec_driver_sql(
        "SELECT setval(pg_get_serial_sequence('rate_slots', 'slot_id'), (SELECT max(slot_id) FROM rate_slots))"
    )
    db.execute(
        sa.text(f"UPDATE {locks} SET expires_at = expires_at - :taken_at + extract(epoch FROM clock_timestamp())"),
        {"taken_at": taken_at(dump).timestamp()},
    )
