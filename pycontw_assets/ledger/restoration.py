"""Facts that do not come from a poll: the content of a lost ledger, and people who were invited by other means.

Each is written in one transaction. Asking the services, and reading their answers, belongs elsewhere.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pycontw_assets.ledger.batches import Batch, Invitation
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.database.tables import (
    Beginning,
    InvitationState,
    batches,
    editions,
    entitlements,
    events,
    grants,
    insert_missing,
    invitations,
    members,
    order_marks,
    polls,
    pool_lists,
    remote_ids,
    unconfirmed_members,
    upsert,
)
from pycontw_assets.ledger.grants import Grant
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.polls import Poll
from pycontw_assets.records import EventPartition

_MARKED: InvitationState = "marked"


@dataclass(frozen=True, slots=True)
class Restoration:
    """The content of one edition's ledger; keys of people are pseudonyms.

    ``holders`` and ``members`` are by partition key, ``invitations`` by batch key, ``list_ids`` by name of the list.
    ``stored`` are partition keys of orders in the vault, which may be of any time: the next poll reads everybody again.
    ``pool`` names the batch that every list of the pool is reserved by; ``None``: the list rests.
    """

    edition: str
    partitions: Sequence[EventPartition]
    polls: Sequence[Poll] = ()
    holders: Mapping[str, Collection[str]] = field(default_factory=dict)
    members: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    grants: Sequence[Grant] = ()
    batches: Sequence[Batch] = ()
    invitations: Mapping[str, Sequence[Invitation]] = field(default_factory=dict)
    list_ids: Mapping[str, str] = field(default_factory=dict)
    pool: Mapping[str, str | None] = field(default_factory=dict)
    stored: Collection[str] = ()


def has_begun(ledger: Ledger, edition: str) -> bool:
    """Say whether this ledger is known to be the one that remembers the people of the edition."""
    with ledger.engine.begin() as db:
        return _has_begun(db, edition)


def beginning(ledger: Ledger, edition: str) -> Beginning | None:
    """Return how the edition began in this ledger, if that was recorded."""
    return ledger.scalar(sa.select(editions.c.begun).where(editions.c.edition == edition))


def begin(ledger: Ledger, edition: str) -> None:
    """Remember that nobody of the edition was invited before this ledger."""
    with ledger.engine.begin() as db:
        _record_beginning(db, edition, "new")


def doubt(ledger: Ledger, edition: str) -> None:
    """Remember that others know more of the edition than this ledger, as if it had been restored from a backup."""
    with ledger.engine.begin() as db:
        _record_beginning(db, edition, "new")
        unknown = (editions.c.edition == edition, editions.c.doubted_since.is_(None))
        db.execute(sa.update(editions).where(*unknown).values(doubted_since=ledger.clock()))


def end_doubt(ledger: Ledger, edition: str) -> None:
    with ledger.engine.begin() as db:
        db.execute(sa.update(editions).where(editions.c.edition == edition).values(doubted_since=None))


def is_doubted(ledger: Ledger, edition: str) -> bool:
    return ledger.scalar(sa.select(editions.c.doubted_since).where(editions.c.edition == edition)) is not None


def unmailed_since(ledger: Ledger, edition: str) -> datetime | None:
    """Return since when mail was switched off for the edition; ``None``: it was not, or a person has decided since."""
    since = sa.select(editions.c.unmailed_since).where(editions.c.edition == edition)
    return ledger.scalar(since)


def record_unmailed(ledger: Ledger, edition: str, *, is_off: bool) -> None:
    """Record that mail is switched off, or that it is on while nobody holds a ticket: there is nothing to decide."""
    this, has_holders = editions.c.edition == edition, sa.exists().where(entitlements.c.edition == edition)
    change = sa.update(editions).where(this)
    if is_off:
        change = change.where(editions.c.unmailed_since.is_(None)).values(unmailed_since=ledger.clock())
    else:
        change = change.where(editions.c.unmailed_since.is_not(None), ~has_holders).values(unmailed_since=None)
    with ledger.engine.begin() as db:
        db.execute(change)


def end_unmailed(ledger: Ledger, edition: str) -> None:
    """Record that a person has decided whom of the edition to invite."""
    with ledger.engine.begin() as db:
        db.execute(sa.update(editions).where(editions.c.edition == edition).values(unmailed_since=None))


def restore(ledger: Ledger, restoration: Restoration, *, replaces_older: bool = False) -> None:
    """Write everything or nothing. A ledger that is in use is refused, unless it is an older one: it knows more."""
    with ledger.engine.begin() as db:
        if _has_begun(db, restoration.edition) and not replaces_older:
            raise LedgerError(f"the ledger of edition {restoration.edition} is not lost; nothing was changed")
        _forget(db, restoration.edition, ledger.clock())
        for table, rows in _rows(ledger, restoration):
            insert_missing(db, table, rows)
        for name, list_id in restoration.list_ids.items():
            upsert(db, remote_ids, {"kind": "list", "name": name}, {"remote_id": list_id})
        upsert(db, editions, {"edition": restoration.edition}, {"begun": "rebuilt", "doubted_since": None})


def mark_invited(ledger: Ledger, edition: str, keys: Collection[str]) -> int:
    """Mark the present (or else the next) period of these as invited, and return how many it changed.

    People of a batch that ended unsent stay marked when the batch is released, and people whom mail did not reach stay
    so when another way would reach them: nobody invites them again.
    """
    batch = _marked_batch(edition, ledger.clock())
    with ledger.engine.begin() as db:
        periods = _periods(db, edition)
        rows = [
            {"edition": edition, "address_key": key, "period": periods.get(key, 1), "batch_key": batch.batch_key}
            for key in sorted(keys)
        ]
        insert_missing(db, batches, [_values(batch)])
        insert_missing(db, invitations, [{**row, "state": _MARKED} for row in rows])
        of_batch = invitations.c.batch_key == batch.batch_key
        marked = db.scalar(sa.select(sa.func.count()).select_from(invitations).where(of_batch)) or 0
        if not marked:
            db.execute(sa.delete(batches).where(batches.c.batch_key == batch.batch_key))
        return int(marked) + _mark_unmailed(db, edition, {key: periods.get(key, 1) for key in keys})


def _marked_batch(edition: str, now: datetime) -> Batch:
    return Batch(
        batch_key=uuid.uuid4().hex[:12],
        edition=edition,
        partition_key=f"{edition}-{_MARKED}",
        poll_id=_MARKED,
        state="sent",
        campaign_name=_MARKED,
        created_at=now,
    )


def _mark_unmailed(db: sa.Connection, edition: str, periods: Mapping[str, int]) -> int:
    unmailed = sa.or_(batches.c.state == "cancelled", invitations.c.state == "unreachable")
    rows_of = (
        sa.select(invitations.c.address_key, invitations.c.period, invitations.c.batch_key)
        .join(batches, batches.c.batch_key == invitations.c.batch_key)
        .where(batches.c.edition == edition, unmailed, invitations.c.state != _MARKED)
    )
    rows = [row for row in db.execute(rows_of) if periods.get(row.address_key) == row.period]
    for row in rows:
        this = (invitations.c[name] == row._mapping[name] for name in row._mapping)
        db.execute(sa.update(invitations).where(*this).values(state=_MARKED, reason=None))
    return len(rows)


def find_batch(ledger: Ledger, batch_key: str) -> Batch:
    with ledger.engine.begin() as db:
        row = db.execute(sa.select(batches).where(batches.c.batch_key == batch_key)).one_or_none()
    if row is None:
        raise LedgerError("no batch has this key; `poll` and the runs in Dagster name the key of every batch")
    return Batch(**row._mapping)


def _periods(db: sa.Connection, edition: str) -> dict[str, int]:
    """Return the open period of every address, or else the one after its last."""
    query = sa.select(grants.c.address_key, grants.c.period, grants.c.state).where(grants.c.edition == edition)
    periods: dict[str, int] = {}
    for row in db.execute(query.order_by(grants.c.period)):
        periods[row.address_key] = row.period + (row.state == "revoked")
    return periods


def _record_beginning(db: sa.Connection, edition: str, begun: Beginning) -> None:
    insert_missing(db, editions, [{"edition": edition, "begun": begun}])


def _has_begun(db: sa.Connection, edition: str) -> bool:
    """Look for the record, or for a batch: none is begun before Klaviyo was asked, whatever else was done meanwhile."""
    recorded = sa.select(editions.c.edition).where(editions.c.edition == edition)
    claimed = sa.select(batches.c.batch_key).where(batches.c.edition == edition, batches.c.poll_id != _MARKED)
    return any(db.execute(query.limit(1)).first() is not None for query in (recorded, claimed))


def _forget(db: sa.Connection, edition: str, ledger_now: datetime) -> None:
    """Delete what polls wrote about the edition. People marked as invited stay, for the period that is rebuilt."""
    partitions = sa.select(events.c.partition_key).where(events.c.edition == edition)
    ours = sa.select(batches.c.batch_key).where(batches.c.edition == edition, batches.c.poll_id != _MARKED)
    is_marked = (invitations.c.edition == edition, invitations.c.state == _MARKED)
    kept = {row.address_key: dict(row._mapping) for row in db.execute(sa.select(invitations).where(*is_marked))}
    db.execute(sa.delete(invitations).where(invitations.c.edition == edition))
    db.execute(sa.delete(invitations).where(invitations.c.batch_key.in_(ours)))
    if kept:
        batch = _marked_batch(edition, ledger_now)
        insert_missing(db, batches, [_values(batch)])
        rows = [{**row, "period": 1, "batch_key": batch.batch_key} for row in kept.values()]
        insert_missing(db, invitations, rows)
    db.execute(sa.delete(pool_lists).where(pool_lists.c.batch_key.in_(ours)))
    db.execute(sa.delete(batches).where(batches.c.edition == edition, batches.c.poll_id != _MARKED))
    # Profiles may carry a key that a later ledger used.
    db.execute(sa.delete(remote_ids).where(remote_ids.c.kind == "next batch", remote_ids.c.name.in_(partitions)))
    db.execute(sa.delete(order_marks).where(order_marks.c.partition_key.in_(partitions)))
    db.execute(sa.delete(polls).where(polls.c.partition_key.in_(partitions)))
    for table in (members, unconfirmed_members):
        db.execute(sa.delete(table).where(table.c.partition_key.in_(partitions)))
    db.execute(sa.delete(entitlements).where(entitlements.c.edition == edition))
    db.execute(sa.delete(grants).where(grants.c.edition == edition))
    db.execute(sa.delete(events).where(events.c.edition == edition))


def _rows(ledger: Ledger, restoration: Restoration) -> Iterator[tuple[sa.Table, list[dict[str, Any]]]]:
    """Yield the rows of every table, in the order of their foreign keys."""
    edition, now = restoration.edition, ledger.clock()
    yield (
        events,
        [
            {"event_id": p.event_id, "partition_key": p.key, "edition": p.edition, "family": p.family}
            for p in restoration.partitions
        ],
    )
    yield polls, [_values(poll) for poll in restoration.polls]
    yield (
        order_marks,
        [{"partition_key": key, "generation": 0, "must_reread": True} for key in sorted(restoration.stored)],
    )
    yield (
        entitlements,
        [
            {"partition_key": partition_key, "address_key": key, "edition": edition}
            for partition_key, keys in restoration.holders.items()
            for key in sorted(keys)
        ],
    )
    yield (
        members,
        [
            {"partition_key": partition_key, "address_key": key, "profile_id": profile_id}
            for partition_key, profile_ids in restoration.members.items()
            for key, profile_id in sorted(profile_ids.items())
        ],
    )
    yield (
        grants,
        [
            {**_values(grant), "intended_at": now, "granted_at": now if grant.state == "granted" else None}
            for grant in restoration.grants
        ],
    )
    yield batches, [_values(batch) for batch in restoration.batches]
    yield (
        invitations,
        [
            {**_values(invitation), "edition": edition, "batch_key": batch_key}
            for batch_key, items in restoration.invitations.items()
            for invitation in items
        ],
    )
    yield (
        pool_lists,
        [
            {"list_name": name, "batch_key": batch_key, "released_at": None if batch_key else now}
            for name, batch_key in sorted(restoration.pool.items())
        ],
    )


def _values(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in type(record).__dataclass_fields__}
