"""The mails that events started: which of them the mail service is known to have sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from pycontw_assets.ledger.batches import BOUNCED
from pycontw_assets.ledger.database.tables import batches, chunks, entitlements, grants, invitations, same_period
from pycontw_assets.ledger.ledger import Ledger

_UNSEEN = (invitations.c.state == "accepted", invitations.c.handed_at.is_not(None), invitations.c.seen_at.is_(None))


@dataclass(frozen=True, slots=True)
class HandedOver:
    """An event that the mail service took, and whose mail was not seen yet."""

    address_key: str
    batch_key: str
    profile_id: str | None
    handed_at: datetime


def unseen_mails(ledger: Ledger, since: datetime) -> list[HandedOver]:
    """Return the events handed over since then whose mail was not seen yet, the oldest first."""
    columns = [invitations.c[name] for name in HandedOver.__dataclass_fields__]
    query = sa.select(*columns).where(*_UNSEEN, invitations.c.handed_at >= since).order_by(invitations.c.handed_at)
    with ledger.engine.begin() as db:
        return [HandedOver(**row._mapping) for row in db.execute(query)]


def last_look_at_mails(ledger: Ledger) -> datetime | None:
    """Return when the mail service was last asked which mails it sent."""
    return ledger.scalar(sa.select(sa.func.max(batches.c.measured_at)).where(batches.c.way == "event"))


def record_mails(ledger: Ledger, seen: Mapping[str, datetime], bounced: Collection[str]) -> None:
    """Write down the mails that were seen (address key -> when they left), and those that came back."""
    with ledger.engine.begin() as db:
        for key, moment in sorted(seen.items()):
            db.execute(sa.update(invitations).where(*_UNSEEN, invitations.c.address_key == key).values(seen_at=moment))
        for chunk in chunks(sorted(bounced)):
            of_these = invitations.c.address_key.in_(chunk)
            values = {"state": "unreachable", "reason": BOUNCED}
            db.execute(sa.update(invitations).where(*_UNSEEN, of_these).values(**values))


def count_unseen(ledger: Ledger, partition_key: str, edition: str) -> int:
    """Count the holders of an event who are let in, and whose event was handed over without a mail seen."""
    period = sa.and_(grants.c.edition == edition, grants.c.state != "revoked")
    query = (
        sa.select(sa.func.count())
        .select_from(
            entitlements.join(grants, sa.and_(grants.c.address_key == entitlements.c.address_key, period)).join(
                invitations, same_period
            )
        )
        .where(entitlements.c.partition_key == partition_key, *_UNSEEN)
    )
    return int(ledger.scalar(query) or 0)
