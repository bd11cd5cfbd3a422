"""The ledger itself: which database, which clock, whose pseudonyms. Facts live in one module per family of tables.

What does not belong here: addresses, names, decisions. The stages decide; the ledger remembers.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, TypeVar

import sqlalchemy as sa

from pycontw_assets.ledger.engine import LedgerError, create_missing, explained, open_engine
from pycontw_assets.ledger.tables import insert_missing, meta, metadata, upsert
from pycontw_assets.pseudonyms import NORMALISATION_VERSION

SCHEMA_VERSION = "1"

Clock = Callable[[], datetime]
_T = TypeVar("_T")


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


class Ledger:
    """The database under the ledger, its clock and its identity. What it remembers is read and written beside it."""

    def __init__(self, url: str, *, clock: Clock = utc_now) -> None:
        self.clock = clock
        with explained():
            self.engine = open_engine(url)
            create_missing(self.engine, metadata)

    def check_identity(self, pseudonym_fingerprint: str) -> None:
        """Refuse a ledger written with another schema, key or normalisation: everybody would look new."""
        wanted = {
            "schema": SCHEMA_VERSION,
            "normalisation": str(NORMALISATION_VERSION),
            "pseudonym key": pseudonym_fingerprint,
        }
        with self.engine.begin() as db:
            insert_missing(db, meta, [{"name": name, "value": value} for name, value in wanted.items()])
            found = {row.name: row.value for row in db.execute(sa.select(meta))}
        for name, value in wanted.items():
            if found[name] != value:
                raise LedgerError(
                    f"the ledger was written with another {name} ({found[name]}, now {value}); going on would mail "
                    "everybody again. Set the old one again, or re-key the ledger from the vault first"
                )

    def note(self, name: str, value: str) -> None:
        with self.engine.begin() as db:
            upsert(db, meta, {"name": name}, {"value": value})

    def noted(self, name: str) -> str | None:
        return self.scalar(sa.select(meta.c.value).where(meta.c.name == name))

    def scalar(self, query: sa.Select[_T]) -> _T | None:
        with self.engine.begin() as db:
            value: _T | None = db.scalar(query)
        return value

    def column(self, query: sa.Select[Any]) -> set[Any]:
        with self.engine.begin() as db:
            return set(db.scalars(query))
