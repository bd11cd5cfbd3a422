"""Who holds a ticket, who was let in, who was invited in which batch: pseudonyms, intents and outcomes.

SQLAlchemy core on SQLite (WAL, every commit durable) or PostgreSQL, same code. Two unique keys carry the
promises: one open grant per (edition, address), one invitation per (edition, address, span of entitlement).
The intent to act is written before every outward call that cannot be repeated, the outcome after it.

What does not belong here: addresses, names, decisions. The stages decide; this module remembers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, TypeVar

import sqlalchemy as sa

from pycontw_assets.ledger.engine import LedgerError as LedgerError
from pycontw_assets.ledger.engine import create_missing, explained, open_engine
from pycontw_assets.pseudonyms import NORMALISATION_VERSION
from pycontw_assets.records import EventPartition, Family

SCHEMA_VERSION = "1"
_MOST_DOUBLINGS = 20  # of a pause; further on only the number would grow

Clock = Callable[[], datetime]
_T = TypeVar("_T")
GrantState = Literal["intended", "granted", "waived", "revoking", "revoked"]
LET_IN: tuple[GrantState, ...] = ("granted", "waived")  # seen on the list, or taken as given
BatchState = Literal["open", "accepted", "sent", "cancelled", "empty"]


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


class UtcDateTime(sa.TypeDecorator[datetime]):
    """Aware UTC on both engines; SQLite alone would drop the zone."""

    impl = sa.Double
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> float | None:
        return value.timestamp() if value else None

    def process_result_value(self, value: float | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else datetime.fromtimestamp(value, timezone.utc)


_tables = sa.MetaData()
_Key = sa.String(64)  # a pseudonym: 64 hex digits

meta = sa.Table("meta", _tables, sa.Column("name", sa.String, primary_key=True), sa.Column("value", sa.String))

events = sa.Table(
    "events",
    _tables,
    sa.Column("event_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("partition_key", sa.String, nullable=False, unique=True),
    sa.Column("edition", sa.String, nullable=False),
    sa.Column("family", sa.String, nullable=False),
)

polls = sa.Table(
    "polls",
    _tables,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("polled_at", UtcDateTime, nullable=False),
    sa.Column("book_digest", sa.String),
    sa.Column("known", sa.Integer, nullable=False),
    sa.Column("open_ids", sa.Integer, nullable=False),
    sa.Column("refresh_at", UtcDateTime),
    sa.Column("content_digest", sa.String, nullable=False),
    sa.Column("loaded_digest", sa.String),
    sa.Column("problem", sa.String),
)

holdings = sa.Table(
    "holdings",
    _tables,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("address_key", _Key, primary_key=True),
    sa.Column("edition", sa.String, nullable=False),
)

unread = sa.Table(
    "unread",
    _tables,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("edition", sa.String, nullable=False),
)

grants = sa.Table(
    "grants",
    _tables,
    sa.Column("edition", sa.String, primary_key=True),
    sa.Column("address_key", _Key, primary_key=True),
    sa.Column("span", sa.Integer, primary_key=True),
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
    _tables,
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
    _tables,
    sa.Column("edition", sa.String, primary_key=True),
    sa.Column("address_key", _Key, primary_key=True),
    sa.Column("span", sa.Integer, primary_key=True),
    sa.Column("batch_key", sa.String, sa.ForeignKey("batches.batch_key"), nullable=False, index=True),
    sa.Column("state", sa.String, nullable=False),  # claimed, accepted, unreachable
    sa.Column("reason", sa.String),
    sa.Column("profile_id", sa.String),
)

# Who buys again after a refund gets a new span, and an invitation of its own.
same_span = sa.and_(*(grants.c[name] == invitations.c[name] for name in ("edition", "address_key", "span")))

members = sa.Table(
    "members",
    _tables,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("address_key", _Key, primary_key=True),
    sa.Column("profile_id", sa.String),  # NULL: Klaviyo refused the address
)

# Of the members, those Klaviyo was asked to add and did not say it had.
joining = sa.Table(
    "joining",
    _tables,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("address_key", _Key, primary_key=True),
)

remote_ids = sa.Table(
    "remote_ids",
    _tables,
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("remote_id", sa.String),
    sa.Column("intended_at", UtcDateTime),
)

pool_lists = sa.Table(
    "pool_lists",
    _tables,
    sa.Column("list_name", sa.String, primary_key=True),
    sa.Column("batch_key", sa.String, unique=True),
    sa.Column("released_at", UtcDateTime),
)

leases = sa.Table(
    "leases",
    _tables,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Poll:
    """What the last good poll of an event left: enough to decide whether another one is due, and no more."""

    partition_key: str
    polled_at: datetime
    book_digest: str | None
    known: int
    open_ids: int
    refresh_at: datetime | None
    content_digest: str
    loaded_digest: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """One span of access of one address. ``ours`` is false for who was on the list before us."""

    edition: str
    address_key: str
    span: int
    partition_key: str
    state: GrantState
    ours: bool
    attempts: int = 0
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One campaign: the newcomers of one poll of one event."""

    batch_key: str
    edition: str
    partition_key: str
    poll_id: str
    state: BatchState
    campaign_name: str
    created_at: datetime
    send_at: datetime | None = None
    list_name: str | None = None
    list_id: str | None = None
    campaign_id: str | None = None
    message_id: str | None = None
    campaign_intended_at: datetime | None = None
    send_intended_at: datetime | None = None
    accepted_at: datetime | None = None
    ended_at: datetime | None = None
    remote_status: str | None = None


