"""The members of each event's ticket-holder list, and the pool of lists that batches reserve."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pycontw_assets.ledger.database import tables
from pycontw_assets.ledger.database.tables import (
    batches,
    chunks,
    entitlements,
    insert_missing,
    invitations,
    members,
    pool_lists,
)
from pycontw_assets.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Answer:
    """The mail service's word on a member. ``reason``: why no campaign reaches them; ``None``: it does.

    ``batch_key``: as it was written into the profile; ``None``: none was.
    """

    profile_id: str
    reason: str | None
    batch_key: str | None


def list_members(ledger: Ledger, partition_key: str) -> dict[str, str | None]:
    """Return pseudonym -> profile id of the event's members: on its list, perhaps on it, or refused by Klaviyo."""
    query = sa.select(members.c.address_key, members.c.profile_id).where(members.c.partition_key == partition_key)
    with ledger.engine.begin() as db:
        return dict(db.execute(query).all())


def count_members(ledger: Ledger, partition_key: str) -> int:
    """Count the event's members: on its list, perhaps on it, or refused by Klaviyo."""
    query = sa.select(sa.func.count()).select_from(members).where(members.c.partition_key == partition_key)
    return int(ledger.scalar(query) or 0)


def unconfirmed_members(ledger: Ledger, partition_key: str) -> set[str]:
    """Return the members that Klaviyo was asked to add and has not confirmed."""
    return ledger.column(
        sa.select(tables.unconfirmed_members.c.address_key).where(
            tables.unconfirmed_members.c.partition_key == partition_key
        )
    )


def count_list_changes(ledger: Ledger, partition_key: str) -> int:
    """Count the holders who are not known to be on the event's list, and the members without a ticket of it."""
    holder = sa.select(entitlements.c.address_key).where(entitlements.c.partition_key == partition_key)
    member = sa.select(members.c.address_key).where(members.c.partition_key == partition_key)
    unsure = sa.select(tables.unconfirmed_members.c.address_key).where(
        tables.unconfirmed_members.c.partition_key == partition_key
    )
    certain = member.where(members.c.address_key.not_in(unsure))
    missing, leaving = holder.except_(certain).subquery(), member.except_(holder).subquery()
    counts = [sa.select(sa.func.count()).select_from(rows).scalar_subquery() for rows in (missing, leaving)]
    return int(ledger.scalar(sa.select(counts[0] + counts[1])) or 0)


def _unconfirmed(partition_key: str) -> sa.Select[Any]:
    unconfirmed = tables.unconfirmed_members.c
    return sa.select(unconfirmed.address_key).where(unconfirmed.partition_key == partition_key)


def intend_members(ledger: Ledger, partition_key: str, profile_ids: Mapping[str, str | None]) -> None:
    """Remember members before the call that adds them, so that a crash leaves nobody unknown on the list."""
    keys = sorted(profile_ids)
    rows: list[dict[str, Any]] = [{"partition_key": partition_key, "address_key": key} for key in keys]
    with ledger.engine.begin() as db:
        _forget_members(db, partition_key, keys)
        insert_missing(db, members, [{**row, "profile_id": profile_ids[row["address_key"]]} for row in rows])
        insert_missing(db, tables.unconfirmed_members, rows)


def record_answers(ledger: Ledger, partition_key: str, answers: Mapping[str, Answer]) -> None:
    """Remember what the mail service just said of members, by address key."""
    now = ledger.clock()
    with ledger.engine.begin() as db:
        for key, answer in sorted(answers.items()):
            of_member = (members.c.partition_key == partition_key, members.c.address_key == key)
            values = {"answered_at": now, "reason": answer.reason, "batch_key": answer.batch_key}
            db.execute(sa.update(members).where(*of_member).values(**values))


def answers_about(ledger: Ledger, partition_key: str, since: datetime) -> dict[str, Answer]:
    """Return what the mail service said of the event's members since then, by address key."""
    columns = (members.c.profile_id, members.c.reason, members.c.batch_key)
    recent = (members.c.partition_key == partition_key, members.c.answered_at >= since)
    query = sa.select(members.c.address_key, *columns).where(*recent, members.c.profile_id.is_not(None))
    with ledger.engine.begin() as db:
        return {row[0]: Answer(*row[1:]) for row in db.execute(query)}


def confirm_members(ledger: Ledger, partition_key: str, keys: Iterable[str]) -> None:
    """Remember that the call which added them succeeded."""
    with ledger.engine.begin() as db:
        _strike_off(db, tables.unconfirmed_members, partition_key, keys)


def forget_members(ledger: Ledger, partition_key: str, keys: Collection[str]) -> None:
    with ledger.engine.begin() as db:
        _forget_members(db, partition_key, keys)


def _forget_members(db: sa.Connection, partition_key: str, keys: Collection[str]) -> None:
    for table in (members, tables.unconfirmed_members):
        _strike_off(db, table, partition_key, keys)


def reserve_pool_list(ledger: Ledger, batch_key: str, names: Iterable[str], rested_since: datetime) -> str | None:
    """Give a batch a list of the pool that no other batch uses and that rested; ``None``: all are busy."""
    with ledger.engine.begin() as db:
        reserved = db.scalar(sa.select(pool_lists.c.list_name).where(pool_lists.c.batch_key == batch_key))
        if reserved is not None:
            return str(reserved)
        insert_missing(db, pool_lists, [{"list_name": name} for name in names])
        unused = pool_lists.c.released_at.is_(None)
        free = sa.select(pool_lists.c.list_name).where(
            pool_lists.c.batch_key.is_(None), sa.or_(unused, pool_lists.c.released_at <= rested_since)
        )
        # Rested ones first: a list that was never used would have to be made.
        first = free.order_by(unused, pool_lists.c.released_at, pool_lists.c.list_name).limit(1)
        # A list that another process is just taking is not free. SQLite lets one process write at a time anyway.
        name = db.scalar(first.with_for_update(skip_locked=True))
        if name is not None:
            db.execute(sa.update(pool_lists).where(pool_lists.c.list_name == name).values(batch_key=batch_key))
    return name


def pool_list_names(ledger: Ledger) -> list[str]:
    """Return the names of the pool's lists of every edition, also of those that were never made."""
    return sorted(ledger.column(sa.select(pool_lists.c.list_name)))


def former_members(ledger: Ledger, list_id: str, batch_key: str) -> set[str]:
    """Return the profile ids that the batch before put on a list of the pool."""
    of_others = (batches.c.list_id == list_id, batches.c.batch_key != batch_key)
    before = sa.select(batches.c.batch_key).where(*of_others).order_by(batches.c.created_at.desc()).limit(1)
    before_key = ledger.scalar(before)
    query = sa.select(invitations.c.profile_id).where(invitations.c.batch_key == before_key)
    return ledger.column(query.where(invitations.c.profile_id.is_not(None))) if before_key else set()


def release_pool_list(ledger: Ledger, batch_key: str) -> None:
    """Hand back a list that turned out unfit, so that it rests and another is chosen."""
    with ledger.engine.begin() as db:
        db.execute(
            sa.update(pool_lists)
            .where(pool_lists.c.batch_key == batch_key)
            .values(batch_key=None, released_at=ledger.clock())
        )


def _strike_off(db: sa.Connection, table: sa.Table, partition_key: str, keys: Iterable[str]) -> None:
    for chunk in chunks(sorted(keys)):
        db.execute(sa.delete(table).where(table.c.partition_key == partition_key, table.c.address_key.in_(chunk)))
