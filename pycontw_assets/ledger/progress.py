"""How far the people of an event are, and since when: counts and moments, for checks and figures.

Facts about one person belong to ``people``; the steps work with the other modules.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import (
    LET_IN,
    UtcDateTime,
    batches,
    chunks,
    entitlements,
    grants,
    invitations,
    same_period,
)
from pycontw_assets.ledger.ledger import Ledger

_INVITED = ("accepted", "marked")  # by us, or by other means before


@dataclass(frozen=True, slots=True)
class Reached:
    """A person who came as far as access or the invitation. ``known_at``: when the usable ticket was first known."""

    address_key: str
    known_at: datetime
    reached_at: datetime


@dataclass(frozen=True, slots=True)
class Headcount:
    """The holders of an event by how far they came. ``late``: let in only after the moment that was asked about."""

    entitled: int = 0
    let_in: int = 0
    invited: int = 0
    unreachable: int = 0
    claimed: int = 0
    late: int = 0

    @property
    def unclaimed(self) -> int:
        """Count the holders who were let in and whom no batch has claimed."""
        return self.let_in - self.late - self.invited - self.unreachable - self.claimed


def headcount(ledger: Ledger, partition_key: str, edition: str, moment: datetime) -> Headcount:
    """Count the holders of an event, with one query whatever their number."""
    let_in = grants.c.state.in_(LET_IN)
    since = sa.func.coalesce(grants.c.granted_at, grants.c.intended_at)
    counted = {
        "entitled": sa.true(),
        "let_in": let_in,
        "invited": sa.and_(let_in, invitations.c.state.in_(_INVITED)),
        "unreachable": sa.and_(let_in, invitations.c.state == "unreachable"),
        "claimed": sa.and_(let_in, invitations.c.state == "claimed"),
        "late": sa.and_(let_in, invitations.c.state.is_(None), since >= moment),
    }
    period = sa.and_(
        grants.c.edition == edition, grants.c.address_key == entitlements.c.address_key, grants.c.state != "revoked"
    )
    query = (
        sa.select(*(sa.func.count(sa.case((condition, 1))).label(name) for name, condition in counted.items()))
        .select_from(entitlements.outerjoin(grants, period).outerjoin(invitations, same_period))
        .where(entitlements.c.partition_key == partition_key)
    )
    with ledger.engine.begin() as db:
        return Headcount(**db.execute(query).one()._mapping)


def let_in(ledger: Ledger, edition: str, keys: Collection[str]) -> list[Reached]:
    """Return those of ``keys`` that this pipeline added to the guest list."""
    reached: list[Reached] = []
    with ledger.engine.begin() as db:
        for chunk in chunks(sorted(keys)):
            added_by_us = (grants.c.edition == edition, grants.c.state == "granted", grants.c.added_by_us.is_(True))
            columns = (grants.c.address_key, grants.c.intended_at, grants.c.granted_at)
            query = sa.select(*columns).where(*added_by_us, grants.c.address_key.in_(chunk))
            reached += [Reached(*row) for row in db.execute(query)]
    return reached


def invited_by(ledger: Ledger, batch_keys: Collection[str]) -> list[Reached]:
    """Return the people whose mail the service took over with these batches."""
    taken_at = sa.func.coalesce(invitations.c.handed_at, batches.c.accepted_at, type_=UtcDateTime)
    query = (
        sa.select(invitations.c.address_key, grants.c.intended_at, taken_at)
        .select_from(invitations.join(batches).join(grants, same_period))
        .where(batches.c.batch_key.in_(batch_keys), invitations.c.state == "accepted")
    )
    with ledger.engine.begin() as db:
        return [Reached(*row) for row in db.execute(query)]
