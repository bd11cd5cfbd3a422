"""Deliveries of the webhook: the hints in them, written at once, and which kinds came when."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import grants, hints, hook_deliveries, insert_missing, upsert
from pycontw_assets.ledger.ledger import Ledger

# A hint names an event; a test is KKTIX's button; an unknown one is of a shape that this program does not understand.
DeliveryKind = Literal["hint", "test", "unknown"]
ANY_EVENT = ""
_MOST_HINTS = 50  # a flood of invented slugs means every event, and no more rows


@dataclass(frozen=True, slots=True)
class Hint:
    """An event that a delivery named, by the SHA-256 of its slug and of its name. ``ANY_EVENT``: it was not clear."""

    subject: str
    name_digest: str = ""


@dataclass(frozen=True, slots=True)
class Deliveries:
    """How often deliveries of one kind came, and when."""

    kind: DeliveryKind
    first_at: datetime
    last_at: datetime
    times: int


def record_delivery(ledger: Ledger, hinted: Collection[Hint], kinds: Collection[DeliveryKind]) -> None:
    """Remember the hints of one delivery, in one transaction. A hint that is waiting already stays one row."""
    now = ledger.clock()
    with ledger.engine.begin() as db:
        waiting = db.scalar(sa.select(sa.func.count()).select_from(hints)) or 0
        room = _MOST_HINTS - waiting
        rows = sorted(set(hinted), key=lambda hint: hint.subject) if len(hinted) <= room else [Hint(ANY_EVENT)]
        if hinted:
            insert_missing(
                db, hints, [{"subject": row.subject, "name_digest": row.name_digest, "since": now} for row in rows]
            )
        for kind in sorted(set(kinds)):
            _count(db, kind, now)


def _count(db: sa.Connection, kind: DeliveryKind, now: datetime) -> None:
    earlier = db.execute(sa.select(hook_deliveries).where(hook_deliveries.c.kind == kind)).one_or_none()
    first_at, times = (earlier.first_at, earlier.times + 1) if earlier else (now, 1)
    upsert(db, hook_deliveries, {"kind": kind}, {"first_at": first_at, "last_at": now, "times": times})


def deliveries(ledger: Ledger) -> dict[DeliveryKind, Deliveries]:
    """Return what came so far, by kind."""
    with ledger.engine.begin() as db:
        return {row.kind: Deliveries(**row._mapping) for row in db.execute(sa.select(hook_deliveries))}


def waiting_hints(ledger: Ledger) -> list[Hint]:
    """Return the hints that nobody has looked into."""
    with ledger.engine.begin() as db:
        return [Hint(row.subject, row.name_digest) for row in db.execute(sa.select(hints).order_by(hints.c.subject))]


def drop_hints(ledger: Ledger, taken: Collection[Hint]) -> None:
    """Forget hints before KKTIX is asked: one that arrives later is a new one."""
    with ledger.engine.begin() as db:
        db.execute(sa.delete(hints).where(hints.c.subject.in_([hint.subject for hint in taken])))


def let_in_since(ledger: Ledger, moment: datetime) -> tuple[int, datetime | None]:
    """Count the people whose access began after ``moment``, and return when the first of them was known."""
    query = sa.select(sa.func.count(), sa.func.min(grants.c.intended_at)).where(grants.c.intended_at > moment)
    with ledger.engine.begin() as db:
        count, first = db.execute(query).one()
    return count, first
