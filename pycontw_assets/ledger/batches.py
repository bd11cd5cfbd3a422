"""Batches of newcomers and their invitations: at most one per edition, address and access period."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.database.tables import (
    LET_IN,
    BatchState,
    InvitationState,
    Way,
    batches,
    chunks,
    discord_invites,
    discord_state,
    entitlements,
    grants,
    insert_missing,
    invitations,
    pool_lists,
    remote_ids,
    same_period,
    upsert,
)
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.records import is_import_key, refuse_imported

BOUNCED = "the mail came back"
_HAS_LINK = sa.or_(
    ~sa.exists().where(discord_state.c.is_on.is_(True)),
    sa.exists().where(
        discord_invites.c.edition == grants.c.edition,
        discord_invites.c.address_key == grants.c.address_key,
        discord_invites.c.state.in_(("open", "used")),
    ),
)
_NEXT_BATCH = "next batch"  # a kind of names, beside those of things in the mail service


@dataclass(frozen=True, slots=True)
class Batch:
    """The newcomers of one poll of one event: one campaign, or one event each."""

    batch_key: str
    edition: str
    partition_key: str
    poll_id: str
    state: BatchState
    campaign_name: str
    created_at: datetime
    send_at: datetime | None = None
    list_name: str | None = None
    list_id: str | None = None
    campaign_id: str | None = None
    message_id: str | None = None
    campaign_intended_at: datetime | None = None
    send_intended_at: datetime | None = None
    accepted_at: datetime | None = None
    ended_at: datetime | None = None
    remote_status: str | None = None
    recipients: int | None = None
    measured_at: datetime | None = None
    way: Way = "campaign"


@dataclass(frozen=True, slots=True)
class Invitation:
    """One invitation. ``event_id``: its event was handed over under this id, or perhaps was."""

    address_key: str
    period: int
    state: InvitationState
    profile_id: str | None = None
    reason: str | None = None
    event_id: str | None = None
    handed_at: datetime | None = None
    seen_at: datetime | None = None


def find_newcomers(ledger: Ledger, partition_key: str, edition: str) -> dict[str, int]:
    """Return address key -> period of the event's holders who were let in and are in no batch yet.

    Where Discord is a venue, they have their link to it, too.

    An import has none: nobody is mailed because of it.
    """
    if is_import_key(partition_key):
        return {}
    query = (
        sa.select(grants.c.address_key, grants.c.period)
        .join(
            entitlements,
            sa.and_(entitlements.c.address_key == grants.c.address_key, entitlements.c.partition_key == partition_key),
        )
        .where(
            grants.c.edition == edition,
            grants.c.state.in_(LET_IN),
            ~sa.exists().where(same_period),
            _HAS_LINK,
        )
        .order_by(grants.c.granted_at, grants.c.address_key)
    )
    with ledger.engine.begin() as db:
        return {row.address_key: row.period for row in db.execute(query)}


def reserve_batch_key(ledger: Ledger, partition_key: str, key: str) -> str:
    """Return the key that the event's next batch will have: the one reserved before, or else ``key``."""
    this = {"kind": _NEXT_BATCH, "name": partition_key}
    with ledger.engine.begin() as db:
        insert_missing(db, remote_ids, [{**this, "remote_id": key}])
        reserved = db.scalar(sa.select(remote_ids.c.remote_id).where(*_next_batch(partition_key)))
        if db.scalar(sa.select(batches.c.batch_key).where(batches.c.batch_key == reserved)) is not None:
            upsert(db, remote_ids, this, {"remote_id": key})  # a rebuilt ledger may know the key as used
            return key
    return str(reserved)


def note_vouched(ledger: Ledger, partition_key: str) -> None:
    """Record that this ledger was found to be the newest just before the key of the event's next batch went out."""
    with ledger.engine.begin() as db:
        db.execute(sa.update(remote_ids).where(*_next_batch(partition_key)).values(intended_at=ledger.clock()))


def vouched_at(ledger: Ledger, partition_key: str) -> datetime | None:
    """Return when ``note_vouched`` was called last for the event's next batch."""
    return ledger.scalar(sa.select(remote_ids.c.intended_at).where(*_next_batch(partition_key)))