@dataclass(frozen=True, slots=True)
class Invitation:
    address_key: str
    span: int
    state: str
    profile_id: str | None = None
    reason: str | None = None


class Ledger:
    """One method per fact to remember or question to ask. Every method is one transaction."""

    def __init__(self, url: str, *, clock: Clock = utc_now) -> None:
        self.clock = clock
        with explained():
            self.engine = open_engine(url)
            create_missing(self.engine, _tables)

    # -- identity ---------------------------------------------------------------------------------

    def check_identity(self, pseudonym_fingerprint: str) -> None:
        """Refuse a ledger written with another schema, key or normalisation: everybody would look new."""
        wanted = {
            "schema": SCHEMA_VERSION,
            "normalisation": str(NORMALISATION_VERSION),
            "pseudonym key": pseudonym_fingerprint,
        }
        with self.engine.begin() as db:
            insert_missing(db, meta, [{"name": name, "value": value} for name, value in wanted.items()])
            found = {row.name: row.value for row in db.execute(sa.select(meta))}
        for name, value in wanted.items():
            if found[name] != value:
                raise LedgerError(
                    f"the ledger was written with another {name} ({found[name]}, now {value}); going on would mail "
                    "everybody again. Set the old one again, or re-key the ledger from the vault first"
                )

    def note(self, name: str, value: str) -> None:
        with self.engine.begin() as db:
            upsert(db, meta, {"name": name}, {"value": value})

    def noted(self, name: str) -> str | None:
        return self._scalar(sa.select(meta.c.value).where(meta.c.name == name))

    # -- events -----------------------------------------------------------------------------------

    def known_events(self) -> dict[int, EventPartition]:
        """Every event that ever became a partition; its key never changes."""
        with self.engine.begin() as db:
            rows = db.execute(sa.select(events)).all()
        return {row.event_id: EventPartition(row.event_id, row.edition, _family(row.family)) for row in rows}

    def register_events(self, partitions: Iterable[EventPartition]) -> None:
        rows = [
            {"event_id": p.event_id, "partition_key": p.key, "edition": p.edition, "family": p.family}
            for p in partitions
        ]
        with self.engine.begin() as db:
            insert_missing(db, events, rows)

    # -- polls and holdings -----------------------------------------------------------------------

    def poll_of(self, partition_key: str) -> Poll | None:
        with self.engine.begin() as db:
            row = db.execute(sa.select(polls).where(polls.c.partition_key == partition_key)).one_or_none()
        return None if row is None else Poll(**row._mapping)

    def record_poll(self, edition: str, poll: Poll, holder_keys: Collection[str]) -> None:
        """Remember a poll and replace the event's holdings, in one transaction.

        The event stays unread while its book was not read whole: who bought there since may not be in it.
        """
        values = {name: getattr(poll, name) for name in Poll.__dataclass_fields__}
        del values["partition_key"], values["loaded_digest"]
        mine = holdings.c.partition_key == poll.partition_key
        with self.engine.begin() as db:
            upsert(db, polls, {"partition_key": poll.partition_key}, values)
            before = set(db.scalars(sa.select(holdings.c.address_key).where(mine)))
            for chunk in chunks(sorted(before - set(holder_keys))):
                db.execute(sa.delete(holdings).where(mine, holdings.c.address_key.in_(chunk)))
            added = [
                {"partition_key": poll.partition_key, "address_key": key, "edition": edition}
                for key in sorted(set(holder_keys) - before)
            ]
            insert_missing(db, holdings, added)
            if poll.book_digest is not None:
                db.execute(sa.delete(unread).where(unread.c.partition_key == poll.partition_key))

    def note_unread(self, edition: str, partition_keys: Collection[str]) -> None:
        """Which events have orders that the last good poll did not see, or that nobody can look at now."""
        with self.engine.begin() as db:
            noted = set(db.scalars(sa.select(unread.c.partition_key).where(unread.c.edition == edition)))
            db.execute(sa.delete(unread).where(unread.c.partition_key.in_(noted - set(partition_keys))))
            added = sorted(set(partition_keys) - noted)
            insert_missing(db, unread, [{"partition_key": key, "edition": edition} for key in added])

    def holders_of(self, partition_key: str) -> set[str]:
        """Pseudonyms of those who hold a usable ticket of the event, as of its last good poll."""
        return self._column(sa.select(holdings.c.address_key).where(holdings.c.partition_key == partition_key))

    def record_load(self, partition_key: str, digest: str) -> None:
        with self.engine.begin() as db:
            db.execute(sa.update(polls).where(polls.c.partition_key == partition_key).values(loaded_digest=digest))

    def entitled(self, edition: str, keys: Collection[str]) -> set[str]:
        """Those of ``keys`` that hold a usable ticket in any event of the edition."""
        query = sa.select(holdings.c.address_key).where(holdings.c.edition == edition)
        return set(keys) & self._column(query)

    # -- grants -----------------------------------------------------------------------------------

    def open_grants(self, edition: str) -> dict[str, Grant]:
        """The current span of every address that is, or is about to be, let in."""
        query = _select_grants().where(grants.c.edition == edition, grants.c.state != "revoked")
        with self.engine.begin() as db:
            return {grant.address_key: grant for grant in map(_grant, db.execute(query))}

    def unsettled_holders(
        self, partition_key: str, edition: str, settled: Collection[GrantState]
    ) -> dict[str, Grant | None]:
        """The event's holders whose open span is in none of the ``settled`` states, or who have none.

        For every tick: nearly all holders are settled, and those never leave the database.
        """
        current = sa.and_(
            grants.c.edition == edition, grants.c.address_key == holdings.c.address_key, grants.c.state != "revoked"
        )
        query = (
            _select_grants(holdings.c.address_key.label("holder"))
            .select_from(holdings.outerjoin(grants, current))
            .where(
                holdings.c.partition_key == partition_key,
                sa.or_(grants.c.state.is_(None), grants.c.state.not_in(settled)),
            )
        )
        with self.engine.begin() as db:
            return {row[-1]: _grant(row[:-1]) if row.state else None for row in db.execute(query)}

    def intend_grants(
        self,
        edition: str,
        partition_key: str,
        keys: Iterable[str],
        *,
        ours: bool,
        state: GrantState = "intended",
    ) -> None:
        """Open a new span for every key that has none open (before the call that lets them in)."""
        now = self.clock()
        with self.engine.begin() as db:
            spans = dict(
                db.execute(
                    sa.select(grants.c.address_key, sa.func.max(grants.c.span))
                    .where(grants.c.edition == edition)
                    .group_by(grants.c.address_key)
                ).all()
            )
            rows = [
                {
                    "edition": edition, "address_key": key, "span": spans.get(key, 0) + 1,
                    "partition_key": partition_key, "state": state, "ours": ours, "intended_at": now,
                    "granted_at": now if state == "granted" else None,
                }
                for key in sorted(keys)
            ]  # fmt: skip
            insert_missing(db, grants, rows)

    def set_grants(self, edition: str, keys: Iterable[str], state: GrantState, **values: Any) -> None:
        """Move the open spans of ``keys`` to ``state``, stamping the time it stands for."""
        stamp = {"granted": "granted_at", "revoked": "revoked_at"}.get(state)
        changes = {"state": state, **({stamp: self.clock()} if stamp else {}), **values}
        with self.engine.begin() as db:
            for chunk in chunks(sorted(keys)):
                db.execute(sa.update(grants).where(*_open_grants_of(edition, chunk)).values(**changes))

    def postpone_grants(
        self, edition: str, keys: Iterable[str], base: timedelta, cap: timedelta, *, once_at_once: bool = False
    ) -> None:
        """A grant that had no effect is tried again after a pause that doubles each time.

        ``once_at_once``: the first pause is none, so that a blip costs one poll.
        """
        with self.engine.begin() as db:
            for row in [r for chunk in chunks(sorted(keys)) for r in _grants_of(db, edition, chunk)]:
                pause = min(base * 2 ** min(row.attempts, _MOST_DOUBLINGS), cap)
                pause = timedelta(0) if once_at_once and row.attempts == 0 else pause
                values = {"attempts": row.attempts + 1, "retry_at": self.clock() + pause}
                db.execute(sa.update(grants).where(*_open_grants_of(edition, [row.address_key])).values(**values))

    def lapsed_grants(self, edition: str) -> dict[str, Grant]:
        """Open spans, opened by us, whose address holds no usable ticket in any event any more.

        None while the orders of some event are unread: whoever gave a ticket back may have another one there.
        """
        query = _select_grants().where(*_lapsed(edition), grants.c.state != "revoked", grants.c.ours.is_(True))
        with self.engine.begin() as db:
            return {grant.address_key: grant for grant in map(_grant, db.execute(query))}

    def doubt_lapsed_guests(self, edition: str) -> None:
        """Who was on the list before us and holds no ticket any more may leave it unseen: to be looked up again."""
        seen = (*_lapsed(edition), grants.c.state == "granted", grants.c.ours.is_(False))
        with self.engine.begin() as db:
            db.execute(sa.update(grants).where(*seen).values(state="intended"))

    def revoked_in(self, poll_id: str) -> int:
        """How many spans one poll ended so far."""
        query = sa.select(sa.func.count()).select_from(grants).where(grants.c.revoked_in == poll_id)
        return int(self._scalar(query) or 0)

    # -- the event's cumulative list --------------------------------------------------------------

    def members_of(self, partition_key: str) -> dict[str, str | None]:
        """Pseudonym -> profile id of those who are, or may be, on the event's list, and of those Klaviyo refused."""
        query = sa.select(members.c.address_key, members.c.profile_id).where(members.c.partition_key == partition_key)
        with self.engine.begin() as db:
            return {row.address_key: row.profile_id for row in db.execute(query)}

    def joining_of(self, partition_key: str) -> set[str]:
        """Of the members, those of whom only Klaviyo knows whether they are on the list."""
        return self._column(sa.select(joining.c.address_key).where(joining.c.partition_key == partition_key))

    def list_changes_due(self, partition_key: str) -> int:
        """How many holders are not known to be on the event's list, and how many on it hold no ticket of the event."""
        holder = sa.select(holdings.c.address_key).where(holdings.c.partition_key == partition_key)
        member = sa.select(members.c.address_key).where(members.c.partition_key == partition_key)
        unsure = sa.select(joining.c.address_key).where(joining.c.partition_key == partition_key)
        certain = member.where(members.c.address_key.not_in(unsure))
        missing, leaving = holder.except_(certain).subquery(), member.except_(holder).subquery()
        counts = [sa.select(sa.func.count()).select_from(rows).scalar_subquery() for rows in (missing, leaving)]
        return int(self._scalar(sa.select(counts[0] + counts[1])) or 0)

    def intend_members(self, partition_key: str, profile_ids: Mapping[str, str | None]) -> None:
        """Before the call that adds them: whoever dies in it leaves nobody on the list that is not known here."""
        keys = sorted(profile_ids)
        rows: list[dict[str, Any]] = [{"partition_key": partition_key, "address_key": key} for key in keys]
        with self.engine.begin() as db:
            self._forget_members(db, partition_key, keys)
            insert_missing(db, members, [{**row, "profile_id": profile_ids[row["address_key"]]} for row in rows])
            insert_missing(db, joining, rows)

    def confirm_members(self, partition_key: str, keys: Iterable[str]) -> None:
        """After the call."""
        with self.engine.begin() as db:
            _strike_off(db, joining, partition_key, keys)

    def forget_members(self, partition_key: str, keys: Collection[str]) -> None:
        with self.engine.begin() as db:
            self._forget_members(db, partition_key, keys)

    def _forget_members(self, db: sa.Connection, partition_key: str, keys: Collection[str]) -> None:
        for table in (members, joining):
            _strike_off(db, table, partition_key, keys)

    # -- batches and invitations ------------------------------------------------------------------

    def newcomers(self, partition_key: str, edition: str) -> dict[str, int]:
        """Address key -> span of the holders of this event who were let in and are in no batch yet."""
        query = (
            sa.select(grants.c.address_key, grants.c.span)
            .join(
                holdings,
                sa.and_(holdings.c.address_key == grants.c.address_key, holdings.c.partition_key == partition_key),
            )
            .where(
                grants.c.edition == edition,
                grants.c.state.in_(LET_IN),
                ~sa.exists().where(same_span),
            )
            .order_by(grants.c.granted_at, grants.c.address_key)
        )
        with self.engine.begin() as db:
            return {row.address_key: row.span for row in db.execute(query)}

    def claim(self, batch: Batch, spans: Mapping[str, int]) -> None:
        """Write a batch and its invitations in one transaction: from now on they belong to it only."""
        rows = [
            {"edition": batch.edition, "address_key": key, "span": span, "batch_key": batch.batch_key}
            for key, span in sorted(spans.items())
        ]
        values = {name: getattr(batch, name) for name in Batch.__dataclass_fields__}
        try:
            with self.engine.begin() as db:
                db.execute(sa.insert(batches).values(**values))
                for chunk in chunks(rows):
                    db.execute(sa.insert(invitations).values(state="claimed"), chunk)
        except sa.exc.IntegrityError:
            raise LedgerError("another run claimed some of these addresses; the next poll takes the rest") from None

    def claimed_in(self, poll_id: str) -> int:
        """How many invitations one poll started so far."""
        query = (
            sa.select(sa.func.count())
            .select_from(invitations.join(batches, batches.c.batch_key == invitations.c.batch_key))
            .where(batches.c.poll_id == poll_id)
        )
        return int(self._scalar(query) or 0)

    def open_batches(self, partition_key: str) -> list[Batch]:
        query = (
            sa.select(batches)
            .where(batches.c.partition_key == partition_key, batches.c.state.in_(("open", "accepted")))
            .order_by(batches.c.created_at, batches.c.batch_key)
        )
        with self.engine.begin() as db:
            return [Batch(**row._mapping) for row in db.execute(query)]

    def cancelled_batches(self, partition_key: str) -> list[Batch]:
        """Those with people who are still let in, were not mailed because of it, and were not released yet."""
        waiting = (
            sa.exists()
            .where(invitations.c.batch_key == batches.c.batch_key, invitations.c.reason == batches.c.remote_status)
            .where(same_span, grants.c.state.in_(LET_IN))
        )
        mine = (batches.c.partition_key == partition_key, batches.c.state == "cancelled")
        query = sa.select(batches).where(*mine, waiting).order_by(batches.c.created_at, batches.c.batch_key)
        with self.engine.begin() as db:
            return [Batch(**row._mapping) for row in db.execute(query)]

    def batch(self, batch_key: str) -> Batch:
        with self.engine.begin() as db:
            return Batch(**db.execute(sa.select(batches).where(batches.c.batch_key == batch_key)).one()._mapping)

    def update_batch(self, batch_key: str, **values: Any) -> Batch:
        with self.engine.begin() as db:
            db.execute(sa.update(batches).where(batches.c.batch_key == batch_key).values(**values))
        return self.batch(batch_key)

    def intend_send(self, batch_key: str) -> bool:
        """Write "about to send", unless somebody did: of two runs that prepared the same batch, one may go on."""
        unsent = (batches.c.batch_key == batch_key, batches.c.state == "open", batches.c.send_intended_at.is_(None))
        with self.engine.begin() as db:
            written = db.execute(sa.update(batches).where(*unsent).values(send_intended_at=self.clock()))
        return written.rowcount == 1

    def accept_batch(self, batch_key: str) -> Batch:
        """The service took the sending over: its invitations are out of our hands."""
        mine = sa.and_(invitations.c.batch_key == batch_key, invitations.c.state == "claimed")
        with self.engine.begin() as db:
            db.execute(sa.update(invitations).where(mine).values(state="accepted"))
            now = self.clock()
            db.execute(
                sa.update(batches).where(batches.c.batch_key == batch_key).values(state="accepted", accepted_at=now)
            )
        return self.batch(batch_key)

    def reopen_batch(self, batch_key: str, **values: Any) -> Batch:
        """Its sending was taken back before anything left: its invitations are claimed again."""
        mine = sa.and_(invitations.c.batch_key == batch_key, invitations.c.state == "accepted")
        with self.engine.begin() as db:
            db.execute(sa.update(invitations).where(mine).values(state="claimed"))
            changes = {"state": "open", "accepted_at": None, **values}
            db.execute(sa.update(batches).where(batches.c.batch_key == batch_key).values(**changes))
        return self.batch(batch_key)

    def close_batch(self, batch_key: str, state: BatchState, remote_status: str | None) -> Batch:
        """The batch ended; its pool list rests before it may be used again. Of a cancelled one nobody was reached."""
        now = self.clock()
        waiting = (invitations.c.batch_key == batch_key, invitations.c.state.in_(("claimed", "accepted")))
        with self.engine.begin() as db:
            if state == "cancelled":
                missed = {"state": "unreachable", "reason": remote_status}
                db.execute(sa.update(invitations).where(*waiting).values(**missed))
            db.execute(
                sa.update(batches)
                .where(batches.c.batch_key == batch_key)
                .values(state=state, remote_status=remote_status, ended_at=now)
            )
            db.execute(
                sa.update(pool_lists).where(pool_lists.c.batch_key == batch_key).values(batch_key=None, released_at=now)
            )
        return self.batch(batch_key)

    def invitations_of(self, batch_key: str) -> list[Invitation]:
        columns = [invitations.c[name] for name in Invitation.__dataclass_fields__]
        query = sa.select(*columns).where(invitations.c.batch_key == batch_key).order_by(invitations.c.address_key)
        with self.engine.begin() as db:
            return [Invitation(**row._mapping) for row in db.execute(query)]

    def lapsed_invitations(self, batch: Batch) -> set[str]:
        """Those of a batch whose access was taken back since, or is being taken back."""
        query = (
            sa.select(invitations.c.address_key)
            .join(grants, sa.and_(same_span, grants.c.state.in_(("revoking", "revoked"))))
            .where(invitations.c.batch_key == batch.batch_key, invitations.c.state == "accepted")
        )
        return self._column(query)

    def update_invitations(self, batch_key: str, keys: Iterable[str], **values: Any) -> None:
        with self.engine.begin() as db:
            for chunk in chunks(sorted(keys)):
                mine = (invitations.c.batch_key == batch_key, invitations.c.address_key.in_(chunk))
                db.execute(sa.update(invitations).where(*mine).values(**values))

    def record_profiles(self, batch_key: str, profile_ids: Mapping[str, str]) -> None:
        key = [invitations.c[name] for name in ("edition", "address_key", "span")]
        by_key = [column == sa.bindparam(f"its_{column.name}") for column in key]
        update = sa.update(invitations).where(*by_key).values(profile_id=sa.bindparam("its_profile"))
        mine = sa.select(*(column.label(f"its_{column.name}") for column in key))
        with self.engine.begin() as db:
            # By their whole key: by batch and address, SQLite would look through the batch for each of them.
            found = db.execute(mine.where(invitations.c.batch_key == batch_key)).mappings()
            rows = [
                {**row, "its_profile": profile_ids[row["its_address_key"]]}
                for row in found
                if row["its_address_key"] in profile_ids
            ]
            for chunk in chunks(rows):
                db.execute(update, chunk)

    def release_invitations(self, batch_key: str, keys: Iterable[str]) -> None:
        """Take addresses out of a batch that was never sent, so that another one may invite them."""
        with self.engine.begin() as db:
            for chunk in chunks(sorted(keys)):
                mine = (invitations.c.batch_key == batch_key, invitations.c.address_key.in_(chunk))
                db.execute(sa.delete(invitations).where(*mine))

    def invitation_counts(self, partition_key: str) -> dict[str, int]:
        """Invitations of an event's batches by state."""
        query = (
            sa.select(invitations.c.state, sa.func.count())
            .join(batches, batches.c.batch_key == invitations.c.batch_key)
            .where(batches.c.partition_key == partition_key)
            .group_by(invitations.c.state)
        )
        with self.engine.begin() as db:
            return {row[0]: row[1] for row in db.execute(query)}

    # -- remote things found or made by name ------------------------------------------------------

    def remote_id(self, kind: str, name: str) -> str | None:
        chosen = (remote_ids.c.kind == kind, remote_ids.c.name == name)
        return self._scalar(sa.select(remote_ids.c.remote_id).where(*chosen))

    def creation_intended_at(self, kind: str, name: str) -> datetime | None:
        """When we last set out to create it: a second look is owed before creating it again."""
        chosen = (remote_ids.c.kind == kind, remote_ids.c.name == name)
        return self._scalar(sa.select(remote_ids.c.intended_at).where(*chosen))

    def intend_creation(self, kind: str, name: str) -> None:
        with self.engine.begin() as db:
            upsert(db, remote_ids, {"kind": kind, "name": name}, {"intended_at": self.clock()})

    def record_remote_id(self, kind: str, name: str, remote_id: str | None) -> None:
        with self.engine.begin() as db:
            upsert(db, remote_ids, {"kind": kind, "name": name}, {"remote_id": remote_id})

    # -- the pool of lists ------------------------------------------------------------------------

    def lease_pool_list(self, batch_key: str, names: Iterable[str], rested_since: datetime) -> str | None:
        """Give a batch a list of the pool that no other batch uses and that rested; ``None``: all are busy."""
        with self.engine.begin() as db:
            held = db.scalar(sa.select(pool_lists.c.list_name).where(pool_lists.c.batch_key == batch_key))
            if held is not None:
                return str(held)
            insert_missing(db, pool_lists, [{"list_name": name} for name in names])
            unused = pool_lists.c.released_at.is_(None)
            free = sa.select(pool_lists.c.list_name).where(
                pool_lists.c.batch_key.is_(None), sa.or_(unused, pool_lists.c.released_at <= rested_since)
            )
            # Rested ones first: a list that was never used would have to be made.
            first = free.order_by(unused, pool_lists.c.released_at, pool_lists.c.list_name).limit(1)
            # One that another process is just taking is not free; SQLite lets one process write at a time anyway.
            name = db.scalar(first.with_for_update(skip_locked=True))
            if name is not None:
                db.execute(sa.update(pool_lists).where(pool_lists.c.list_name == name).values(batch_key=batch_key))
        return name

    def return_pool_list(self, batch_key: str) -> None:
        """Hand a list back that was found unfit, so that it rests and another is chosen."""
        with self.engine.begin() as db:
            db.execute(
                sa.update(pool_lists)
                .where(pool_lists.c.batch_key == batch_key)
                .values(batch_key=None, released_at=self.clock())
            )

    # -- leases -----------------------------------------------------------------------------------

    def take_lease(self, name: str, owner: str, ttl: timedelta, is_dead: Callable[[str], bool]) -> str | None:
        """``None`` when ``owner`` has the lease now; otherwise who has it. A dead owner's lease is free."""
        with self.engine.begin() as db:
            now = self._lease_time(db)
            insert = _dialect_insert(db, leases).values(name=name, owner=owner, expires_at=now + ttl)
            if db.execute(insert.on_conflict_do_nothing()).rowcount == 1:
                return None
            # Locked: its owner could renew it between this look and what follows from it.
            held = db.execute(sa.select(leases).where(leases.c.name == name).with_for_update()).one_or_none()
            if held is None:
                return "another process"
            if held.owner != owner and held.expires_at > now and not is_dead(held.owner):
                return str(held.owner)
            db.execute(sa.update(leases).where(leases.c.name == name).values(owner=owner, expires_at=now + ttl))
        return None

    def renew_lease(self, name: str, owner: str, ttl: timedelta) -> bool:
        mine = (leases.c.name == name, leases.c.owner == owner)
        with self.engine.begin() as db:
            renewed = db.execute(sa.update(leases).where(*mine).values(expires_at=self._lease_time(db) + ttl))
        return renewed.rowcount == 1

    def drop_lease(self, name: str, owner: str) -> None:
        with self.engine.begin() as db:
            db.execute(sa.delete(leases).where(leases.c.name == name, leases.c.owner == owner))

    def lease_owner(self, name: str) -> str | None:
        """Who holds a lease that has not expired."""
        with self.engine.begin() as db:
            now = self._lease_time(db)
            owner: str | None = db.scalar(
                sa.select(leases.c.owner).where(leases.c.name == name, leases.c.expires_at > now)
            )
        return owner

    def _lease_time(self, db: sa.Connection) -> datetime:
        """The server's clock where there is one: those of two machines may differ by more than a lease lasts."""
        if db.dialect.name != "postgresql":
            return self.clock()
        now: datetime = db.scalars(sa.select(sa.func.clock_timestamp())).one()
        return now.astimezone(timezone.utc)

    # -- plumbing ---------------------------------------------------------------------------------

    def _scalar(self, query: sa.Select[_T]) -> _T | None:
        with self.engine.begin() as db:
            value: _T | None = db.scalar(query)
        return value

    def _column(self, query: sa.Select[Any]) -> set[Any]:
        with self.engine.begin() as db:
            return set(db.scalars(query))


