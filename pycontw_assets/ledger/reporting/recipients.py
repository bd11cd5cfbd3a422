"""How many people a sent campaign was meant for, and how many it reached."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from pycontw_assets.ledger.batches import Batch
from pycontw_assets.ledger.database.tables import batches, invitations
from pycontw_assets.ledger.ledger import Ledger

LEFT_OUT = "left out of its campaign"


@dataclass(frozen=True, slots=True)
class SentBatch:
    """A batch that was sent. ``people``: those whom its campaign was meant for."""

    batch: Batch
    people: int


def sent_batches(ledger: Ledger, since: datetime) -> list[SentBatch]:
    """Return the batches of this ledger's polls that were sent since then. Rebuilt ones may lack people."""
    people = (
        sa.select(sa.func.count())
        .where(invitations.c.batch_key == batches.c.batch_key)
        .where(sa.or_(invitations.c.state == "accepted", invitations.c.reason == LEFT_OUT))
        .scalar_subquery()
    )
    query = (
        sa.select(batches, people.label("people"))
        .where(batches.c.state == "sent", batches.c.campaign_id.is_not(None), batches.c.poll_id != "rebuilt")
        .where(batches.c.ended_at >= since)
        .order_by(batches.c.ended_at, batches.c.batch_key)
    )
    names = Batch.__dataclass_fields__
    with ledger.engine.begin() as db:
        return [
            SentBatch(Batch(**{name: row._mapping[name] for name in names}), row.people) for row in db.execute(query)
        ]


def note_measuring(ledger: Ledger, batch_keys: Collection[str]) -> None:
    """Remember that the mail service is asked for the recipients now."""
    with ledger.engine.begin() as db:
        asked = batches.c.batch_key.in_(batch_keys)
        db.execute(sa.update(batches).where(asked).values(measured_at=ledger.clock()))


def record_recipients(ledger: Ledger, batch_key: str, recipients: int, left_out: Collection[str] = ()) -> None:
    """Write down how many a campaign reached. The people whom it left out count as unreachable."""
    missed = sa.and_(
        invitations.c.batch_key == batch_key,
        invitations.c.state == "accepted",
        invitations.c.address_key.in_(left_out),
    )
    with ledger.engine.begin() as db:
        db.execute(sa.update(invitations).where(missed).values(state="unreachable", reason=LEFT_OUT))
        db.execute(sa.update(batches).where(batches.c.batch_key == batch_key).values(recipients=recipients))
