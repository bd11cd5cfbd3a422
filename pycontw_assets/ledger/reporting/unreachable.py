"""Buyers that no mail can reach: the mail service's refusals, and the attendees they were found to belong to."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import (
    LET_IN,
    batches,
    entitlements,
    grants,
    insert_missing,
    invitations,
    same_period,
    unreachable_attendees,
    unreachable_searches,
    upsert,
)
from pycontw_assets.ledger.ledger import Ledger


def refused_addresses(ledger: Ledger, edition: str, partition_key: str) -> dict[str, str]:
    """Return why the present invitation of a holder cannot arrive, by pseudonym, for the holders of one event.

    People who wait for the release of a cancelled campaign are left out: it has an alert and a way back of its own.
    """
    of_holder = sa.and_(invitations.c.address_key == entitlements.c.address_key, invitations.c.edition == edition)
    current = sa.and_(same_period, grants.c.state.in_(LET_IN))
    query = (
        sa.select(invitations.c.address_key, invitations.c.reason)
        .select_from(entitlements.join(invitations, of_holder).join(grants, current).join(batches))
        .where(entitlements.c.partition_key == partition_key, invitations.c.state == "unreachable")
        .where(sa.or_(batches.c.state != "cancelled", invitations.c.reason != batches.c.remote_status))
    )
    with ledger.engine.begin() as db:
        return {row.address_key: row.reason or "no reason given" for row in db.execute(query)}


def last_search(ledger: Ledger, partition_key: str) -> str | None:
    """Return the digest of what the event's unreachable attendees were last searched in."""
    return ledger.scalar(
        sa.select(unreachable_searches.c.digest).where(unreachable_searches.c.partition_key == partition_key)
    )


def unreachable_in(ledger: Ledger, partition_key: str) -> dict[int, str | None]:
    """Return what the last search found, by attendee number; ``None``: the ticket has no address mail could reach."""
    query = sa.select(unreachable_attendees.c.attendee_id, unreachable_attendees.c.reason)
    query = query.where(unreachable_attendees.c.partition_key == partition_key)
    with ledger.engine.begin() as db:
        return {row.attendee_id: row.reason for row in db.execute(query.order_by(unreachable_attendees.c.attendee_id))}


def record_search(ledger: Ledger, partition_key: str, *, digest: str, attendees: Mapping[int, str | None]) -> None:
    """Replace what the search before it found."""
    rows = [
        {"partition_key": partition_key, "attendee_id": number, "reason": reason}
        for number, reason in attendees.items()
    ]
    with ledger.engine.begin() as db:
        upsert(db, unreachable_searches, {"partition_key": partition_key}, {"digest": digest})
        db.execute(sa.delete(unreachable_attendees).where(unreachable_attendees.c.partition_key == partition_key))
        insert_missing(db, unreachable_attendees, rows)
