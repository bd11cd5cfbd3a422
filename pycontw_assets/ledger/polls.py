"""What the last good poll of each event left: its figures, its holders, and the events whose orders may be stale."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.tables import (
    chunks,
    entitlements,
    insert_missing,
    polls,
    unread,
    upsert,
)


@dataclass(frozen=True, slots=True)
class Poll:
    """What the last good poll of an event left: enough to decide whether another one is due, and no more."""

    partition_key: str
    polled_at: datetime
    book_digest: str | None
    known: int
    reread_count: int
    refresh_at: datetime | None
    content_digest: str
    loaded_digest: str | None = None
    problem: str | None = None


def last_poll(ledger: Ledger, partition_key: str) -> Poll | None:
    with ledger.engine.begin() as db:
        row = db.execute(sa.select(polls).where(polls.c.partition_key == partition_key)).one_or_none()
    return None if row is None else Poll(**row._mapping)


def record_poll(ledger: Ledger, edition: str, poll: Poll, holder_keys: Collection[str]) -> None:
    """Remember a poll and replace the event's entitlements, in one transaction.

    The event stays unread while its book was not read whole: who bought there since may not be in it.
    """
    values = {name: getattr(poll, name) for name in Poll.__dataclass_fields__}
    del values["partition_key"], values["loaded_digest"]
    mine = entitlements.c.partition_key == poll.partition_key
    with ledger.engine.begin() as db:
        upsert(db, polls, {"partition_key": poll.partition_key}, values)
        before = set(db.scalars(sa.select(entitlements.c.address_key).where(mine)))
        for chunk in chunks(sorted(before - set(holder_keys))):
            db.execute(sa.delete(entitlements).where(mine, entitlements.c.address_key.in_(chunk)))
        added = [
            {"partition_key": poll.partition_key, "address_key": key, "edition": edition}
            for key in sorted(set(holder_keys) - before)
        ]
        insert_missing(db, entitlements, added)
        if poll.book_digest is not None:
            db.execute(sa.delete(unread).where(unread.c.partition_key == poll.partition_key))


def record_stale_events(ledger: Ledger, edition: str, partition_keys: Collection[str]) -> None:
    """Which events have orders that the last good poll did not see, or that nobody can look at now."""
    with ledger.engine.begin() as db:
        noted = set(db.scalars(sa.select(unread.c.partition_key).where(unread.c.edition == edition)))
        db.execute(sa.delete(unread).where(unread.c.partition_key.in_(noted - set(partition_keys))))
        added = sorted(set(partition_keys) - noted)
        insert_missing(db, unread, [{"partition_key": key, "edition": edition} for key in added])


def recorded_holders(ledger: Ledger, partition_key: str) -> set[str]:
    """Pseudonyms of those who hold a usable ticket of the event, as of its last good poll."""
    return ledger.column(sa.select(entitlements.c.address_key).where(entitlements.c.partition_key == partition_key))


def record_load(ledger: Ledger, partition_key: str, digest: str) -> None:
    with ledger.engine.begin() as db:
        db.execute(sa.update(polls).where(polls.c.partition_key == partition_key).values(loaded_digest=digest))


def entitled_among(ledger: Ledger, edition: str, keys: Collection[str]) -> set[str]:
    """Those of ``keys`` that hold a usable ticket in any event of the edition."""
    query = sa.select(entitlements.c.address_key).where(entitlements.c.edition == edition)
    return set(keys) & ledger.column(query)
