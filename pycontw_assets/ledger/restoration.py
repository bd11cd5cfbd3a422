"""What enters the ledger from outside its own runs: a lost ledger's content, and people invited by other means.

Each is one transaction. What the services still know, and what it means, is found out elsewhere.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
    ``pool`` says of every list of the pool which batch it is leased to; ``None``: it rests.
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


def has_begun(ledger: Ledger, edition: str) -> bool:
    """Whether this ledger is known to be the one that the edition's people are remembered in."""
    with ledger.engine.begin() as db:
        return _has_begun(db, edition)


def beginning(ledger: Ledger, edition: str) -> Beginning | None:
    """How the edition began in this ledger, if that was recorded."""
    return ledger.scalar(sa.select(editions.c.begun).where(editions.c.edition == edition))


def begin(ledger: Ledger, edition: str) -> None:
    """Remember that nobody of the edition was invited before this ledger."""
    with ledger.engine.begin() as db:
        _record_beginning(db, edition, "new")


def restore(ledger: Ledger, found: Restoration) -> None:
    """Write everything or nothing. A ledger that is at work is refused: its own memory is better."""
    with ledger.engine.begin() as db:
        if _has_begun(db, found.edition):
            raise LedgerError(f"the ledger of edition {found.edition} is not lost; nothing was changed")
        _forget(db, found.edition)
        for table, rows in _rows(ledger, found):
            insert_missing(db, table, rows)
        for name, list_id in found.list_ids.items():
            upsert(db, remote_ids, {"kind": "list", "name": name}, {"remote_id": list_id})
        _record_beginning(db, found.edition, "rebuilt")


def mark_invited(ledger: Ledger, edition: str, keys: Collection[str]) -> int:
    """Take the present (or else the next) period of these as invited; how many did not count as that before.

    People of a batch that ended unsent are taken out of it as far as releasing goes: nobody invites them again.
    """
    batch = Batch(
        batch_key=uuid.uuid4().hex[:12],
        edition=edition,
        partition_key=f"{edition}-{_MARKED}",
        poll_id=_MARKED,
        state="sent",
        campaign_name=_MARKED,
        created_at=ledger.clock(),
    )
    with ledger.engine.begin() as db:
        periods = _periods(db, edition)
        rows = [
            {"edition": edition, "address_key": key, "period": periods.get(key, 1), "batch_key": batch.batch_key}
            for key in sorted(keys)
        ]
        insert_missing(db, batches, [_values(batch)])
        insert_missing(db, invitations, [{**row, "state": _MARKED} for row in rows])
        mine = invitations.c.batch_key == batch.batch_key
        adopted = db.scalar(sa.select(sa.func.count()).select_from(invitations).where(mine)) or 0
        if not adopted:
            db.execute(sa.delete(batches).where(batches.c.batch_key == batch.batch_key))
        return int(adopted) + _mark_in_cancelled(db, edition, {key: periods.get(key, 1) for key in keys})


def _mark_in_cancelled(db: sa.Connection, edition: str, periods: Mapping[str, int]) -> int:
    in_cancelled = (
        sa.select(invitations.c.address_key, invitations.c.period, invitations.c.batch_key)
        .join(batches, batches.c.batch_key == invitations.c.batch_key)
        .where(batches.c.edition == edition, batches.c.state == "cancelled", invitations.c.state != _MARKED)
    )
    found = [row for row in db.execute(in_cancelled) if periods.get(row.address_key) == row.period]
    for row in found:
        mine = (invitations.c[name] == row._mapping[name] for name in row._mapping)
        db.execute(sa.update(invitations).where(*mine).values(state=_MARKED, reason=None))
    return len(found)


def find_batch(ledger: Ledger, batch_key: str) -> Batch:
    with ledger.engine.begin() as db:
        row = db.execute(sa.select(batches).where(batches.c.batch_key == batch_key)).one_or_none()
    if row is None:
        raise LedgerError("no batch has this key; `poll` and the runs in Dagster name the key of every batch")
    return Batch(**row._mapping)


def _periods(db: sa.Connection, edition: str) -> dict[str, int]:
    """The open period of an address, or the one after its last."""
    query = sa.select(grants.c.address_key, grants.c.period, grants.c.state).where(grants.c.edition == edition)
    periods: dict[str, int] = {}
    for row in db.execute(query.order_by(grants.c.period)):
        periods[row.address_key] = row.period + (row.state == "revoked")
    return periods


def _record_beginning(db: sa.Connection, edition: str, begun: Beginning) -> None:
    insert_missing(db, editions, [{"edition": edition, "begun": begun}])


def _has_begun(db: sa.Connection, edition: str) -> bool:
    """By word, or by a batch: without having asked Klaviyo no batch is begun, whatever else was done meanwhile."""
    noted = sa.select(editions.c.edition).where(editions.c.edition == edition)
    claimed = sa.select(batches.c.batch_key).where(batches.c.edition == edition, batches.c.poll_id != _MARKED)
    return any(db.execute(query.limit(1)).first() is not None for query in (noted, claimed))


def _forget(db: sa.Connection, edition: str) -> None:
    """What a ledger that knows nobody made of the edition while Klaviyo could not tell; adopted people stay."""
    partitions = sa.select(events.c.partition_key).where(events.c.edition == edition)
    db.execute(sa.delete(polls).where(polls.c.partition_key.in_(partitions)))
    for table in (members, unconfirmed_members):
        db.execute(sa.delete(table).where(table.c.partition_key.in_(partitions)))
    db.execute(sa.delete(entitlements).where(entitlements.c.edition == edition))
    db.execute(sa.delete(grants).where(grants.c.edition == edition))
    db.execute(sa.delete(events).where(events.c.edition == edition))


def _rows(ledger: Ledger, found: Restoration) -> Iterator[tuple[sa.Table, list[dict[str, Any]]]]:
    """Table by table, in the order of their foreign keys."""
    edition, now = found.edition, ledger.clock()
    yield (
        events,
        [
            {"event_id": p.event_id, "partition_key": p.key, "edition": p.edition, "family": p.family}
            for p in found.partitions
        ],
    )
    yield polls, [_values(poll) for poll in found.polls]
    yield (
        entitlements,
        [
            {"partition_key": partition_key, "address_key": key, "edition": edition}
            for partition_key, keys in found.holders.items()
            for key in sorted(keys)
        ],
    )
    yield (
        members,
        [
            {"partition_key": partition_key, "address_key": key, "profile_id": profile_id}
            for partition_key, profile_ids in found.members.items()
            for key, profile_id in sorted(profile_ids.items())
        ],
    )
    yield (
        grants,
        [
            {**_values(grant), "intended_at": now, "granted_at": now if grant.state == "granted" else None}
            for grant in found.grants
        ],
    )
    yield batches, [_values(batch) for batch in found.batches]
    yield (
        invitations,
        [
            {**_values(invitation), "edition": edition, "batch_key": batch_key}
            for batch_key, items in found.invitations.items()
            for invitation in items
        ],
    )
    yield (
        pool_lists,
        [
            {"list_name": name, "batch_key": batch_key, "released_at": None if batch_key else now}
            for name, batch_key in sorted(found.pool.items())
        ],
    )


def _values(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in type(record).__dataclass_fields__}
