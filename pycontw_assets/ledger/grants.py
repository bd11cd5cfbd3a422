"""Grants: the access periods of addresses, from intended to revoked. One is open per edition and address."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import (
    GrantState,
    chunks,
    entitlements,
    grants,
    insert_missing,
    stale_events,
)
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.records import is_import_key, refuse_imported

_MOST_DOUBLINGS = 20  # of a pause; further on only the number would grow


@dataclass(frozen=True, slots=True)
class Grant:
    """One period of access of one address. ``added_by_us`` is false for a guest who was on the list before us.

    ``space_digest`` names the space; ``None``: none was given yet, or the guest list is switched off.
    """

    edition: str
    address_key: str
    period: int
    partition_key: str
    state: GrantState
    added_by_us: bool
    attempts: int = 0
    retry_at: datetime | None = None
    space_digest: str | None = None


def current_grants(ledger: Ledger, edition: str) -> dict[str, Grant]:
    """Return the current period of every address that is, or is about to be, let in."""
    query = _select_grants().where(grants.c.edition == edition, grants.c.state != "revoked")
    with ledger.engine.begin() as db:
        return {grant.address_key: grant for grant in map(_grant, db.execute(query))}


def grants_of(ledger: Ledger, edition: str, keys: Collection[str]) -> dict[str, Grant]:
    """Return the current period of each of these addresses, where there is one."""
    with ledger.engine.begin() as db:
        rows = [
            row
            for chunk in chunks(sorted(keys))
            for row in db.execute(_select_grants().where(*_open_grants_of(edition, chunk)))
        ]
    return {grant.address_key: grant for grant in map(_grant, rows)}


def granted_and_others(ledger: Ledger, edition: str) -> tuple[set[str], dict[str, Grant]]:
    """Return the addresses that were seen on the list, which are nearly all, and the current period of the others."""
    current = (grants.c.edition == edition, grants.c.state != "revoked")
    with ledger.engine.begin() as db:
        # The others first: whoever is let in between the two reads is among both, not among neither.
        others = db.execute(_select_grants().where(*current, grants.c.state != "granted")).all()
        granted = set(db.scalars(sa.select(grants.c.address_key).where(*current, grants.c.state == "granted")))
        return granted, {grant.address_key: grant for grant in map(_grant, others)}


def holders_to_let_in(
    ledger: Ledger, partition_key: str, edition: str, done: Collection[GrantState]
) -> dict[str, Grant | None]:
    """Return the event's holders without an open period, or with one in none of the ``done`` states.

    Every tick asks this. Nearly all holders have come that far, and those never leave the database. An import has
    none: nobody is let in because of it.
    """
    if is_import_key(partition_key):
        return {}
    current = sa.and_(
        grants.c.edition == edition, grants.c.address_key == entitlements.c.address_key, grants.c.state != "revoked"
    )
    query = (
        _select_grants(entitlements.c.address_key.label("holder"))
        .select_from(entitlements.outerjoin(grants, current))
        .where(
            entitlements.c.partition_key == partition_key,
            sa.or_(grants.c.state.is_(None), grants.c.state.not_in(done)),
        )
    )
    with ledger.engine.begin() as db:
        return {row[-1]: _grant(row[:-1]) if row.state else None for row in db.execute(query)}


def intend_grants(
    ledger: Ledger,
    edition: str,
    partition_key: str,
    keys: Iterable[str],
    *,
    added_by_us: bool,
    state: GrantState = "intended",
    space: str | None = None,
) -> None:
    """Open a new period for every key that has none open (before the call that lets them in), in this space.

    Raise ``ImportedPartition`` for an import.
    """
    refuse_imported(partition_key)
    now, keys = ledger.clock(), sorted(keys)
    last = (
        sa.select(grants.c.address_key, sa.func.max(grants.c.period))
        .where(grants.c.edition == edition)
        .group_by(grants.c.address_key)
    )
    with ledger.engine.begin() as db:
        periods = {
            key: period
            for chunk in chunks(keys)
            for key, period in db.execute(last.where(grants.c.address_key.in_(chunk)))
        }
        rows = [
            {
                "edition": edition, "address_key": key, "period": periods.get(key, 0) + 1,
                "partition_key": partition_key, "state": state, "added_by_us": added_by_us, "intended_at": now,
                "granted_at": now if state == "granted" else None, "space_digest": space,
            }
            for key in keys
        ]  # fmt: skip
        insert_missing(db, grants, rows)


def set_grants(ledger: Ledger, edition: str, keys: Iterable[str], state: GrantState, **values: Any) -> None:
    """Move the open periods of ``keys`` to ``state``, stamping the time it stands for."""
    stamp = {"granted": "granted_at", "revoked": "revoked_at"}.get(state)
    changes = {"state": state, **({stamp: ledger.clock()} if stamp else {}), **values}
    with ledger.engine.begin() as db:
        for chunk in chunks(sorted(keys)):
            db.execute(sa.update(grants).where(*_open_grants_of(edition, chunk)).values(**changes))


def place_grants(ledger: Ledger, edition: str, keys: Iterable[str], space: str) -> None:
    """Record the space of open periods that have none yet (before the call that lets their people in)."""
    with ledger.engine.begin() as db:
        for chunk in chunks(sorted(keys)):
            db.execute(sa.update(grants).where(*_open_grants_of(edition, chunk)).values(space_digest=space))


def former_spaces(ledger: Ledger, edition: str, keys: Collection[str]) -> dict[str, str]:
    """Return the space in which each of these was last, in this edition. Most were in none."""
    query = sa.select(grants.c.address_key, grants.c.space_digest).where(
        grants.c.edition == edition, grants.c.space_digest.is_not(None)
    )
    with ledger.engine.begin() as db:
        rows = [
            row
            for chunk in chunks(sorted(keys))
            for row in db.execute(query.where(grants.c.address_key.in_(chunk)).order_by(grants.c.period))
        ]
    return {row.address_key: row.space_digest for row in rows}


def postpone_grants(
    ledger: Ledger, edition: str, keys: Iterable[str], base: timedelta, cap: timedelta, *, once_at_once: bool = False
) -> None:
    """Set when a grant without effect is tried again: after a pause that doubles each time.

    ``once_at_once``: the first pause is none, so that a blip costs one poll.
    """
    with ledger.engine.begin() as db:
        for row in [r for chunk in chunks(sorted(keys)) for r in _grants_of(db, edition, chunk)]:
            pause = min(base * 2 ** min(row.attempts, _MOST_DOUBLINGS), cap)
            pause = timedelta(0) if once_at_once and row.attempts == 0 else pause
            values = {"attempts": row.attempts + 1, "retry_at": ledger.clock() + pause}
            db.execute(sa.update(grants).where(*_open_grants_of(edition, [row.address_key])).values(**values))


def grants_without_ticket(ledger: Ledger, edition: str) -> dict[str, Grant]:
    """Return open periods that we added and whose address holds no usable ticket in any event any more.

    There are none while some event is stale: an address that lost its ticket may have another one there.
    """
    query = _select_grants().where(
        *_without_ticket(edition), grants.c.state != "revoked", grants.c.added_by_us.is_(True)
    )
    with ledger.engine.begin() as db:
        return {grant.address_key: grant for grant in map(_grant, db.execute(query))}


def guests_without_explanation(ledger: Ledger, keys: Collection[str]) -> set[str]:
    """Return those of ``keys`` who hold no ticket of any edition here, and whom no open period says that we added.

    There are none while some event is stale: its tickets are not all known.
    """
    with ledger.engine.begin() as db:
        if db.execute(sa.select(stale_events.c.edition).limit(1)).first():
            return set()
        ours = sa.select(grants.c.address_key).where(grants.c.state != "revoked", grants.c.added_by_us.is_(True))
        unexplained = set(keys) - set(db.scalars(ours))
        return unexplained and unexplained - set(db.scalars(sa.select(entitlements.c.address_key)))


def recheck_preexisting_guests(ledger: Ledger, edition: str) -> None:
    """Look preexisting guests without a ticket up again: they may leave the list unseen."""
    seen = (*_without_ticket(edition), grants.c.state == "granted", grants.c.added_by_us.is_(False))
    with ledger.engine.begin() as db:
        db.execute(sa.update(grants).where(*seen).values(state="intended"))


def count_revoked(ledger: Ledger, poll_id: str) -> int:
    """Return how many periods one poll ended so far."""
    query = sa.select(sa.func.count()).select_from(grants).where(grants.c.revoked_in == poll_id)
    return int(ledger.scalar(query) or 0)


def _select_grants(*others: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Select the columns of a ``Grant`` in its order, then the others: there can be very many rows."""
    return sa.select(*(grants.c[name] for name in Grant.__dataclass_fields__), *others)


def _grant(row: Sequence[Any]) -> Grant:
    return Grant(*row)


def _open_grants_of(edition: str, keys: list[str]) -> tuple[sa.ColumnElement[bool], ...]:
    return (grants.c.edition == edition, grants.c.state != "revoked", grants.c.address_key.in_(keys))


def _without_ticket(edition: str) -> tuple[sa.ColumnElement[bool], ...]:
    still = sa.select(entitlements.c.address_key).where(entitlements.c.edition == edition)
    none_is_stale = ~sa.exists().where(stale_events.c.edition == edition)
    return (grants.c.edition == edition, grants.c.address_key.not_in(still), none_is_stale)


def _grants_of(db: sa.Connection, edition: str, keys: list[str]) -> list[sa.Row[Any]]:
    return list(db.execute(sa.select(grants).where(*_open_grants_of(edition, keys))))
