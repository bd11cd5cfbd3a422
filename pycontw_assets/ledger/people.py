"""The facts about one person, by pseudonym: for the help desk, and for erasing them.

Questions about everybody, or about an event, belong to the other modules.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import (
    BatchState,
    GrantState,
    InvitationState,
    batches,
    chunks,
    entitlements,
    erased_attendees,
    grants,
    insert_missing,
    invitations,
    members,
    refresh_requests,
)
from pycontw_assets.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class AccessPeriod:
    """One period of access. ``added_by_us`` is false for a guest who was on the list before us."""

    edition: str
    period: int
    state: GrantState
    added_by_us: bool
    intended_at: datetime
    granted_at: datetime | None
    revoked_at: datetime | None
    attempts: int
    retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class Invited:
    """One invitation, and how far its batch came."""

    edition: str
    period: int
    state: InvitationState
    reason: str | None
    batch_key: str
    batch_state: BatchState
    profile_id: str | None
    send_at: datetime | None
    accepted_at: datetime | None
    ended_at: datetime | None
    remote_status: str | None


def periods_of(ledger: Ledger, address_key: str) -> list[AccessPeriod]:
    """Return the access periods of an address, the oldest first."""
    columns = [grants.c[name] for name in AccessPeriod.__dataclass_fields__]
    query = sa.select(*columns).where(grants.c.address_key == address_key).order_by(grants.c.edition, grants.c.period)
    with ledger.engine.begin() as db:
        return [AccessPeriod(**row._mapping) for row in db.execute(query)]


def invitations_of(ledger: Ledger, address_key: str) -> list[Invited]:
    """Return the invitations of an address, the oldest first."""
    columns = [invitations.c[name] for name in ("edition", "period", "state", "reason", "batch_key", "profile_id")]
    columns += [batches.c[name] for name in ("send_at", "accepted_at", "ended_at", "remote_status")]
    query = (
        sa.select(*columns, batches.c.state.label("batch_state"))
        .join(batches, batches.c.batch_key == invitations.c.batch_key)
        .where(invitations.c.address_key == address_key)
        .order_by(invitations.c.edition, invitations.c.period)
    )
    with ledger.engine.begin() as db:
        return [Invited(**row._mapping) for row in db.execute(query)]


def entitlements_of(ledger: Ledger, address_key: str) -> set[str]:
    """Return the events (partition keys) with a usable ticket of the person, as of their last good polls."""
    with ledger.engine.begin() as db:
        return set(db.scalars(sa.select(entitlements.c.partition_key).where(entitlements.c.address_key == address_key)))


def memberships_of(ledger: Ledger, address_key: str) -> dict[str, str | None]:
    """Return partition key -> profile id for the ticket-holder lists that the person is on."""
    query = sa.select(members.c.partition_key, members.c.profile_id).where(members.c.address_key == address_key)
    with ledger.engine.begin() as db:
        return {row.partition_key: row.profile_id for row in db.execute(query)}


def erased_ids(ledger: Ledger, partition_key: str) -> frozenset[int]:
    """Return the attendees who asked to be forgotten, by number. For this pipeline, no book lists them any more."""
    query = sa.select(erased_attendees.c.attendee_id).where(erased_attendees.c.partition_key == partition_key)
    return frozenset(ledger.column(query))


def remember_erased(ledger: Ledger, partition_key: str, attendee_ids: Collection[int]) -> None:
    """Keep the numbers here and not in the vault, so that orders which have to be read again leave them out too."""
    rows = [{"partition_key": partition_key, "attendee_id": number} for number in sorted(attendee_ids)]
    with ledger.engine.begin() as db:
        insert_missing(db, erased_attendees, rows)


# -- attendees to read again --------------------------------------------------------------------------


def request_refresh(ledger: Ledger, partition_key: str, attendee_ids: Collection[int]) -> None:
    """Ask the next poll of the event to read these attendees again. Asking twice is asking once."""
    rows = [{"partition_key": partition_key, "attendee_id": number} for number in sorted(attendee_ids)]
    with ledger.engine.begin() as db:
        insert_missing(db, refresh_requests, rows)


def requested_refreshes(ledger: Ledger, partition_key: str) -> frozenset[int]:
    """Return the attendees that somebody asked to read again, by number."""
    query = sa.select(refresh_requests.c.attendee_id).where(refresh_requests.c.partition_key == partition_key)
    return frozenset(ledger.column(query))


def end_refresh_requests(ledger: Ledger, partition_key: str, attendee_ids: Collection[int]) -> None:
    """Forget the requests that a poll has dealt with. Others may have come meanwhile: those stay."""
    of_event = refresh_requests.c.partition_key == partition_key
    with ledger.engine.begin() as db:
        for chunk in chunks(sorted(attendee_ids)):
            db.execute(sa.delete(refresh_requests).where(of_event, refresh_requests.c.attendee_id.in_(chunk)))
