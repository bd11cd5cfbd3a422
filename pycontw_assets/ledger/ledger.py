"""The ledger itself: which database, which clock, whose pseudonyms. Facts live in one module per family of tables.

What does not belong here: addresses, names, decisions. The stages decide; the ledger remembers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from pycontw_assets.ledger.database.copies import copy_rows, is_begun, reading_engine
from pycontw_assets.ledger.database.engine import LedgerError, close_files, explained, open_engine
from pycontw_assets.ledger.database.migrations import prepare
from pycontw_assets.ledger.database.tables import insert_missing, meta
from pycontw_assets.pseudonyms import NORMALISATION_VERSION

Clock = Callable[[], datetime]
_T = TypeVar("_T")


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


class Ledger:
    """The database under the ledger, its clock and its identity. The modules beside it read and write the facts."""

    engine: sa.Engine
    clock: Clock
    can_write: bool

    def __init__(self, url: str | Path, *, clock: Clock = utc_now) -> None:
        """Open the ledger: a new one gets its tables, an older one is brought up to date."""
        self.clock = clock
        self.can_write = True
        with explained():
            self.engine = open_engine(url)
            prepare(self.engine)

    @classmethod
    def reading(cls, url: str | Path, *, clock: Clock = utc_now) -> Ledger:
        """Open the ledger as it is, for code that must change nothing; writing to it fails.

        Where there is no ledger yet, or one of an older schema, a copy in memory is read instead.
        """
        ledger = cls.__new__(cls)
        ledger.clock = clock
        ledger.can_write = False
        with explained():
            ledger.engine = reading_engine(url)
        return ledger

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep its files open until the block ends. After that, other programs may copy or replace them."""
        try:
            yield
        finally:
            close_files(self.engine)

    def check_identity(self, pseudonym_fingerprint: str) -> None:
        """Refuse a ledger that was written with another key or an unknown normalisation: everybody would look new."""
        with self.engine.begin() as db:
            if self.can_write:
                insert_missing(db, meta, [{"name": "pseudonym key", "value": pseudonym_fingerprint}])
            stored = {row.name: row.value for row in db.execute(sa.select(meta))}
        versions = tuple(str(version) for version in range(1, NORMALISATION_VERSION + 1))
        for name, known in (("pseudonym key", (pseudonym_fingerprint,)), ("normalisation", versions)):
            if stored.get(name, known[-1]) not in known:
                raise LedgerError(
                    f"the ledger was written with another {name} ({stored[name]}, now {known[-1]}); going on would "
                    "mail everybody again. Set the old key again, or install the version that it was last used with"
                )

    @property
    def normalisation(self) -> int:
        """The version of the normal form of addresses that its pseudonyms are made of. The oldest ledgers name none."""
        return int(self.scalar(sa.select(meta.c.value).where(meta.c.name == "normalisation")) or 1)

    def scalar(self, query: sa.Select[_T]) -> _T | None:
        with self.engine.begin() as db:
            value: _T | None = db.scalar(query)
        return value

    def column(self, query: sa.Select[Any]) -> set[Any]:
        with self.engine.begin() as db:
            return set(db.scalars(query))


def has_ledger(url: str | Path) -> bool:
    """Say whether there is a ledger: a database with its tables. Nothing is made."""
    with explained():
        return is_begun(url)


def copy_of(url: str | Path, folder: Path, *, clock: Clock = utc_now) -> Ledger:
    """Copy a ledger into a folder, for code that writes and must change nothing. Locks stay with the original."""
    original = Ledger.reading(url, clock=clock)
    copy = Ledger(folder / "ledger.sqlite", clock=clock)
    with explained():
        copy_rows(original.engine, copy.engine)
    original.engine.dispose()
    return copy
