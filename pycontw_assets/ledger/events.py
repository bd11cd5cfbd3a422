"""The KKTIX events that became partitions. An event keeps its partition key for good."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import events, insert_missing
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.records import EventPartition, Family


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
    """Say whether the event's orders left the vault because their time was over."""
    purged = (events.c.partition_key == partition_key, events.c.purged_at.is_not(None))
    return ledger.scalar(sa.select(events.c.event_id).where(*purged)) is not None


def record_purge(ledger: Ledger, partition_key: str) -> None:
    _set_purged_at(ledger, partition_key, ledger.clock())


def cancel_purge(ledger: Ledger, partition_key: str) -> None:
    """Take the event up again: it is listed, so its orders are read again."""
    _set_purged_at(ledger, partition_key, None)


def note_expired(ledger: Ledger, partition_keys: Collection[str]) -> dict[str, datetime]:
    """Remember since when each of these events is expired, and that no other is. Return it by partition key."""
    now, expired = ledger.clock(), events.c.partition_key.in_(sorted(partition_keys))
    with ledger.engine.begin() as db:
        noted = {
            row.partition_key: row.expired_since
            for row in db.execute(sa.select(events).where(events.c.expired_since.is_not(None)))
        }
        if noted.keys() - set(partition_keys):
            db.execute(sa.update(events).where(~expired).values(expired_since=None))
        if set(partition_keys) - noted.keys():
            db.execute(sa.update(events).where(expired, events.c.expired_since.is_(None)).values(expired_since=now))
    return {key: noted.get(key, now) for key in partition_keys}


def _set_purged_at(ledger: Ledger, partition_key: str, purged_at: datetime | None) -> None:
    with ledger.engine.begin() as db:
        db.execute(sa.update(events).where(events.c.partition_key == partition_key).values(purged_at=purged_at))


def _family(name: str) -> Family:
    return name  # type: ignore[return-value]  # written by register_events from an EventPartition
