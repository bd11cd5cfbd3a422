"""Events that a hint made due: when to look at each, until something new was seen or the looks are used up."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import event_slugs, hinted_events, hints, insert_missing, polls, upsert
from pycontw_assets.ledger.hints.deliveries import Hint
from pycontw_assets.ledger.ledger import Ledger

# Seconds from one look to the next. After a hint KKTIX's API may not show the order yet. The five-minute poll follows.
PAUSES = (15, 45)


@dataclass(frozen=True, slots=True)
class HintedEvent:
    """An event to look at. ``content_digest``: of the orders when the last look began; ``None``: there were none."""

    partition_key: str
    since: datetime
    looks: int
    next_look_at: datetime
    content_digest: str | None


def has_due_hints(ledger: Ledger) -> bool:
    """Say with one query whether there is anything to do for hints."""
    due = sa.exists().where(hinted_events.c.next_look_at <= ledger.clock())
    return bool(ledger.scalar(sa.select(sa.or_(sa.exists().select_from(hints), due))))


def learned_slugs(ledger: Ledger) -> dict[str, int]:
    """Return the event of each slug that is known, by the slug's digest."""
    with ledger.engine.begin() as db:
        return {row.slug_digest: row.event_id for row in db.execute(sa.select(event_slugs))}


def take_hints(
    ledger: Ledger, taken: Collection[Hint], *, due: Collection[str], learned: Mapping[str, int] | None = None
) -> None:
    """Turn hints into events that are due now, in one transaction. A new hint begins an event's looks again."""
    now = ledger.clock()
    fresh = {"since": now, "looks": 0, "next_look_at": now, "content_digest": None}
    slugs = [{"slug_digest": slug, "event_id": event_id} for slug, event_id in sorted((learned or {}).items())]
    with ledger.engine.begin() as db:
        db.execute(sa.delete(hints).where(hints.c.subject.in_([hint.subject for hint in taken])))
        insert_missing(db, event_slugs, slugs)
        for key in sorted(due):
            upsert(db, hinted_events, {"partition_key": key}, fresh)


def hinted(ledger: Ledger) -> list[HintedEvent]:
    """Return all events that a hint was about and that are not done with."""
    with ledger.engine.begin() as db:
        rows = db.execute(sa.select(hinted_events).order_by(hinted_events.c.partition_key))
        return [HintedEvent(**row._mapping) for row in rows]


def record_look(ledger: Ledger, event: HintedEvent, content_digest: str | None) -> None:
    """Count a look that begins now. After the last one the event is left to the next poll."""
    with ledger.engine.begin() as db:
        if event.looks >= len(PAUSES):
            db.execute(sa.delete(hinted_events).where(*_same(event)))
            return
        next_look_at = ledger.clock() + timedelta(seconds=PAUSES[event.looks])
        changes = {"looks": event.looks + 1, "next_look_at": next_look_at, "content_digest": content_digest}
        db.execute(sa.update(hinted_events).where(*_same(event)).values(**changes))


def postpone(ledger: Ledger, partition_keys: Collection[str], seconds: float) -> None:
    """Begin the looks of events again, some seconds from now."""
    now = ledger.clock()
    later = {"since": now, "looks": 0, "next_look_at": now + timedelta(seconds=seconds), "content_digest": None}
    with ledger.engine.begin() as db:
        for key in sorted(partition_keys):
            upsert(db, hinted_events, {"partition_key": key}, later)


def end_looks(ledger: Ledger, event: HintedEvent) -> None:
    """Forget an event, unless another hint came meanwhile."""
    with ledger.engine.begin() as db:
        db.execute(sa.delete(hinted_events).where(*_same(event)))


def contents(ledger: Ledger) -> dict[str, str]:
    """Return the digest of the orders that the last good poll of each event saw, by partition key."""
    with ledger.engine.begin() as db:
        rows = db.execute(sa.select(polls.c.partition_key, polls.c.content_digest))
        return {row.partition_key: row.content_digest for row in rows}


def _same(event: HintedEvent) -> tuple[sa.ColumnElement[bool], ...]:
    """Whether the row is still the one that was read: another process may have begun its looks again."""
    table = hinted_events.c
    return (
        table.partition_key == event.partition_key,
        table.since == event.since,
        table.looks == event.looks,
    )
