"""Events on their way to the mail service: the intent before each, the outcome after it.

An invitation keeps the id under which its event was first handed over, so that a repeat is the same event.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from pycontw_assets.ledger.batches import Batch
from pycontw_assets.ledger.database.tables import (
    LET_IN,
    batches,
    chunks,
    entitlements,
    grants,
    invitations,
    same_period,
)
from pycontw_assets.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Intent:
    """The event that is about to be handed over for one person."""

    address_key: str
    event_id: str
    profile_id: str | None


def intend_events(ledger: Ledger, batch_key: str, intents: Collection[Intent]) -> None:
    """Write down which events are about to be handed over. From now on these people get no campaign."""
    with ledger.engine.begin() as db:
        for intent in sorted(intents, key=lambda intent: intent.address_key):
            claimed = _claimed(batch_key, [intent.address_key])
            values = {"event_id": intent.event_id, "profile_id": intent.profile_id}
            db.execute(sa.update(invitations).where(*claimed).values(**values))


def withdraw_intents(ledger: Ledger, batch_key: str, keys: Collection[str]) -> None:
    """Write down that the mail service certainly took no event of these people."""
    with ledger.engine.begin() as db:
        for chunk in chunks(sorted(keys)):
            db.execute(sa.update(invitations).where(*_claimed(batch_key, chunk)).values(event_id=None))


def record_handed_over(ledger: Ledger, batch_key: str, keys: Collection[str]) -> None:
    """Write down that the mail service took the events of these people."""
    now = ledger.clock()
    with ledger.engine.begin() as db:
        for chunk in chunks(sorted(keys)):
            values = {"state": "accepted", "handed_at": now}
            db.execute(sa.update(invitations).where(*_claimed(batch_key, chunk)).values(**values))


def find_resumable(
    ledger: Ledger, partition_key: str, edition: str, *, is_reachable: Callable[[str], bool]
) -> dict[str, int]:
    """Return address key -> period of this event's holders whose invitation another batch of events may go on with.

    No campaign mailed them: it would not have reached them, and ``is_reachable`` says of the reason that an event does;
    or an event of theirs may have been handed over by another event of KKTIX, whose ticket they gave back since.
    """
    there = entitlements.alias()
    left = sa.and_(
        invitations.c.state == "claimed",
        invitations.c.event_id.is_not(None),
        batches.c.partition_key != partition_key,
        there.c.address_key.is_(None),
    )
    # A rebuilt ledger does not know whether the people left the newsletter before their campaign or after it.
    passed_over = sa.and_(
        invitations.c.state == "unreachable",
        invitations.c.reason.is_not(None),
        invitations.c.event_id.is_(None),
        batches.c.poll_id != "rebuilt",
    )
    of_holder = sa.and_(
        entitlements.c.address_key == invitations.c.address_key, entitlements.c.partition_key == partition_key
    )
    of_holder_there = sa.and_(
        there.c.address_key == invitations.c.address_key, there.c.partition_key == batches.c.partition_key
    )
    columns = [invitations.c[name] for name in ("address_key", "period", "state", "reason")]
    people = invitations.join(batches).join(entitlements, of_holder).join(grants, same_period)
    query = (
        sa.select(*columns)
        .select_from(people.outerjoin(there, of_holder_there))
        .where(
            invitations.c.edition == edition,
            invitations.c.state.in_(("claimed", "unreachable")),  # few: the database need not look up all the others
            grants.c.state.in_(LET_IN),
            sa.or_(left, passed_over),
        )
        .order_by(invitations.c.address_key)
    )
    with ledger.engine.begin() as db:
        rows = db.execute(query).all()
    return {row.address_key: row.period for row in rows if row.state == "claimed" or is_reachable(row.reason)}


def move_invitations(ledger: Ledger, batch: Batch, periods: Mapping[str, int]) -> None:
    """Give these invitations to another batch of events. Each stays one row, so nobody has two."""
    with ledger.engine.begin() as db:
        for key, period in sorted(periods.items()):
            this = (
                invitations.c.edition == batch.edition,
                invitations.c.address_key == key,
                invitations.c.period == period,
                invitations.c.state.in_(("unreachable", "claimed")),
            )
            values = {"batch_key": batch.batch_key, "state": "claimed", "reason": None}
            db.execute(sa.update(invitations).where(*this).values(**values))


def _claimed(batch_key: str, keys: list[str]) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        invitations.c.batch_key == batch_key,
        invitations.c.address_key.in_(keys),
        invitations.c.state == "claimed",
    )
