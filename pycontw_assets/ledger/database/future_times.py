"""Times that lie ahead because a clock once ran ahead. Left alone, they would hold work up until they have come."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import (
    UtcDateTime,
    batches,
    events,
    failing_channels,
    grants,
    locks,
    metadata,
    polls,
)
from pycontw_assets.ledger.ledger import Ledger

TOLERANCE = timedelta(minutes=10)  # between the clocks of two machines
# Of a grant without effect, and of a channel that takes no message.
_LONGEST_PAUSES = {grants.c.retry_at: timedelta(days=1), failing_channels.c.retry_at: timedelta(hours=1)}
# Times that are meant for later, and when the orders of an event left the vault: nobody waits for that.
_OTHERS = (batches.c.send_at, polls.c.refresh_at, *_LONGEST_PAUSES, events.c.purged_at, locks.c.expires_at)


def is_ahead(moment: datetime | None, now: datetime) -> bool:
    """Whether a time that should have passed lies in the future."""
    return moment is not None and moment > now + TOLERANCE


def correct_future_times(ledger: Ledger) -> int:
    """Set every time that should have passed, and lies in the future, to now. Return how many there were.

    An event that was polled in the future is due again, and so is whoever was to be tried again much later.
    """
    now, corrected = ledger.clock(), 0
    with ledger.engine.begin() as db:
        for table in metadata.sorted_tables:
            for column in table.columns:
                if isinstance(column.type, UtcDateTime) and not any(column is other for other in _OTHERS):
                    also = {"refresh_at": now} if column is polls.c.polled_at else {}
                    corrected += _correct(db, column, now + TOLERANCE, {column.name: now, **also})
        for column, pause in _LONGEST_PAUSES.items():
            corrected += _correct(db, column, now + pause + TOLERANCE, {column.name: now})
    return corrected


def _correct(db: sa.Connection, column: sa.Column[Any], latest: datetime, values: dict[str, Any]) -> int:
    late = column > latest
    number = db.scalar(sa.select(sa.func.count()).select_from(column.table).where(late)) or 0
    if number:
        db.execute(sa.update(column.table).where(late).values(**values))
    return int(number)
