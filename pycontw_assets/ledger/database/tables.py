"""Every table of the ledger, and the types of their columns.

Two unique keys carry the promises: one open grant per (edition, address), one invitation per (edition, address, access
period). The modules beside this one read and write them. A change here needs a step in ``migrations``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any, Literal

import sqlalchemy as sa

GrantState = Literal["intended", "granted", "assumed", "revoking", "revoked"]
LET_IN: tuple[GrantState, ...] = ("granted", "assumed")  # seen on the list, or taken as given

BatchState = Literal["open", "accepted", "sent", "cancelled", "empty"]

# How the people of a batch are invited: one campaign for all, or one event each, which starts a flow.
Way = Literal["campaign", "event"]

# Claimed by a batch, accepted by the mail service, impossible to deliver, or marked by a person as invited.
InvitationState = Literal["claimed", "accepted", "unreachable", "marked"]
REFUSED_ADDRESS = "Klaviyo refused the address"  # the one reason for "unreachable" by which no mail can have been sent

# A Discord invite: meant, perhaps made, made and unused, perhaps deleted, gone after its use, over.
InviteState = Literal["intended", "creating", "open", "deleting", "used", "ended"]
# Who used an invite: a member we recognise by a digest, nobody who has the role, one of several members, nobody looked.
InviteTrace = Literal["member", "nobody", "unclear", "unseen"]
# How a member came to a role: without an invite of ours, by one of several invites, by the invite of a known holder.
BearerOrigin = Literal["other", "unclear", "known"]
# Recorded; checked and waiting for its time; taken over by the mail service; and its ends. ``withdrawn``: never sent.
LetterState = Literal["begun", "ready", "accepted", "sent", "cancelled", "withdrawn"]

# How an invitation is sent once more: by a campaign for one person, or by an event that a flow waits for.
RepeatWay = Literal["campaign", "event"]

# No mail reaches the holder, the guest list does not take them, or a guest without a ticket stays on it.
AttendeeProblem = Literal["mail", "access", "stays"]

# Nobody of the edition was invited before this ledger, or its invitations were rebuilt from the services.
Beginning = Literal["new", "rebuilt"]


class UtcDateTime(sa.TypeDecorator[datetime]):
    """Aware UTC times on both engines, as seconds. SQLite alone would drop the zone."""

    impl = sa.Double
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> float | None:
        return value.timestamp() if value else None

    def process_result_value(self, value: float | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else datetime.fromtimestamp(value, timezone.utc)


metadata = sa.MetaData()


_Key = sa.String(64)  # a pseudonym: 64 hex digits


# -- the ledger itself --------------------------------------------------------------------------------

# Its schema, normalisation of addresses, fingerprint of the pseudonym key, environment, services and accounts.
meta = sa.Table("meta", metadata, sa.Column("name", sa.String, primary_key=True), sa.Column("value", sa.String))


locks = sa.Table(
    "locks",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("partition_key", sa.String, primary_key=True),  # "": not of one event
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),
)


# The turns of calls at a service, in seconds: several processes share its rate limit.
rate_slots = sa.Table(
    "rate_slots",
    metadata,
    sa.Column("slot_id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Index("rate_slots_by_time", "name", "at"),
)

# The rate of a service that publishes no limit, since it last objected.
slowed_rates = sa.Table(
    "slowed_rates",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("per_second", sa.Double, nullable=False),
    sa.Column("slowed_at", UtcDateTime, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
)


# One row while a person has paused all polls.
pauses = sa.Table(
    "pauses",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("since", UtcDateTime, nullable=False),
)


# -- editions and events ------------------------------------------------------------------------------

editions = sa.Table(
    "editions",
    metadata,
    sa.Column("edition", sa.String, primary_key=True),
    sa.Column("begun", sa.String, nullable=False),  # a Beginning
    sa.Column("doubted_since", UtcDateTime),  # others know more of the edition than this ledger
    sa.Column("unmailed_since", UtcDateTime),  # all mail was switched off, and nobody has said yet whom to invite
)


events = sa.Table(
    "events",
    metadata,
    sa.Column("event_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("partition_key", sa.String, nullable=False, unique=True),
    sa.Column("edition", sa.String, nullable=False),
    sa.Column("family", sa.String, nullable=False),
    sa.Column("purged_at", UtcDateTime),  # when its orders left the vault
    sa.Column("expired_since", UtcDateTime),  # since when every tick has found that their time is over
)


# The exports of former editions. They are no events, so that no decision about access ever meets them.
imports = sa.Table(
    "imports",
    metadata,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("edition", sa.String, nullable=False),
    sa.Column("family", sa.String, nullable=False),
    sa.Column("imported_at", UtcDateTime, nullable=False),
    sa.Column("expired_since", UtcDateTime),  # since when its orders are due to leave the vault
    sa.Column("purged_at", UtcDateTime),  # when its orders left the vault
)


# The mark of the orders in the vault that the ledger knows, and that of a write which is about to come.
order_marks = sa.Table(
    "order_marks",
    metadata,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("mark", sa.String),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("intended", sa.String),
    sa.Column("must_reread", sa.Boolean, nullable=False),
)


# Other keys of events that were renamed, or are about to be: vault or tables may still hold something under them.
former_keys = sa.Table(
    "former_keys",
    metadata,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("event_id", sa.BigInteger, nullable=False, autoincrement=False),
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
    sa.Column("without_address", sa.Integer, nullable=False, server_default="0"),  # usable tickets that no mail reaches
)


# Events of whose orders the last good poll did not see all, so that a missing ticket proves nothing.
stale_events = sa.Table(
    "stale_events",
    metadata,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("edition", sa.String, nullable=False),
)


# Events whose buyers are served while others are still to be read: the last wave, and how many it left unread.
waves = sa.Table(
    "waves",
    metadata,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("unread", sa.Integer, nullable=False),
    sa.Column("served_at", UtcDateTime, nullable=False),
)


# Events with news that no poll has taken in, and since when.
waiting_events = sa.Table(
    "waiting_events",
    metadata,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("since", UtcDateTime, nullable=False),
)


# The state of each table of the warehouse after our last load: any other means that somebody else changed it.
table_states = sa.Table(
    "table_states",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("state", sa.String, nullable=False),
)


# -- people -------------------------------------------------------------------------------------------

entitlements = sa.Table(
    "entitlements",
    metadata,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("address_key", _Key, primary_key=True),
    sa.Column("edition", sa.String, nullable=False),
)


# Attendees who asked to be forgotten, by number, and when their ticket was last found to be theirs still.
erased_attendees = sa.Table(
    "erased_attendees",
    metadata,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("attendee_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("address_key", _Key),  # NULL: an older version did not note whose it was
    sa.Column("erased_at", UtcDateTime),
    sa.Column("checked_at", UtcDateTime),
)


# Erasures that are not finished, and the places that have not confirmed theirs.
erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("address_key", _Key, primary_key=True),
    sa.Column("requested_at", UtcDateTime, nullable=False),
    sa.Column("places", sa.String, nullable=False),
    sa.Column("profiles", sa.String),  # their ids in the mail service, while it is to delete them
)


# Attendees whom somebody asked to read again with the next poll, by number.
refresh_requests = sa.Table(
    "refresh_requests",
    metadata,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("attendee_id", sa.BigInteger, primary_key=True, autoincrement=False),
)


grants = sa.Table(
    "grants",
    metadata,
    sa.Column("edition", sa.String, primary_key=True),
    sa.Column("address_key", _Key, primary_key=True),
    sa.Column("period", sa.Integer, primary_key=True),
    sa.Column("partition_key", sa.String, nullable=False),
    sa.Column("state", sa.String, nullable=False),  # a GrantState
    sa.Column("added_by_us", sa.Boolean, nullable=False),
    sa.Column("intended_at", UtcDateTime, nullable=False),
    sa.Column("granted_at", UtcDateTime),
    sa.Column("revoked_at", UtcDateTime),
    sa.Column("revoked_in", sa.String, index=True),  # the poll that did it
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("retry_at", UtcDateTime),
    sa.Column("ceded_at", UtcDateTime),  # since when the entry of a guest without a ticket is somebody else's
    sa.Column("space_digest", _Key),  # NULL: no space was given yet
    sa.Index(
        "one_open_grant",
        "edition",
        "address_key",
        unique=True,
        sqlite_where=sa.text("state <> 'revoked'"),
    ),
)


batches = sa.Table(
    "batches",
    metadata,
    sa.Column("batch_key", sa.String, primary_key=True),
    sa.Column("edition", sa.String, nullable=False),
    sa.Column("partition_key", sa.String, nullable=False),
    sa.Column("poll_id", sa.String, nullable=False, index=True),
    sa.Column("state", sa.String, nullable=False),  # a BatchState
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
    sa.Column("recipients", sa.Integer),  # as the mail service's report counts them; NULL: not compared yet
    sa.Column("measured_at", UtcDateTime),  # when it was last asked for them
    sa.Column("way", sa.String, nullable=False, server_default="campaign"),  # a Way
)


invitations = sa.Table(
    "invitations",
    metadata,
    sa.Column("edition", sa.String, primary_key=True),
    sa.Column("address_key", _Key, primary_key=True),
    sa.Column("period", sa.Integer, primary_key=True),
    sa.Column("batch_key", sa.String, sa.ForeignKey("batches.batch_key"), nullable=False, index=True),
    sa.Column("state", sa.String, nullable=False),  # an InvitationState
    sa.Column("reason", sa.String),
    sa.Column("profile_id", sa.String),
    sa.Column("event_id", sa.String),  # under which its event was, or may have been, handed over; NULL: none was
    sa.Column("handed_at", UtcDateTime),  # when the mail service took that event
    sa.Column("seen_at", UtcDateTime),  # when the mail service sent the mail that the event started
    sa.Index("one_event_id", "event_id", unique=True),
)


# Invitations that a person had sent once more. Every other second mail of an access period is a mistake of the program.
repeats = sa.Table(
    "repeats",
    metadata,
    sa.Column("repeat_id", sa.String, primary_key=True),  # by campaign: the key of its batch of one person
    sa.Column("partition_key", sa.String, nullable=False),
    sa.Column("edition", sa.String, nullable=False),
    sa.Column("address_key", _Key, nullable=False),
    sa.Column("way", sa.String, nullable=False),  # a RepeatWay
    sa.Column("asked_at", UtcDateTime, nullable=False),
    sa.Column("handed_over_at", UtcDateTime),  # NULL by campaign: its batch knows
    sa.Index("repeats_by_person", "address_key"),
)


# Letters to everybody: one campaign each. The key is a digest of subject and words, so that a letter is sent once.
letters = sa.Table(
    "letters",
    metadata,
    sa.Column("edition", sa.String, primary_key=True),
    sa.Column("letter_key", sa.String, primary_key=True),
    sa.Column("families", sa.String, nullable=False),  # of the tickets, with blanks between
    sa.Column("state", sa.String, nullable=False),  # a LetterState
    sa.Column("campaign_name", sa.String, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("send_at", UtcDateTime),
    sa.Column("campaign_intended_at", UtcDateTime),
    sa.Column("campaign_id", sa.String),
    sa.Column("message_id", sa.String),
    sa.Column("template_id", sa.String),
    sa.Column("send_intended_at", UtcDateTime),
    sa.Column("accepted_at", UtcDateTime),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("remote_status", sa.String),
    sa.Column("people", sa.Integer),  # on the lists when it was last checked; NULL: not known
)


# A purchase after a refund begins a new period, with an invitation of its own.
same_period = sa.and_(*(grants.c[name] == invitations.c[name] for name in ("edition", "address_key", "period")))


# -- the mail service ---------------------------------------------------------------------------------

members = sa.Table(
    "members",
    metadata,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("address_key", _Key, primary_key=True),
    sa.Column("profile_id", sa.String),  # NULL: Klaviyo refused the address
    sa.Column("answered_at", UtcDateTime),  # when it last said whether mail reaches the profile
    sa.Column("reason", sa.String),  # why none did then; NULL: it did
    sa.Column("batch_key", sa.String),  # as it was written into the profile then
)


# Members that Klaviyo was asked to add and has not confirmed.
unconfirmed_members = sa.Table(
    "unconfirmed_members",
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


# -- the guest list, and messages to people ----------------------------------------------------------

# One row per space: its digest, and what the last step saw of its guest list.
guest_list_state = sa.Table(
    "guest_list_state",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("space_digest", _Key),
    sa.Column("size", sa.Integer),
    sa.Column("lacking", sa.Integer, nullable=False, server_default="0"),
    sa.Column("doubted_size", sa.Integer),  # NULL: the list is not in doubt
    sa.Column("doubted_in", sa.String),  # the poll that asked a person about it
)


problems = sa.Table(
    "problems",
    metadata,
    sa.Column("partition_key", sa.String, primary_key=True),  # "": not of one event
    sa.Column("subject", sa.String, primary_key=True),
    sa.Column("cause", sa.String, primary_key=True),
    sa.Column("text", sa.String, nullable=False),
    sa.Column("is_failure", sa.Boolean, nullable=False),
    sa.Column("since", UtcDateTime, nullable=False),
    sa.Column("times", sa.Integer, nullable=False),
)


# The last alert about one cause that a channel took. A channel is a digest of its address.
sent_alerts = sa.Table(
    "sent_alerts",
    metadata,
    sa.Column("channel", sa.String(64), primary_key=True),  # "": all, from before channels were distinguished
    sa.Column("cause", sa.String, primary_key=True),
    sa.Column("title", sa.String, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("raised_at", UtcDateTime, nullable=False),
    sa.Column("sent_at", UtcDateTime, nullable=False),
    sa.Column("attendees", sa.String),  # their numbers; NULL: not known
)


# Channels that did not take their last message.
failing_channels = sa.Table(
    "failing_channels",
    metadata,
    sa.Column("channel", sa.String(64), primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),  # in a row
    sa.Column("since", UtcDateTime, nullable=False),
    sa.Column("retry_at", UtcDateTime, nullable=False),
)


# Tickets by day. An edition is compared with the one before, whatever became of its orders.
sales = sa.Table(
    "sales",
    metadata,
    sa.Column("edition", sa.String, primary_key=True),
    sa.Column("family", sa.String, primary_key=True),
    sa.Column("ticket", sa.String, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("sold", sa.Integer, nullable=False),
    sa.Column("usable", sa.Integer, nullable=False),
    sa.Column("unpaid", sa.Integer, nullable=False),
    sa.Column("cancelled", sa.Integer, nullable=False),
    sa.Column("not_activated", sa.Integer, nullable=False, server_default="0"),  # paid, in another state
    sa.Column("unclear", sa.Integer, nullable=False, server_default="0"),
)


# The last day for which a channel took each daily report.
reports = sa.Table(
    "reports",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("channel", sa.String(64), primary_key=True),  # "": all, from before channels were distinguished
    sa.Column("day", sa.Date, nullable=False),
)


# What the mail service's last report that shows a campaign counts for it.
campaign_figures = sa.Table(
    "campaign_figures",
    metadata,
    sa.Column("campaign_id", sa.String, primary_key=True),
    sa.Column("recipients", sa.Integer, nullable=False),
    sa.Column("delivered", sa.Integer, nullable=False),
    sa.Column("opened", sa.Integer, nullable=False),
    sa.Column("clicked", sa.Integer, nullable=False),
    sa.Column("bounced", sa.Integer, nullable=False),
    sa.Column("unsubscribed", sa.Integer, nullable=False),
    sa.Column("read_at", UtcDateTime, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),  # since when they are what they are
)


# When the mail service was last asked for the figures of an edition, and what its funnel was last made of.
funnels = sa.Table(
    "funnels",
    metadata,
    sa.Column("edition", sa.String, primary_key=True),
    sa.Column("report_asked_at", UtcDateTime),
    sa.Column("shown_digest", sa.String(64)),
    sa.Column("shown_asked_at", UtcDateTime),  # when a tick last asked for the table
)


# A digest of the orders and refusals in which an event's unreachable attendees were last searched.
unreachable_searches = sa.Table(
    "unreachable_searches",
    metadata,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
)


unreachable_attendees = sa.Table(
    "unreachable_attendees",
    metadata,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("attendee_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("reason", sa.String),  # the mail service's; NULL: the ticket has no address that mail could reach
    sa.Column("kind", sa.String, nullable=False, server_default="mail"),  # an AttendeeProblem
)


# -- Discord --------------------------------------------------------------------------------------------

discord_invites = sa.Table(
    "discord_invites",
    metadata,
    sa.Column("edition", sa.String, primary_key=True),
    sa.Column("address_key", _Key, primary_key=True),
    sa.Column("period", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("partition_key", sa.String, nullable=False),
    sa.Column("role_id", sa.String, nullable=False),
    sa.Column("state", sa.String, nullable=False),  # an InviteState
    sa.Column("intended_at", UtcDateTime, nullable=False),
    sa.Column("code_digest", sa.String(64)),  # the code itself is in Discord and in the holder's mail only
    sa.Column("tried_at", UtcDateTime),
    sa.Column("gone_at", UtcDateTime),
    sa.Column("trace", sa.String),  # an InviteTrace
    sa.Column("member_digest", sa.String(64)),
    sa.Column("ended_at", UtcDateTime),
    sa.Index(
        "one_open_invite",
        "edition",
        "address_key",
        unique=True,
        sqlite_where=sa.text("state <> 'ended'"),
    ),
)


# The members with a role of ours, as the last look showed them.
discord_bearers = sa.Table(
    "discord_bearers",
    metadata,
    sa.Column("member_digest", sa.String(64), primary_key=True),
    sa.Column("role_id", sa.String, primary_key=True),
    sa.Column("origin", sa.String, nullable=False),  # a BearerOrigin
)


# One row: whether Discord is a venue, of which guild the invites are, and when somebody looked at it.
discord_state = sa.Table(
    "discord_state",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("is_on", sa.Boolean, nullable=False, default=False, server_default=sa.text("FALSE")),
    sa.Column("guild_digest", sa.String(64)),
    sa.Column("looked_at", UtcDateTime),
    sa.Column("full_until", UtcDateTime),
)


# -- the webhook --------------------------------------------------------------------------------------

# Hints that nobody has looked into yet. "": a delivery that was not understood, so every event may be meant.
hints = sa.Table(
    "hints",
    metadata,
    sa.Column("subject", sa.String(64), primary_key=True),  # a digest of the event's slug
    sa.Column("name_digest", sa.String(64), nullable=False),
    sa.Column("since", UtcDateTime, nullable=False),
)


# Events that a hint was about, until something new was seen there or the looks are used up.
hinted_events = sa.Table(
    "hinted_events",
    metadata,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("since", UtcDateTime, nullable=False),
    sa.Column("looks", sa.Integer, nullable=False),
    sa.Column("next_look_at", UtcDateTime, nullable=False),
    sa.Column("content_digest", sa.String),  # of the last good poll when the last look began; NULL: there was none
)


# What the slugs of deliveries turned out to be. An event keeps its slug when it is renamed.
event_slugs = sa.Table(
    "event_slugs",
    metadata,
    sa.Column("slug_digest", sa.String(64), primary_key=True),
    sa.Column("event_id", sa.BigInteger, nullable=False, autoincrement=False),
)


hook_deliveries = sa.Table(
    "hook_deliveries",
    metadata,
    sa.Column("kind", sa.String, primary_key=True),  # a DeliveryKind
    sa.Column("first_at", UtcDateTime, nullable=False),
    sa.Column("last_at", UtcDateTime, nullable=False),
    sa.Column("times", sa.Integer, nullable=False),
)


# -- counts -------------------------------------------------------------------------------------------

# One row in a file of SQLite: how often the tables changed that many rows are counted in (``schema_6``).
counted_changes = sa.Table(
    "counted_changes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, nullable=False),
)


# What was counted in them, and at which number of changes.
kept_counts = sa.Table(
    "kept_counts",
    metadata,
    sa.Column("question", sa.String, primary_key=True),
    sa.Column("changes", sa.BigInteger, nullable=False),
    sa.Column("answer", sa.String, nullable=False),
)


# -- tools for all of them ----------------------------------------------------------------------------


@sa.event.listens_for(metadata, "before_create")
def _copy_conditions(_: object, db: sa.Connection, **_details: Any) -> None:
    """Give PostgreSQL the conditions of SQLite's indexes. Named in a table, they would load its dialect every time."""
    for table in metadata.tables.values() if db.dialect.name == "postgresql" else ():
        for index in table.indexes:
            index.dialect_options["postgresql"]["where"] = index.dialect_options["sqlite"]["where"]


def chunks(items: list[Any], size: int = 500) -> Iterable[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def insert_missing(db: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Insert the rows whose keys are free; both engines spell it the same way."""
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
