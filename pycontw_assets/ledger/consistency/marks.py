"""Which state of an event's orders the ledger knows. Every write to the vault leaves a mark that the ledger knows, too.

The mark is recorded as intended before the write, and as known after it. So a crash in between is no sign of a vault or
a ledger that somebody restored from a backup.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import insert_missing, order_marks, upsert
from pycontw_assets.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class KnownOrders:
    """``mark`` and ``generation`` of the orders that the ledger knows, and the mark of a write that was about to come.

    ``must_reread``: the stored orders may be of any time, so the next poll reads everybody again.
    """

    mark: str | None = None
    generation: int = 0
    intended: str | None = None
    must_reread: bool = False


def known_orders(ledger: Ledger, partition_key: str) -> KnownOrders | None:
    columns = [order_marks.c[name] for name in KnownOrders.__dataclass_fields__]
    with ledger.engine.begin() as db:
        row = db.execute(sa.select(*columns).where(order_marks.c.partition_key == partition_key)).one_or_none()
    return None if row is None else KnownOrders(**row._mapping)


def record_orders(ledger: Ledger, partition_key: str, known: KnownOrders) -> None:
    values = {name: getattr(known, name) for name in KnownOrders.__dataclass_fields__}
    with ledger.engine.begin() as db:
        upsert(db, order_marks, {"partition_key": partition_key}, values)


def demand_reading(ledger: Ledger, partition_keys: Collection[str]) -> None:
    """Let the next poll read these events' orders again, whatever the vault holds; known marks stay."""
    rows = [{"partition_key": key, "generation": 0, "must_reread": True} for key in sorted(partition_keys)]
    with ledger.engine.begin() as db:
        insert_missing(db, order_marks, rows)
