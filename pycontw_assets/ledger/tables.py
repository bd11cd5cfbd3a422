"""The tables of the ledger's own families, and the types of their columns.

Two unique keys carry the promises: one open grant per (edition, address), one invitation per (edition, address, access
period). Reading and writing them belongs to the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any, Literal

import sqlalchemy as sa

GrantState = Literal["intended", "granted", "assumed", "revoking", "revoked"]


LET_IN: tuple[GrantState, ...] = ("granted", "assumed")  # seen on the list, or taken as given


BatchState = Literal["open", "accepted", "sent", "cancelled", "empty"]


class UtcDateTime(sa.TypeDecorator[datetime]):
    """Aware UTC on both engines; SQLite alone would drop the zone."""

    impl = sa.Double
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> float | None:
        return value.timestamp() if value else None

    def process_result_value(self, value: float | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else datetime.fromtimestamp(value, timezone.utc)


metadata = sa.MetaData()


_Key = sa.String(64)  # a pseudonym: 64 hex digits


meta = sa.Table("meta", metadata, sa.Column("name", sa.String, primary_key=True), sa.Column("value", sa.String))


events = sa.Table(
    "events",
    metadata,
    sa.Column("event_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("partition_key", sa.String, nullable=False, unique=True),
    sa.Column("edition", sa.String, nullable=False),
    sa.Column("family", sa.String, nullable=False),
)


polls = sa.Table(
    "polls",
    metadata,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("polled_at", UtcDateTime, nullable=False),
    sa.Column("book_digest", sa.String),
    sa.Column("known", sa.Integer, nullable=False),
    sa.Column("reread_count", sa.Integer, nullable=False),
    sa.Column("refresh_at", UtcDateTime),
    sa.Column("content_digest", sa.String, nullable=False),
    sa.Column("loaded_digest", sa.String),
    sa.Column("problem", sa.String),
)


entitlements = sa.Table(
    "entitlements",
    metadata,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("address_key", _Key, primary_key=True),
    sa.Column("edition", sa.String, nullable=False),
)


unread = sa.Table(
    "unread",
    metadata,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("edition", sa.String, nullable=False),
)


grants = sa.Table(
    "grants",
    metadata,
    sa.Column("edition", sa.String, primary_key=True),
    sa.Column("address_key", _Key, primary_key=True),
    sa.Column("period", sa.Integer, primary_key=True),
    sa.Column("partition_key", sa.String, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("ours", sa.Boolean, nullable=False),
    sa.Column("intended_at", UtcDateTime, nullable=False),
    sa.Column("granted_at", UtcDateTime),
    sa.Column("revoked_at", UtcDateTime),
    sa.Column("revoked_in", sa.String, index=True),  # the poll that did it
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("retry_at", UtcDateTime),
    sa.Index(
        "one_open_grant",
        "edition",
        "address_key",
        unique=True,
        sqlite_where=sa.text("state <> 'revoked'"),
        postgresql_where=sa.text("state <> 'revoked'"),
    ),
)


batches = sa.Table(
    "batches",
    metadata,
    sa.Column("batch_key", sa.String, primary_key=True),
    sa.Column("edition", sa.String, nullable=False),
    sa.Column("partition_key", sa.String, nullable=False),
    sa.Column("poll_id", sa.String, nullable=False, index=True),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("campaign_name", sa.String, nullable=False),
    sa.Column("send_at", UtcDateTime),
    sa.Column("list_name", sa.String),
    sa.Column("list_id", sa.String),
    sa.Column("campaign_id", sa.String),
    sa.Column("message_id", sa.String),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("campaign_intended_at", UtcDateTime),
    sa.Column("send_intended_at", UtcDateTime),
    sa.Column("accepted_at", UtcDateTime),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("remote_status", sa.String),
)


invitations = sa.Table(
    "invitations",
    metadata,
    sa.Column("edition", sa.String, primary_key=True),
    sa.Column("address_key", _Key, primary_key=True),
    sa.Column("period", sa.Integer, primary_key=True),
    sa.Column("batch_key", sa.String, sa.ForeignKey("batches.batch_key"), nullable=False, index=True),
    sa.Column("state", sa.String, nullable=False),  # claimed, accepted, unreachable
    sa.Column("reason", sa.String),
    sa.Column("profile_id", sa.String),
)


# Who buys again after a refund gets a new period, and an invitation of its own.
same_period = sa.and_(*(grants.c[name] == invitations.c[name] for name in ("edition", "address_key", "period")))


members = sa.Table(
    "members",
    metadata,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("address_key", _Key, primary_key=True),
    sa.Column("profile_id", sa.String),  # NULL: Klaviyo refused the address
)


# Of the members, those Klaviyo was asked to add and did not say it had.
joining = sa.Table(
    "joining",
    metadata,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("address_key", _Key, primary_key=True),
)


remote_ids = sa.Table(
    "remote_ids",
    metadata,
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("remote_id", sa.String),
    sa.Column("intended_at", UtcDateTime),
)


pool_lists = sa.Table(
    "pool_lists",
    metadata,
    sa.Column("list_name", sa.String, primary_key=True),
    sa.Column("batch_key", sa.String, unique=True),
    sa.Column("released_at", UtcDateTime),
)


locks = sa.Table(
    "locks",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),
)


def chunks(items: list[Any], size: int = 500) -> Iterable[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def insert_missing(db: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Insert the rows whose keys are free; both engines say it the same way."""
    for chunk in chunks(rows):
        db.execute(dialect_insert(db, table).on_conflict_do_nothing(), chunk)


def upsert(db: sa.Connection, table: sa.Table, key: dict[str, Any], values: dict[str, Any]) -> None:
    statement = dialect_insert(db, table).values(**key, **values)
    db.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))


def dialect_insert(db: sa.Connection, table: sa.Table) -> Any:
    if db.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)
