"""How many lists of the campaigns' pool are busy: hints must leave some of them to polls."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import batches, pool_lists
from pycontw_assets.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class PoolUse:
    """Lists in use or resting, and when the newest batch was claimed; ``None``: there was none."""

    busy: int
    last_batch_at: datetime | None


def pool_use(ledger: Ledger, rested_since: datetime) -> PoolUse:
    """Count the lists of the pool that cannot be reserved now."""
    busy = sa.or_(pool_lists.c.batch_key.is_not(None), pool_lists.c.released_at > rested_since)
    with ledger.engine.begin() as db:
        count = db.scalar(sa.select(sa.func.count()).select_from(pool_lists).where(busy)) or 0
        return PoolUse(count, db.scalar(sa.select(sa.func.max(batches.c.created_at))))
