"""Times that lie ahead because a clock once ran ahead. Left alone, they would hold work up until they have come."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pycontw_assets.ledger.counting.kept import kept_answer
from pycontw_assets.ledger.database.schema_6 import COUNTED_TABLES
from pycontw_assets.ledger.database.tables import (
    UtcDateTime,
    batches,
    events,
    failing_channels,
    grants,
    letters,
    locks,
    metadata,
    polls,
    reports,
    sales,
)
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import shorten_locks

TOLERANCE = timedelta(minutes=10)  # between the clocks of two machines
# Of a grant without effect, and of a channel that takes no message.
_LONGEST_PAUSES = {grants.c.retry_at: timedelta(days=1), failing_channels.c.retry_at: timedelta(hours=1)}
# Times that are meant for later, and when the orders of an event left the vault: nobody waits for that.
_OTHERS = (
    batches.c.send_at,
    letters.c.send_at,
    polls.c.refresh_at,
    *_LONGEST_PAUSES,
    events.c.purged_at,
    locks.c.expires_at,
)


def is_ahead(moment: datetime | None, now: datetime) -> bool:
    """Whether a time that should have passed lies in the future."""
    return moment is not None and moment > now + TOLERANCE


def correct_future_times(ledger: Ledger) -> int:
    """Set every time that should have passed, and lies in the future, to now. Return how many there were.

    An event that was polled in the future is due again, and so is whoever was to be tried again much later. Locks that
    run until then run for a few minutes. Days in the future are today.
    """
    now, corrected, latest_times = ledger.clock(), shorten_locks(ledger), _latest_times(ledger)
    with ledger.engine.begin() as db:
        for table in metadata.sorted_tables:
            for column in table.columns:
                if isinstance(column.type, UtcDateTime) and not any(column is other for other in _OTHERS):
                    if _has_passed(latest_times, column, now + TOLERANCE):
                        continue
                    also = {"refresh_at": now} if column is polls.c.polled_at else {}
                    corrected += _correct(db, column, now + TOLERANCE, {column.name: now, **also})
        for column, pause in _LONGEST_PAUSES.items():
            if _has_passed(latest_times, column, now + pause + TOLERANCE):
                continue
            corrected += _correct(db, column, now + pause + TOLERANCE, {column.name: now})
        latest, today = (now + TOLERANCE).date(), now.date()
        corrected += _correct(db, reports.c.day, latest, {"day": today})
        corrected += _correct_figures(db, latest, today)
    return corrected


def _latest_times(ledger: Ledger) -> dict[str, float]:
    """Return the latest time (seconds) in each column. Those of tables that can have very many rows are kept."""

    def ask(names: Iterable[str]) -> dict[str, float]:
        found: dict[str, float] = {}
        with ledger.engine.begin() as db:
            for name in names:
                if times := [
                    column for column in metadata.tables[name].columns if isinstance(column.type, UtcDateTime)
                ]:
                    # Plain text: a poll asks once, and would spend ten times as long on composing the statements.
                    latest = ", ".join(f"MAX({column.name})" for column in times)
                    row = db.exec_driver_sql(f"SELECT {latest} FROM {name}").one()  # noqa: S608 - names of ours
                    found |= {str(column): value or 0.0 for column, value in zip(times, row, strict=True)}
        return found

    kept: dict[str, float] = json.loads(kept_answer(ledger, "latest times", lambda: json.dumps(ask(COUNTED_TABLES))))
    return kept | ask(metadata.tables.keys() - set(COUNTED_TABLES))


def _has_passed(latest_times: Mapping[str, float], column: sa.Column[Any], limit: datetime) -> bool:
    """Whether no time of the column is later. The release that kept the answer may not have had the column."""
    return latest_times.get(str(column), math.inf) <= limit.timestamp()


def _correct_figures(db: sa.Connection, latest: date, today: date) -> int:
    """Let the figures of future days be those of today, the earliest first, unless today has figures."""
    columns = [column for column in sales.primary_key.columns if column.name != "day"]
    future = db.execute(sa.select(*columns, sales.c.day).where(sales.c.day > latest).order_by(sales.c.day)).all()
    for row in future:
        of_ticket = [column == row[number] for number, column in enumerate(columns)]
        has_today = db.execute(sa.select(sales.c.day).where(*of_ticket, sales.c.day == today)).first() is not None
        of_row = (*of_ticket, sales.c.day == row.day)
        change = sa.delete(sales).where(*of_row) if has_today else sa.update(sales).where(*of_row).values(day=today)
        db.execute(change)
    return len(future)


def _correct(db: sa.Connection, column: sa.Column[Any], latest: date, values: dict[str, Any]) -> int:
    late = column > latest
    number = db.scalar(sa.select(sa.func.count()).select_from(column.table).where(late)) or 0
    if number:
        db.execute(sa.update(column.table).where(late).values(**values))
    return int(number)
