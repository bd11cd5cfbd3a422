"""The KKTIX events that became partitions. An event keeps its partition key for good."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.tables import (
    events,
    insert_missing,
)
from pycontw_assets.records import EventPartition, Family


def known_events(ledger: Ledger) -> dict[int, EventPartition]:
    """Every event that ever became a partition; its key never changes."""
    with ledger.engine.begin() as db:
        rows = db.execute(sa.select(events)).all()
    return {row.event_id: EventPartition(row.event_id, row.edition, _family(row.family)) for row in rows}


def register_events(ledger: Ledger, partitions: Iterable[EventPartition]) -> None:
    rows = [
        {"event_id": p.event_id, "partition_key": p.key, "edition": p.edition, "family": p.family} for p in partitions
    ]
    with ledger.engine.begin() as db:
        insert_missing(db, events, rows)


def _family(name: str) -> Family:
    return name  # type: ignore[return-value]  # written by register_events from an EventPartition
