"""The KKTIX events that became partitions. An event keeps its partition key for good."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import events, imports, insert_missing
from pycontw_assets.ledger.history.imports import is_import_purged, record_import_purge
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.records import EventPartition, Family, is_import_key


def known_events(ledger: Ledger) -> dict[int, EventPartition]:
    """Return every event that ever became a partition, by its id at KKTIX."""
    with ledger.engine.begin() as db:
        rows = db.execute(sa.select(events.c.event_id, events.c.edition, events.c.family)).all()
    return {row.event_id: EventPartition(row.event_id, row.edition, _family(row.family)) for row in rows}


def register_events(ledger: Ledger, partitions: Iterable[EventPartition]) -> None:
    rows = [
        {"event_id": p.event_id, "partition_key": p.key, "edition": p.edition, "family": p.family} for p in partitions
    ]
    with ledger.engine.begin() as db:
        insert_missing(db, events, rows)


def is_purged(ledger: Ledger, partition_key: str) -> bool:
    """Say whether the orders of an event or import left the vault because their time was over."""
    if is_import_key(partition_key):
        return is_import_purged(ledger, partition_key)
    purged = (events.c.partition_key == partition_key, events.c.purged_at.is_not(None))
    return ledger.scalar(sa.select(events.c.event_id).where(*purged)) is not None


def record_purge(ledger: Ledger, partition_key: str) -> None:
    if is_import_key(partition_key):
        record_import_purge(ledger, partition_key)
    else:
        _set_purged_at(ledger, partition_key, ledger.clock())


def cancel_purge(ledger: Ledger, partition_key: str) -> None:
    """Take the event up again: it is listed, so its orders are read again."""
    _set_purged_at(ledger, partition_key, None)


def note_expired(ledger: Ledger, partition_keys: Collection[str]) -> dict[str, datetime]:
    """Remember since when each of these events and imports is expired, and that no other is.

    Return it by partition key.
    """
    now, noted = ledger.clock(), dict[str, datetime]()
    with ledger.engine.begin() as db:
        for table in (events, imports):
            noted |= _note_expired(db, table, partition_keys, now)
    return {key: noted.get(key, now) for key in partition_keys}


def _note_expired(
    db: sa.Connection, table: sa.Table, partition_keys: Collection[str], now: datetime
) -> dict[str, datetime]:
    """Return what was noted before."""
    expired = table.c.partition_key.in_(sorted(partition_keys))
    rows = db.execute(sa.select(table).where(table.c.expired_since.is_not(None)))
    noted = {row.partition_key: row.expired_since for row in rows}
    if noted.keys() - set(partition_keys):
        db.execute(sa.update(table).where(~expired).values(expired_since=None))
    if set(partition_keys) - noted.keys():
        db.execute(sa.update(table).where(expired, table.c.expired_since.is_(None)).values(expired_since=now))
    return noted


def _set_purged_at(ledger: Ledger, partition_key: str, purged_at: datetime | None) -> None:
    with ledger.engine.begin() as db:
        db.execute(sa.update(events).where(events.c.partition_key == partition_key).values(purged_at=purged_at))


def _family(name: str) -> Family:
    return name  # type: ignore[return-value]  # written by register_events from an EventPartition
