"""Read a ledger without changing it, and copy its rows."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from pycontw_assets.ledger.database.engine import forbid_writing, holds_nothing, open_in_memory, open_reader
from pycontw_assets.ledger.database.migrations import SCHEMA_VERSION, migrate, prepare, stored_version
from pycontw_assets.ledger.database.tables import (
    chunks,
    counted_changes,
    kept_counts,
    locks,
    meta,
    metadata,
    rate_slots,
)

# Work on the original keeps nobody from a copy, calls of the copy are not those of the original, and it numbers its
# changes from its own beginning.
_NOT_COPIED = (locks, rate_slots, counted_changes, kept_counts)


def reading_engine(url: str | Path) -> sa.Engine:
    """Open a ledger so that nothing can be written to it: itself, or a copy in memory with the tables of today."""
    if holds_nothing(url):
        return _in_memory(None)
    reader = open_reader(url)
    with reader.connect() as db:
        version = stored_version(db)
    if version == SCHEMA_VERSION:
        return reader
    engine = _in_memory(None if version is None else _migrated_copy(reader, version))
    reader.dispose()
    return engine


def is_begun(url: str | Path) -> bool:
    """Say whether a database is there and holds a ledger."""
    if holds_nothing(url):
        return False
    reader = open_reader(url)
    try:
        with reader.connect() as db:
            return stored_version(db) is not None
    finally:
        reader.dispose()


def copy_rows(source: sa.Engine, target: sa.Engine) -> None:
    """Copy every fact between two ledgers of today's schema, of which the target is empty."""
    with source.connect() as old, target.begin() as new:
        new.execute(sa.delete(meta))
        for table in metadata.sorted_tables:
            if table not in _NOT_COPIED:
                for chunk in chunks([dict(row) for row in old.execute(sa.select(table)).mappings()]):
                    new.execute(sa.insert(table), chunk)


def _in_memory(source: sa.Engine | None) -> sa.Engine:
    engine = open_in_memory()
    prepare(engine)
    if source is not None:
        copy_rows(source, engine)
        source.dispose()
    forbid_writing(engine)
    return engine


def _migrated_copy(reader: sa.Engine, version: int) -> sa.Engine:
    """Copy an older ledger into memory and bring the copy up to date. Indexes and defaults are left out."""
    engine, tables = open_in_memory(), sa.MetaData()
    with reader.connect() as old, engine.begin() as new:
        tables.reflect(old)
        for table in tables.sorted_tables:
            table.indexes.clear()
            for column in table.columns:
                column.server_default = None
        tables.create_all(new)
        for table in tables.sorted_tables:
            for chunk in chunks([dict(row) for row in old.execute(sa.select(table)).mappings()]):
                new.execute(sa.insert(table), chunk)
        migrate(new, version)
    return engine
