"""People who are not served: whom mail or the guest list refuses, and the attendees they were found to belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import (
    LET_IN,
    REFUSED_ADDRESS,
    AttendeeProblem,
    batches,
    entitlements,
    grants,
    insert_missing,
    invitations,
    members,
    same_period,
    unreachable_attendees,
    unreachable_searches,
    upsert,
)
from pycontw_assets.ledger.ledger import Ledger


def refused_addresses(ledger: Ledger, edition: str, partition_key: str) -> dict[str, str]:
    """Return why the present invitation of a holder cannot arrive, by pseudonym, for the holders of one event.

    People who wait for the release of a cancelled campaign are left out: it has an alert and a way back of its own.
    People who were marked as invited get no invitation; of them it is why they are not on the ticket-holder list.
    """
    of_holder = sa.and_(invitations.c.address_key == entitlements.c.address_key, invitations.c.edition == edition)
    current = sa.and_(same_period, grants.c.state.in_(LET_IN))
    query = (
        sa.select(invitations.c.address_key, invitations.c.reason)
        .select_from(entitlements.join(invitations, of_holder).join(grants, current).join(batches))
        .where(entitlements.c.partition_key == partition_key, invitations.c.state == "unreachable")
        .where(sa.or_(batches.c.state != "cancelled", invitations.c.reason != batches.c.remote_status))
    )
    marked = sa.and_(of_holder, invitations.c.state == "marked")
    refused = sa.and_(members.c.address_key == entitlements.c.address_key, members.c.partition_key == partition_key)
    not_listed = (
        sa.select(entitlements.c.address_key)
        .select_from(entitlements.join(invitations, marked).join(members, refused))
        .where(entitlements.c.partition_key == partition_key, members.c.profile_id.is_(None))
    )
    with ledger.engine.begin() as db:
        reasons = dict.fromkeys(db.scalars(not_listed), REFUSED_ADDRESS)
        return reasons | {row.address_key: row.reason or "no reason given" for row in db.execute(query)}


def rejected_guests(ledger: Ledger, edition: str, partition_key: str) -> set[str]:
    """Return the holders of one event who were sent to the guest list and are not on it, by pseudonym."""
    of_holder = sa.and_(grants.c.address_key == entitlements.c.address_key, grants.c.edition == edition)
    tried = (grants.c.state == "intended", grants.c.added_by_us.is_(True), grants.c.attempts > 0)
    query = sa.select(grants.c.address_key).select_from(entitlements.join(grants, of_holder))
    return ledger.column(query.where(entitlements.c.partition_key == partition_key, *tried))


def ceded_guests(ledger: Ledger, edition: str, partition_key: str) -> set[str]:
    """Return the guests of one event who stay without a ticket, because others edited their entries."""
    holders = sa.select(entitlements.c.address_key).where(entitlements.c.edition == edition)
    ceded = (grants.c.ceded_at.is_not(None), grants.c.state != "revoked", grants.c.address_key.not_in(holders))
    of_event = (grants.c.edition == edition, grants.c.partition_key == partition_key)
    return ledger.column(sa.select(grants.c.address_key).where(*of_event, *ceded))


def last_search(ledger: Ledger, partition_key: str) -> str | None:
    """Return the digest of what the event's unreachable attendees were last searched in."""
    return ledger.scalar(
        sa.select(unreachable_searches.c.digest).where(unreachable_searches.c.partition_key == partition_key)
    )


@dataclass(frozen=True, slots=True)
class Unserved:
    """Why an attendee is not served. ``reason`` is the mail service's; ``None``: there is no address to mail to."""

    kind: AttendeeProblem
    reason: str | None = None


def unserved_in(ledger: Ledger, partition_key: str) -> dict[int, Unserved]:
    """Return what the last search found, by attendee number."""
    table = unreachable_attendees.c
    query = sa.select(table.attendee_id, table.kind, table.reason).where(table.partition_key == partition_key)
    with ledger.engine.begin() as db:
        return {
            row.attendee_id: Unserved(row.kind, row.reason) for row in db.execute(query.order_by(table.attendee_id))
        }


def record_search(ledger: Ledger, partition_key: str, *, digest: str, attendees: Mapping[int, Unserved]) -> None:
    """Replace what the search before it found."""
    rows = [
        {"partition_key": partition_key, "attendee_id": number, "kind": found.kind, "reason": found.reason}
        for number, found in attendees.items()
    ]
    with ledger.engine.begin() as db:
        upsert(db, unreachable_searches, {"partition_key": partition_key}, {"digest": digest})
        db.execute(sa.delete(unreachable_attendees).where(unreachable_attendees.c.partition_key == partition_key))
        insert_missing(db, unreachable_attendees, rows)
