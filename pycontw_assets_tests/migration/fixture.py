"""The dump of a version 1 ledger -> a real database, and its vault -> files. Knows nothing of today's ledger.

README.md lists the contents of the dump; the tests check the results of the migration.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

FOLDER = Path(__file__).parent
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


def taken_at() -> datetime:
    """Return the time of the dump, by its own clock."""
    return datetime.fromisoformat(_dump()["taken_at"])


def rows_of(table: str) -> list[dict[str, Any]]:
    """Return the rows of one table of the dump; times in seconds."""
    dumped = _dump()["tables"][table]
    return [dict(zip(dumped["columns"], row, strict=True)) for row in dumped["rows"]]


def build_ledger(url: str) -> None:
    """Make a version 1 ledger in an empty database, tables as the old code made them and rows as it left them."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.connect() as db:
        if db.dialect.name == "sqlite":
            db.exec_driver_sql("PRAGMA journal_mode=WAL")
    schema = (FOLDER / f"ledger_v1_schema_{engine.dialect.name}.sql").read_text(encoding="utf-8")
    tables = sa.MetaData()
    with engine.begin() as db:
        for statement in schema.split(";\n"):
            if statement.strip():
                db.exec_driver_sql(statement)
        tables.reflect(db)
        assert _dump()["tables"].keys() == tables.tables.keys()
        for table in tables.sorted_tables:
            db.execute(sa.insert(table), _typed(table, rows_of(table.name)))
        if db.dialect.name == "postgresql":
            _as_a_server_has_it(db)


def fill_vault(home: Path) -> None:
    """Write the encrypted orders and their key where a sandbox installation keeps them."""
    (home / "vault").mkdir(parents=True, exist_ok=True)
    (home / "vault.key").write_text(VAULT_KEY, encoding="utf-8")
    for name, content in json.loads((FOLDER / "vault_v1.json").read_text(encoding="utf-8")).items():
        (home / "vault" / name).write_bytes(content.encode("ascii"))


def _dump() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "ledger_v1.json").read_text(encoding="utf-8"))
    return found


def _typed(table: sa.Table, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    dates = [column.name for column in table.columns if isinstance(column.type, sa.Date)]
    return [{**row, **{name: date.fromisoformat(row[name]) for name in dates}} for row in rows]


def _as_a_server_has_it(db: sa.Connection) -> None:
    """Set the sequence behind the rows, and the locks by the clock of the server, which no test can set."""
    db.exec_driver_sql(
        "SELECT setval(pg_get_serial_sequence('rate_slots', 'slot_id'), (SELECT max(slot_id) FROM rate_slots))"
    )
    db.execute(
        sa.text("UPDATE leases SET expires_at = expires_at - :taken_at + extract(epoch FROM clock_timestamp())"),
        {"taken_at": taken_at().timestamp()},
    )
