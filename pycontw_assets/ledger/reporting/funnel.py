"""How many people of an edition came how far on the way to their invitation, and what the funnel was last made of."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pycontw_assets.ledger.batches import BOUNCED
from pycontw_assets.ledger.counting.kept import kept_answer
from pycontw_assets.ledger.database.tables import (
    LET_IN,
    UtcDateTime,
    batches,
    campaign_figures,
    events,
    funnels,
    grants,
    invitations,
    polls,
    same_period,
    upsert,
)
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.records import Family

_FORM = 1  # of the kept counts: another number for another meaning


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Access periods of one family, each counted once in an edition: also those that ended since.

    ``invited``: the mail service took the invitation. ``by_event``: that was an event, not a campaign. ``seen``: of
    those, the mail was seen to leave. ``bounced``: of those, it came back. ``unreachable``: the mail
    service does not mail them. ``looked_at``: when a mail was last seen.
    """

    let_in: int = 0
    invited: int = 0
    by_event: int = 0
    seen: int = 0
    bounced: int = 0
    unreachable: int = 0
    looked_at: datetime | None = None

    def __add__(self, other: People) -> People:
        counts = {item.name: getattr(self, item.name) + getattr(other, item.name) for item in fields(self)[:-1]}
        looked_at = max(filter(None, (self.looked_at, other.looked_at)), default=None)
        return People(**counts, looked_at=looked_at)


def count_people(ledger: Ledger, edition: str) -> dict[Family, People]:
    """Count the people of an edition by the family of the event that invited them, or else of the one that let them in.

    Somebody who was marked as invited by other means was let in, and not invited. People whose campaign was cancelled
    before it is known whether their mail left are neither invited nor unreachable.
    """
    with ledger.engine.begin() as db:
        families = {row.partition_key: row.family for row in db.execute(sa.select(events).where(_of(events, edition)))}
        rows = [*db.execute(_invitations(edition)), *db.execute(_others(edition))]
    counted: dict[Family, People] = {family: People() for family in families.values()}
    for row in rows:
        family = families.get(row.invited_by) or families.get(row.let_in_by)
        if family is not None:
            counted[family] = counted[family] + _people(row)
    return counted


def _of(table: sa.Table, edition: str) -> sa.ColumnElement[bool]:
    return table.c.edition == edition


def _invitations(edition: str) -> sa.Select[Any]:
    """Select groups of invitations. Whoever has one was let in before."""
    awaits_release = sa.and_(batches.c.state == "cancelled", invitations.c.reason == batches.c.remote_status)
    groups = (
        batches.c.partition_key.label("invited_by"),
        grants.c.partition_key.label("let_in_by"),
        invitations.c.state.label("state"),
        sa.func.coalesce(invitations.c.reason == BOUNCED, sa.false()).label("has_bounced"),
        sa.func.coalesce(awaits_release, sa.false()).label("awaits_release"),
        invitations.c.handed_at.is_not(None).label("is_event"),
    )
    return (
        sa.select(
            *groups,
            sa.func.count().label("people"),
            sa.func.count(invitations.c.seen_at).label("seen"),
            sa.func.max(invitations.c.seen_at, type_=UtcDateTime).label("seen_at"),
        )
        .select_from(invitations.join(batches).outerjoin(grants, same_period))
        .where(_of(invitations, edition))
        .group_by(*groups)
    )


def _others(edition: str) -> sa.Select[Any]:
    """Select the people who are or were in and have no invitation, in groups of the same columns."""
    was_in = sa.or_(grants.c.state.in_(LET_IN), grants.c.granted_at.is_not(None))
    nothing = {name: sa.literal(None) for name in ("invited_by", "seen_at")}
    return (
        sa.select(
            nothing["invited_by"].label("invited_by"),
            grants.c.partition_key.label("let_in_by"),
            sa.literal("none").label("state"),
            sa.false().label("has_bounced"),
            sa.false().label("awaits_release"),
            sa.false().label("is_event"),
            sa.func.count().label("people"),
            sa.literal(0).label("seen"),
            nothing["seen_at"].label("seen_at"),
        )
        .where(_of(grants, edition), was_in, ~sa.exists().where(same_period))
        .group_by(grants.c.partition_key)
    )


def _people(row: Any) -> People:
    count = int(row.people)
    has_left = row.state == "accepted" or bool(row.has_bounced)
    is_lost = row.state == "unreachable" and not has_left and not row.awaits_release
    return People(
        let_in=count,
        invited=count if has_left else 0,
        by_event=count if has_left and row.is_event else 0,
        seen=int(row.seen) if has_left else 0,
        bounced=count if row.has_bounced and row.is_event else 0,
        unreachable=count if is_lost else 0,
        looked_at=row.seen_at,
    )


# -- when the funnel is due ---------------------------------------------------------------------------


def funnel_digest(ledger: Ledger, edition: str) -> str | None:
    """Return a digest of all that the funnel is made of. ``None``: no mail was counted yet, so there is no funnel."""
    figures = (
        sa.select(campaign_figures.c.campaign_id, campaign_figures.c.changed_at)
        .where(campaign_figures.c.campaign_id.in_(sa.select(batches.c.campaign_id).where(_of(batches, edition))))
        .order_by(campaign_figures.c.campaign_id)
    )
    orders = (
        sa.select(polls.c.partition_key, polls.c.content_digest)
        .where(polls.c.partition_key.in_(sa.select(events.c.partition_key).where(_of(events, edition))))
        .order_by(polls.c.partition_key)
    )
    with ledger.engine.begin() as db:
        counted = [tuple(row) for row in db.execute(figures)]
        stored = [tuple(row) for row in db.execute(orders)]
        keys = db.execute(sa.select(events.c.partition_key).where(_of(events, edition))).scalars().all()

    def ask() -> str:
        people = count_people(ledger, edition)
        return json.dumps([any(group.seen for group in people.values()), repr(sorted(people.items()))])

    was_seen, people = json.loads(kept_answer(ledger, f"funnel {_FORM} of {edition}: {' '.join(sorted(keys))}", ask))
    if not counted and not was_seen:
        return None
    return hashlib.sha256(f"({counted!r}, {stored!r}, {people})".encode()).hexdigest()


def is_funnel_due(ledger: Ledger, edition: str, *, apart: timedelta) -> bool:
    """Return whether the funnel's table is behind and was not asked for lately. ``apart``: the least time between."""
    row = _row(ledger, edition)
    if row is not None and row.shown_asked_at is not None and ledger.clock() - row.shown_asked_at < apart:
        return False
    digest = funnel_digest(ledger, edition)
    return not (digest is None or (row is not None and row.shown_digest == digest))


def ask_for_funnel(ledger: Ledger, edition: str, *, apart: timedelta) -> bool:
    """Return whether the funnel's table is behind and was not asked for lately; if so, note that it is asked for now.

    ``apart``: the least time between two. A table that could not be written is asked for again after it.
    """
    if not is_funnel_due(ledger, edition, apart=apart):
        return False
    with ledger.engine.begin() as db:
        upsert(db, funnels, {"edition": edition}, {"shown_asked_at": ledger.clock()})
    return True


def record_funnel(ledger: Ledger, edition: str, digest: str | None) -> None:
    """Remember what the table was made of: the digest as it was before the funnel was read."""
    with ledger.engine.begin() as db:
        upsert(db, funnels, {"edition": edition}, {"shown_digest": digest})


def _row(ledger: Ledger, edition: str) -> sa.Row[Any] | None:
    with ledger.engine.begin() as db:
        return db.execute(sa.select(funnels).where(funnels.c.edition == edition)).one_or_none()