def _select_grants(*others: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """The columns of a ``Grant`` in its order, then the others: there can be very many rows."""
    return sa.select(*(grants.c[name] for name in Grant.__dataclass_fields__), *others)


def _grant(row: Sequence[Any]) -> Grant:
    return Grant(*row)


def _family(name: str) -> Family:
    return name  # type: ignore[return-value]  # written by register_events from an EventPartition


def _open_grants_of(edition: str, keys: list[str]) -> tuple[sa.ColumnElement[bool], ...]:
    return (grants.c.edition == edition, grants.c.state != "revoked", grants.c.address_key.in_(keys))


def _lapsed(edition: str) -> tuple[sa.ColumnElement[bool], ...]:
    still = sa.select(holdings.c.address_key).where(holdings.c.edition == edition)
    none_unread = ~sa.exists().where(unread.c.edition == edition)
    return (grants.c.edition == edition, grants.c.address_key.not_in(still), none_unread)


def _grants_of(db: sa.Connection, edition: str, keys: list[str]) -> list[sa.Row[Any]]:
    return list(db.execute(sa.select(grants).where(*_open_grants_of(edition, keys))))


def _strike_off(db: sa.Connection, table: sa.Table, partition_key: str, keys: Iterable[str]) -> None:
    for chunk in chunks(sorted(keys)):
        db.execute(sa.delete(table).where(table.c.partition_key == partition_key, table.c.address_key.in_(chunk)))


def chunks(items: list[Any], size: int = 500) -> Iterable[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def insert_missing(db: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Insert the rows whose keys are free; both engines say it the same way."""
    for chunk in chunks(rows):
        db.execute(_dialect_insert(db, table).on_conflict_do_nothing(), chunk)


def upsert(db: sa.Connection, table: sa.Table, key: dict[str, Any], values: dict[str, Any]) -> None:
    statement = _dialect_insert(db, table).values(**key, **values)
    db.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))


def _dialect_insert(db: sa.Connection, table: sa.Table) -> Any:
    if db.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)
