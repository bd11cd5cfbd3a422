"""Deliberate repeats: invitations that a person had sent once more.

Each is recorded before its first call. So nobody can be mailed a second time without a row here, and nobody is mailed
more often than rows say.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from pycontw_assets.ledger.batches import Batch
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.database.tables import (
    RepeatWay,
    batches,
    grants,
    insert_missing,
    invitations,
    repeats,
    same_period,
)
from pycontw_assets.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """One deliberate repeat. ``handed_over_at``: when the mail service took it; ``None``: not known to have."""

    repeat_id: str
    partition_key: str
    edition: str
    address_key: str
    way: RepeatWay
    asked_at: datetime
    handed_over_at: datetime | None = None


def record_repeat(ledger: Ledger, repeat: Repeat) -> None:
    """Record a repeat that needs no batch, before its first call. Twice is once."""
    with ledger.engine.begin() as db:
        insert_missing(db, repeats, [_values(repeat)])


def record_repeat_in_batch(ledger: Ledger, repeat: Repeat, batch: Batch) -> None:
    """Record a repeat, and move the person's invitation into a batch of its own, in one transaction.

    From now on polls go on with the batch as with any other. Raise ``LedgerError`` unless the person has access and
    exactly one invitation for it that has left.
    """
    invited = (
        invitations.c.edition == repeat.edition,
        invitations.c.address_key == repeat.address_key,
        invitations.c.state.in_(("accepted", "marked")),
        sa.exists().where(same_period, grants.c.state != "revoked"),
    )
    moved = {"batch_key": batch.batch_key, "state": "claimed", "reason": None}
    with ledger.engine.begin() as db:
        db.execute(sa.insert(batches).values(**{name: getattr(batch, name) for name in Batch.__dataclass_fields__}))
        db.execute(sa.insert(repeats).values(**_values(repeat)))
        if db.execute(sa.update(invitations).where(*invited).values(**moved)).rowcount != 1:
            raise LedgerError("somebody else changed the invitation just now; nothing was changed. Look again")


def note_handed_over(ledger: Ledger, repeat_id: str) -> None:
    """Record that the mail service took a repeat that has no batch."""
    with ledger.engine.begin() as db:
        of_one = sa.update(repeats).where(repeats.c.repeat_id == repeat_id)
        db.execute(of_one.values(handed_over_at=ledger.clock()))


def repeats_of(ledger: Ledger, address_key: str) -> list[Repeat]:
    """Return the deliberate repeats of one address, the oldest first."""
    columns = [repeats.c[name] for name in Repeat.__dataclass_fields__ if name != "handed_over_at"]
    handed_over_at = sa.func.coalesce(repeats.c.handed_over_at, batches.c.accepted_at, type_=batches.c.accepted_at.type)
    query = (
        sa.select(*columns, handed_over_at.label("handed_over_at"))
        .join(batches, batches.c.batch_key == repeats.c.repeat_id, isouter=True)
        .where(repeats.c.address_key == address_key)
        .order_by(repeats.c.asked_at, repeats.c.repeat_id)
    )
    with ledger.engine.begin() as db:
        return [Repeat(**row._mapping) for row in db.execute(query)]


def _values(repeat: Repeat) -> dict[str, object]:
    return {name: getattr(repeat, name) for name in Repeat.__dataclass_fields__}