def _next_batch(partition_key: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (remote_ids.c.kind == _NEXT_BATCH, remote_ids.c.name == partition_key)


def claim_batch(ledger: Ledger, batch: Batch, periods: Mapping[str, int]) -> None:
    """Write a batch and its invitations in one transaction. From now on they belong to this batch only.

    The event's next batch gets another key. Raise ``ImportedPartition`` for the batch of an import.
    """
    refuse_imported(batch.partition_key)
    rows = [
        {"edition": batch.edition, "address_key": key, "period": period, "batch_key": batch.batch_key}
        for key, period in sorted(periods.items())
    ]
    values = {name: getattr(batch, name) for name in Batch.__dataclass_fields__}
    try:
        with ledger.engine.begin() as db:
            db.execute(sa.insert(batches).values(**values))
            db.execute(sa.delete(remote_ids).where(*_next_batch(batch.partition_key)))
            for chunk in chunks(rows):
                db.execute(sa.insert(invitations).values(state="claimed"), chunk)
    except sa.exc.IntegrityError:
        raise LedgerError("another run claimed some of these addresses; the next poll takes the rest") from None


def count_claimed(ledger: Ledger, poll_id: str) -> int:
    """Return how many invitations one poll started so far."""
    query = (
        sa.select(sa.func.count())
        .select_from(invitations.join(batches, batches.c.batch_key == invitations.c.batch_key))
        .where(batches.c.poll_id == poll_id)
    )
    return int(ledger.scalar(query) or 0)


def made_campaigns(ledger: Ledger, batch_keys: Collection[str]) -> set[str]:
    """Return those of the batches whose campaign this ledger made, or meant to make."""
    made = sa.or_(batches.c.campaign_intended_at.is_not(None), batches.c.campaign_id.is_not(None))
    query = sa.select(batches.c.batch_key).where(batches.c.batch_key.in_(batch_keys), made)
    return ledger.column(query)


def known_batches(ledger: Ledger, batch_keys: Collection[str]) -> set[str]:
    """Return those of the keys that are batches of this ledger."""
    return ledger.column(sa.select(batches.c.batch_key).where(batches.c.batch_key.in_(batch_keys)))


def unfinished_batches(ledger: Ledger, partition_key: str) -> list[Batch]:
    """Return the open batches, and the accepted ones whose end is not known yet; the oldest first."""
    query = (
        sa.select(batches)
        .where(batches.c.partition_key == partition_key, batches.c.state.in_(("open", "accepted")))
        .order_by(batches.c.created_at, batches.c.batch_key)
    )
    with ledger.engine.begin() as db:
        return [Batch(**row._mapping) for row in db.execute(query)]


def cancelled_batches(ledger: Ledger, partition_key: str) -> list[Batch]:
    """Return the cancelled batches with people who are still let in and were not released yet."""
    waiting = (
        sa.exists()
        .where(invitations.c.batch_key == batches.c.batch_key, invitations.c.reason == batches.c.remote_status)
        .where(same_period, grants.c.state.in_(LET_IN))
    )
    cancelled = (batches.c.partition_key == partition_key, batches.c.state == "cancelled")
    query = sa.select(batches).where(*cancelled, waiting).order_by(batches.c.created_at, batches.c.batch_key)
    with ledger.engine.begin() as db:
        return [Batch(**row._mapping) for row in db.execute(query)]


def get_batch(ledger: Ledger, batch_key: str) -> Batch:
    with ledger.engine.begin() as db:
        return Batch(**db.execute(sa.select(batches).where(batches.c.batch_key == batch_key)).one()._mapping)


def update_batch(ledger: Ledger, batch_key: str, **values: Any) -> Batch:
    with ledger.engine.begin() as db:
        db.execute(sa.update(batches).where(batches.c.batch_key == batch_key).values(**values))
    return get_batch(ledger, batch_key)


def intend_send(ledger: Ledger, batch_key: str) -> bool:
    """Write "about to send", unless another run did; ``False``: another run sends this batch."""
    unsent = (batches.c.batch_key == batch_key, batches.c.state == "open", batches.c.send_intended_at.is_(None))
    with ledger.engine.begin() as db:
        written = db.execute(sa.update(batches).where(*unsent).values(send_intended_at=ledger.clock()))
    return written.rowcount == 1


def accept_batch(ledger: Ledger, batch_key: str) -> Batch:
    """Record that the mail service took the sending over."""
    claimed = sa.and_(invitations.c.batch_key == batch_key, invitations.c.state == "claimed")
    with ledger.engine.begin() as db:
        db.execute(sa.update(invitations).where(claimed).values(state="accepted"))
        now = ledger.clock()
        db.execute(sa.update(batches).where(batches.c.batch_key == batch_key).values(state="accepted", accepted_at=now))
    return get_batch(ledger, batch_key)


def reopen_batch(ledger: Ledger, batch_key: str, **values: Any) -> Batch:
    """Record that the sending was cancelled before any mail left: the invitations are claimed again."""
    accepted = sa.and_(invitations.c.batch_key == batch_key, invitations.c.state == "accepted")
    with ledger.engine.begin() as db:
        db.execute(sa.update(invitations).where(accepted).values(state="claimed"))
        changes = {"state": "open", "accepted_at": None, **values}
        db.execute(sa.update(batches).where(batches.c.batch_key == batch_key).values(**changes))
    return get_batch(ledger, batch_key)


def close_batch(ledger: Ledger, batch_key: str, state: BatchState, remote_status: str | None) -> Batch:
    """Record the end of a batch. Its pool list rests before its next use.

    Nobody of a cancelled batch is mailed again before a person releases it: some may have got their mail.
    """
    now = ledger.clock()
    waiting = (invitations.c.batch_key == batch_key, invitations.c.state.in_(("claimed", "accepted")))
    with ledger.engine.begin() as db:
        if state == "cancelled":
            missed = {"state": "unreachable", "reason": remote_status}
            db.execute(sa.update(invitations).where(*waiting).values(**missed))
        db.execute(
            sa.update(batches)
            .where(batches.c.batch_key == batch_key)
            .values(state=state, remote_status=remote_status, ended_at=now)
        )
        db.execute(
            sa.update(pool_lists).where(pool_lists.c.batch_key == batch_key).values(batch_key=None, released_at=now)
        )
    return get_batch(ledger, batch_key)


def invitations_in(ledger: Ledger, batch_key: str) -> list[Invitation]:
    columns = [invitations.c[name] for name in Invitation.__dataclass_fields__]
    query = sa.select(*columns).where(invitations.c.batch_key == batch_key).order_by(invitations.c.address_key)
    with ledger.engine.begin() as db:
        return [Invitation(**row._mapping) for row in db.execute(query)]


def invitations_without_access(ledger: Ledger, batch: Batch) -> set[str]:
    """Return the invited people of a batch whose access was revoked since, or is being revoked."""
    query = (
        sa.select(invitations.c.address_key)
        .join(grants, sa.and_(same_period, grants.c.state.in_(("revoking", "revoked"))))
        .where(invitations.c.batch_key == batch.batch_key, invitations.c.state == "accepted")
    )
    return ledger.column(query)


def update_invitations(ledger: Ledger, batch_key: str, keys: Iterable[str], **values: Any) -> None:
    with ledger.engine.begin() as db:
        for chunk in chunks(sorted(keys)):
            db.execute(sa.update(invitations).where(*_in_batch(batch_key, chunk)).values(**values))


def record_profiles(ledger: Ledger, batch_key: str, profile_ids: Mapping[str, str]) -> None:
    """Remember the profile ids of people of one batch, by address key."""
    key = [invitations.c[name] for name in ("edition", "address_key", "period")]
    by_key = [column == sa.bindparam(f"its_{column.name}") for column in key]
    update = sa.update(invitations).where(*by_key).values(profile_id=sa.bindparam("its_profile"))
    keys_in_batch = sa.select(*(column.label(f"its_{column.name}") for column in key)).where(
        invitations.c.batch_key == batch_key
    )
    with ledger.engine.begin() as db:
        # The whole key is used: with batch and address only, SQLite would look through the batch for every row.
        rows = [
            {**row, "its_profile": profile_ids[row["its_address_key"]]}
            for row in db.execute(keys_in_batch).mappings()
            if row["its_address_key"] in profile_ids
        ]
        for chunk in chunks(rows):
            db.execute(update, chunk)


def release_invitations(ledger: Ledger, batch_key: str, keys: Iterable[str]) -> None:
    """Take addresses out of a batch that was never sent, so that another one may invite them."""
    with ledger.engine.begin() as db:
        for chunk in chunks(sorted(keys)):
            db.execute(sa.delete(invitations).where(*_in_batch(batch_key, chunk)))


def release_unmailed(ledger: Ledger, batch_key: str, *, received: Collection[str], bounced: Collection[str]) -> int:
    """Free the people of an ended batch for another one, but for those whose mail left. Return how many were freed.

    People marked meanwhile were invited by other means.
    """
    this = (invitations.c.batch_key == batch_key, invitations.c.state != "marked")
    query = sa.select(invitations.c.address_key).where(*this)
    with ledger.engine.begin() as db:
        people = set(db.scalars(query))
        for keys, values in (
            (people & set(received), {"state": "accepted", "reason": None}),
            (people & set(bounced), {"state": "unreachable", "reason": BOUNCED}),
        ):
            for chunk in chunks(sorted(keys)):
                db.execute(sa.update(invitations).where(*_in_batch(batch_key, chunk)).values(**values))
        freed = people - {*received, *bounced}
        for chunk in chunks(sorted(freed)):
            db.execute(sa.delete(invitations).where(*_in_batch(batch_key, chunk)))
    return len(freed)


def count_invitations(ledger: Ledger, partition_key: str) -> dict[str, int]:
    """Count the invitations of an event's batches by state."""
    query = (
        sa.select(invitations.c.state, sa.func.count())
        .join(batches, batches.c.batch_key == invitations.c.batch_key)
        .where(batches.c.partition_key == partition_key)
        .group_by(invitations.c.state)
    )
    with ledger.engine.begin() as db:
        return {row[0]: row[1] for row in db.execute(query)}


def _in_batch(batch_key: str, address_keys: list[str]) -> tuple[sa.ColumnElement[bool], ...]:
    return (invitations.c.batch_key == batch_key, invitations.c.address_key.in_(address_keys))
