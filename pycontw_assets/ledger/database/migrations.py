"""Bring a ledger that an older version wrote to the schema of today, in one transaction, keeping all that it knows.

Statements are spelled so that SQLite and PostgreSQL understand them alike. A step does not use today's tables: those
change, and the step stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import date, datetime

import sqlalchemy as sa

from pycontw_assets.ledger.database import schema_4, schema_5, schema_6
from pycontw_assets.ledger.database.engine import LedgerError, schema_change
from pycontw_assets.ledger.database.tables import insert_missing, meta, metadata
from pycontw_assets.pseudonyms import NORMALISATION_VERSION

SCHEMA_VERSION = 6


def prepare(engine: sa.Engine) -> None:
    """Make the tables of a new ledger, or bring an older one up to date."""
    with engine.begin() as db:
        version = stored_version(db)
    if version == SCHEMA_VERSION:
        return
    with schema_change(engine) as db:
        version = stored_version(db)  # another process may have been faster
        if version is None:
            metadata.create_all(db)
            _number_changes(db)
            identity = {"schema": SCHEMA_VERSION, "normalisation": NORMALISATION_VERSION}
            insert_missing(db, meta, [{"name": name, "value": str(value)} for name, value in identity.items()])
            return
        migrate(db, version)


def stored_version(db: sa.Connection) -> int | None:
    """Return the schema of the ledger; ``None``: there is none yet. One of a newer version is refused."""
    tables = set(sa.inspect(db).get_table_names())
    stored = db.scalar(sa.select(meta.c.value).where(meta.c.name == "schema")) if "meta" in tables else None
    if stored is None:
        # Version 1 wrote its number some moments after its tables.
        return 1 if "holdings" in tables else None
    version = int(stored)
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"the ledger has schema {version}, and this version of pycontw-assets knows schemas up to "
            f"{SCHEMA_VERSION}; nothing was changed. Install the newer version that it was last used with"
        )
    return version


def migrate(db: sa.Connection, version: int) -> None:
    """Take every step from ``version`` on, inside the transaction of the caller."""
    for number in range(version, SCHEMA_VERSION):
        _STEPS[number](db)
        db.execute(sa.delete(meta).where(meta.c.name == "schema"))
        db.execute(sa.insert(meta).values(name="schema", value=str(number + 1)))


def _types(db: sa.Connection) -> dict[str, str]:
    """Return what the two databases call their types."""
    is_server = db.dialect.name == "postgresql"
    return {"time": "DOUBLE PRECISION" if is_server else "DOUBLE", "serial": "BIGSERIAL" if is_server else "INTEGER"}


# -- 1 -> 2: names of the vocabulary; facts out of the key-value table ---------------------------------

# Version 1 made these when they were first used.
_MADE_WHEN_USED = (
    """CREATE TABLE IF NOT EXISTS troubles (
        partition_key VARCHAR NOT NULL, subject VARCHAR NOT NULL, cause VARCHAR NOT NULL, text VARCHAR NOT NULL,
        is_failure BOOLEAN NOT NULL, since {time} NOT NULL, times INTEGER NOT NULL,
        PRIMARY KEY (partition_key, subject, cause))""",
    """CREATE TABLE IF NOT EXISTS alarms (
        cause VARCHAR NOT NULL, title VARCHAR NOT NULL, size INTEGER NOT NULL,
        raised_at {time} NOT NULL, told_at {time} NOT NULL, PRIMARY KEY (cause))""",
    """CREATE TABLE IF NOT EXISTS sales (
        edition VARCHAR NOT NULL, family VARCHAR NOT NULL, ticket VARCHAR NOT NULL, day DATE NOT NULL,
        sold INTEGER NOT NULL, usable INTEGER NOT NULL, pending INTEGER NOT NULL, cancelled INTEGER NOT NULL,
        PRIMARY KEY (edition, family, ticket, day))""",
    """CREATE TABLE IF NOT EXISTS rate_slots (
        slot_id {serial} NOT NULL, name VARCHAR NOT NULL, at {time} NOT NULL, PRIMARY KEY (slot_id))""",
    "CREATE INDEX IF NOT EXISTS rate_slots_by_time ON rate_slots (name, at)",
)
_NEW_NAMES = (
    "ALTER TABLE holdings RENAME TO entitlements",
    "ALTER TABLE unread RENAME TO stale_events",
    "ALTER TABLE joining RENAME TO unconfirmed_members",
    "ALTER TABLE troubles RENAME TO problems",
    "ALTER TABLE alarms RENAME TO sent_alerts",
    "ALTER TABLE sent_alerts RENAME COLUMN told_at TO sent_at",
    "ALTER TABLE grants RENAME COLUMN span TO period",
    "ALTER TABLE grants RENAME COLUMN ours TO added_by_us",
    "ALTER TABLE invitations RENAME COLUMN span TO period",
    "ALTER TABLE polls RENAME COLUMN open_ids TO reread_count",
)
_NEW_VALUES = (
    "UPDATE grants SET state = 'assumed' WHERE state = 'waived'",
    "UPDATE invitations SET state = 'marked' WHERE state = 'adopted'",
    "UPDATE batches SET poll_id = 'marked' WHERE poll_id = 'adopted'",
    "UPDATE batches SET campaign_name = 'marked' WHERE campaign_name = 'adopted'",
    "UPDATE batches SET partition_key = edition || '-marked' WHERE partition_key = edition || '-adopted'",
    # A problem ends with the next attempt at its subject: under the old name there will be none.
    """UPDATE problems SET subject = 'maintenance', cause = replace(cause, 'housekeeping', 'maintenance')
        WHERE subject = 'housekeeping'""",
    "UPDATE sent_alerts SET cause = replace(cause, 'housekeeping', 'maintenance') WHERE cause LIKE 'housekeeping%'",
)
_NEW_TABLES = (
    """CREATE TABLE locks (
        name VARCHAR NOT NULL, partition_key VARCHAR NOT NULL, owner VARCHAR NOT NULL, expires_at {time} NOT NULL,
        PRIMARY KEY (name, partition_key))""",
    "CREATE TABLE editions (edition VARCHAR NOT NULL, begun VARCHAR NOT NULL, PRIMARY KEY (edition))",
    """CREATE TABLE erased_attendees (
        partition_key VARCHAR NOT NULL, attendee_id BIGINT NOT NULL, PRIMARY KEY (partition_key, attendee_id))""",
    "ALTER TABLE events ADD COLUMN purged_at {time}",
    "CREATE TABLE waiting_events (partition_key VARCHAR NOT NULL, since {time} NOT NULL, PRIMARY KEY (partition_key))",
    """CREATE TABLE guest_list_state (
        id INTEGER NOT NULL, space_digest VARCHAR(64), size INTEGER, lacking INTEGER DEFAULT 0 NOT NULL,
        doubted_size INTEGER, doubted_in VARCHAR, PRIMARY KEY (id))""",
    "CREATE TABLE reports (name VARCHAR NOT NULL, day DATE NOT NULL, PRIMARY KEY (name))",
    """CREATE TABLE unreachable_searches (
        partition_key VARCHAR NOT NULL, digest VARCHAR(64) NOT NULL, PRIMARY KEY (partition_key))""",
    """CREATE TABLE unreachable_attendees (
        partition_key VARCHAR NOT NULL, attendee_id BIGINT NOT NULL, reason VARCHAR,
        PRIMARY KEY (partition_key, attendee_id))""",
    "ALTER TABLE polls ADD COLUMN without_address INTEGER DEFAULT 0 NOT NULL",
)
_LOCKS = (
    """INSERT INTO locks SELECT 'orders', substr(name, 11), owner, expires_at
        FROM leases WHERE name LIKE 'orders of %'""",
    """INSERT INTO locks SELECT 'invitations', substr(name, 16), owner, expires_at
        FROM leases WHERE name LIKE 'invitations of %'""",
    """INSERT INTO locks SELECT name, '', owner, expires_at
        FROM leases WHERE name IN ('gather guest list', 'klaviyo names', 'sales report')""",
    "DROP TABLE leases",
)
# The count that a poll takes from now on, as far as the last search knows it.
_COUNT_WITHOUT_ADDRESS = """UPDATE polls SET without_address = (
    SELECT count(*) FROM unreachable_attendees
    WHERE unreachable_attendees.partition_key = polls.partition_key AND unreachable_attendees.reason IS NULL)"""
_IDENTITY = ("schema", "normalisation", "pseudonym key")
_UNREACHABLE_LINE = re.compile(r"attendee (\d+) (?:cannot be mailed by Klaviyo \((.*)\): ask )?")


def _to_2(db: sa.Connection) -> None:
    _execute(db, *_MADE_WHEN_USED, *_NEW_NAMES, *_NEW_VALUES, *_NEW_TABLES, *_LOCKS)
    notes = {row.name: row.value or "" for row in db.execute(sa.text("SELECT name, value FROM meta"))}
    for statement, values in _facts(notes):
        db.execute(sa.text(statement), values)
    db.execute(sa.text(_COUNT_WITHOUT_ADDRESS))
    moved = [{"name": name} for name in notes if name not in _IDENTITY]
    if moved:
        db.execute(sa.text("DELETE FROM meta WHERE name = :name"), moved)


def _execute(db: sa.Connection, *statements: str) -> None:
    is_server = db.dialect.name == "postgresql"
    types = {"time": "DOUBLE PRECISION" if is_server else "DOUBLE", "serial": "BIGSERIAL" if is_server else "INTEGER"}
    for statement in statements:
        db.execute(sa.text(statement.format(**types)))


_Fact = tuple[str, dict[str, object]]


def _facts(notes: dict[str, str]) -> Iterator[_Fact]:
    """Return what the notes of version 1 say, as rows of version 2. An empty note said nothing."""
    yield _guest_list(notes)
    for name, text in sorted(notes.items()):
        for beginning, rows_of in _NOTES.items():
            if text and name.startswith(beginning):
                yield from rows_of(name.removeprefix(beginning), text)


def _guest_list(notes: dict[str, str]) -> _Fact:
    doubted_size, _, doubted_in = notes.get("guest list doubted", "").partition(" ")
    return (
        "INSERT INTO guest_list_state (id, space_digest, size, lacking, doubted_size, doubted_in)"
        " VALUES (1, :space_digest, :size, :lacking, :doubted_size, :doubted_in)",
        {
            "space_digest": notes.get("guest list of") or None,
            "size": int(notes["guest list size"]) if notes.get("guest list size") else None,
            "lacking": int(notes.get("guests lacking") or 0),
            "doubted_size": int(doubted_size) if doubted_size else None,
            "doubted_in": doubted_in or None,
        },
    )


def _edition(edition: str, begun: str) -> Iterator[_Fact]:
    yield "INSERT INTO editions (edition, begun) VALUES (:edition, :begun)", {"edition": edition, "begun": begun}


def _erased(partition_key: str, numbers: str) -> Iterator[_Fact]:
    statement = "INSERT INTO erased_attendees (partition_key, attendee_id) VALUES (:key, :attendee_id)"
    for number in numbers.split():
        yield statement, {"key": partition_key, "attendee_id": int(number)}


def _purged(partition_key: str, moment: str) -> Iterator[_Fact]:
    statement = "UPDATE events SET purged_at = :at WHERE partition_key = :key"
    yield statement, {"key": partition_key, "at": _seconds(moment)}


def _news(_name: str, moments: str) -> Iterator[_Fact]:
    statement = "INSERT INTO waiting_events (partition_key, since) VALUES (:key, :since)"
    for partition_key, moment in json.loads(moments).items():
        yield statement, {"key": partition_key, "since": _seconds(moment)}


def _report(_name: str, day: str) -> Iterator[_Fact]:
    yield "INSERT INTO reports (name, day) VALUES ('sales', :day)", {"day": date.fromisoformat(day)}


def _unreachable(partition_key: str, text: str) -> Iterator[_Fact]:
    """Version 1 kept the lines that it sent: one per attendee, with the reason of the mail service or without one."""
    search = json.loads(text)
    statement = "INSERT INTO unreachable_searches (partition_key, digest) VALUES (:key, :digest)"
    yield statement, {"key": partition_key, "digest": search["state"]}
    statement = "INSERT INTO unreachable_attendees (partition_key, attendee_id, reason) VALUES (:key, :number, :reason)"
    for line in search["lines"]:
        if match := _UNREACHABLE_LINE.search(line):
            yield statement, {"key": partition_key, "number": int(match[1]), "reason": match[2]}


_NOTES: dict[str, Callable[[str, str], Iterator[_Fact]]] = {
    "beginning of ": _edition,
    "erased ": _erased,
    "purged ": _purged,
    "unread since": _news,
    "sales told": _report,
    "unreachable ": _unreachable,
}


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


# -- 2 -> 3: one tuple per subject ---------------------------------------------------------------------

_REFRESH_REQUESTS = (
    """CREATE TABLE refresh_requests (
        partition_key VARCHAR NOT NULL, attendee_id BIGINT NOT NULL, PRIMARY KEY (partition_key, attendee_id))""",
)
_SALES = (
    "ALTER TABLE sales RENAME COLUMN pending TO unpaid",
    "ALTER TABLE sales ADD COLUMN not_activated INTEGER DEFAULT 0 NOT NULL",
    "ALTER TABLE sales ADD COLUMN unclear INTEGER DEFAULT 0 NOT NULL",
)
_PAUSE = ("CREATE TABLE pauses (id INTEGER NOT NULL, since {time} NOT NULL, PRIMARY KEY (id))",)
_TABLE_STATES = ("CREATE TABLE table_states (name VARCHAR NOT NULL, state VARCHAR NOT NULL, PRIMARY KEY (name))",)
_RENAMED_EVENTS = (
    """CREATE TABLE former_keys (
        partition_key VARCHAR NOT NULL, event_id BIGINT NOT NULL, PRIMARY KEY (partition_key))""",
)
_MEASURED_CAMPAIGNS = (
    "ALTER TABLE batches ADD COLUMN recipients INTEGER",
    "ALTER TABLE batches ADD COLUMN measured_at {time}",
)
_ERASURES = (
    "ALTER TABLE erased_attendees ADD COLUMN address_key VARCHAR(64)",
    "ALTER TABLE erased_attendees ADD COLUMN erased_at {time}",
    "ALTER TABLE erased_attendees ADD COLUMN checked_at {time}",
    """CREATE TABLE erasures (
        address_key VARCHAR(64) NOT NULL, requested_at {time} NOT NULL, places VARCHAR NOT NULL,
        PRIMARY KEY (address_key))""",
)
_ORDER_MARKS = (
    """CREATE TABLE order_marks (
        partition_key VARCHAR NOT NULL, mark VARCHAR, generation INTEGER NOT NULL, intended VARCHAR,
        must_reread BOOLEAN NOT NULL, PRIMARY KEY (partition_key))""",
    "ALTER TABLE editions ADD COLUMN doubted_since {time}",
)


# What was sent before channels were distinguished, every channel took: "".
_ALERTS_BY_CHANNEL = (
    "ALTER TABLE sent_alerts RENAME TO sent_alerts_of_all",
    """CREATE TABLE sent_alerts (
        channel VARCHAR(64) NOT NULL, cause VARCHAR NOT NULL, title VARCHAR NOT NULL, size INTEGER NOT NULL,
        raised_at {time} NOT NULL, sent_at {time} NOT NULL, attendees VARCHAR, PRIMARY KEY (channel, cause))""",
    """INSERT INTO sent_alerts (channel, cause, title, size, raised_at, sent_at)
        SELECT '', cause, title, size, raised_at, sent_at FROM sent_alerts_of_all""",
    "DROP TABLE sent_alerts_of_all",
    "ALTER TABLE reports RENAME TO reports_of_all",
    """CREATE TABLE reports (
        name VARCHAR NOT NULL, channel VARCHAR(64) NOT NULL, day DATE NOT NULL, PRIMARY KEY (name, channel))""",
    "INSERT INTO reports (name, channel, day) SELECT name, '', day FROM reports_of_all",
    "DROP TABLE reports_of_all",
    """CREATE TABLE failing_channels (
        channel VARCHAR(64) NOT NULL, failures INTEGER NOT NULL, since {time} NOT NULL, retry_at {time} NOT NULL,
        PRIMARY KEY (channel))""",
)
# Guests whom Gather does not take were counted by each attempt. They are looked up by number now, so that no attempt
# about others ends their alert.
_PROBLEMS_OF_PEOPLE = (
    "ALTER TABLE unreachable_attendees ADD COLUMN kind VARCHAR DEFAULT 'mail' NOT NULL",
    "ALTER TABLE grants ADD COLUMN ceded_at {time}",
    "DELETE FROM problems WHERE cause LIKE 'gather_guestlist: # guests were sent to Gather%'",
    "DELETE FROM sent_alerts WHERE cause LIKE 'gather_guestlist: # guests were sent to Gather%'",
)
_ATTENDEE_CAUSE = re.compile(r"\battendee #.*?(\(.*\))")


# Version 2 kept reasons and ends as the mail service spelled them. One of its texts could quote an address.
_KNOWN_REASONS = frozenset(
    {
        *("HARD_BOUNCE", "INVALID_EMAIL", "SPAM_COMPLAINT", "UNSUBSCRIBE", "UNSUBSCRIBED", "USER_SUPPRESSED"),
        *("SUBSCRIBED", "NEVER_SUBSCRIBED", "suppressed", "Klaviyo refused the address", "no reason given"),
        *("does not show on the list of the batch", "no such campaign", "Cancelled: deleted in Klaviyo"),
        *("Cancelled: deleted in Klaviyo, perhaps after it was sent", "Cancelled", "Cancelled: Account Disabled"),
        *("Cancelled: Billing Limit", "Cancelled: Internal Error", "Cancelled: Misconfigured"),
        *("Cancelled: No Recipients", "Cancelled: Smart Sending", "Sent", "Variations Sent", "Unknown", "Draft"),
        *("Preparing to schedule", "Scheduled", "Preparing to send", "Adding Recipients", "Queued without Recipients"),
        *("Sending", "Sending Segments"),
    }
)
_OTHER_REASON = "another reason"


def _close_reasons(db: sa.Connection) -> None:
    for table, column in (("invitations", "reason"), ("unreachable_attendees", "reason"), ("batches", "remote_status")):
        stored = db.execute(sa.text(f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL"))  # noqa: S608
        for text in [row[0] for row in stored]:
            if (closed := _closed(text)) != text:
                statement = f"UPDATE {table} SET {column} = :closed WHERE {column} = :text"  # noqa: S608
                db.execute(sa.text(statement), {"closed": closed, "text": text})
    # The next poll finds such a problem again, in today's words.
    db.execute(sa.text("DELETE FROM problems WHERE text LIKE '%@%' OR cause LIKE '%@%'"))
    db.execute(sa.text("DELETE FROM sent_alerts WHERE title LIKE '%@%' OR cause LIKE '%@%'"))


def _closed(text: str) -> str:
    """Return known reasons as they are; a batch and its invitations, which are compared, come to the same."""
    if text in _KNOWN_REASONS:
        return text
    if text.startswith("Cancelled"):
        return f"Cancelled: {_OTHER_REASON}"
    parts = [part if part in _KNOWN_REASONS else _OTHER_REASON for part in text.split("; ")]
    return "; ".join(dict.fromkeys(parts))


_SUBJECTS = (
    _REFRESH_REQUESTS,
    _SALES,
    _PAUSE,
    _TABLE_STATES,
    _RENAMED_EVENTS,
    _MEASURED_CAMPAIGNS,
    _ERASURES,
    _ORDER_MARKS,
    _ALERTS_BY_CHANNEL,
    _PROBLEMS_OF_PEOPLE,
)


def _to_3(db: sa.Connection) -> None:
    for statements in _SUBJECTS:
        _execute(db, *statements)
    _close_reasons(db)
    _join_causes_of_attendees(db)


def _join_causes_of_attendees(db: sa.Connection) -> None:
    """Leave what is in brackets behind an attendee's number out of the cause: it concerned this attendee only."""
    for name, key in (("problems", ("partition_key", "subject", "text")), ("sent_alerts", ("channel",))):
        table = sa.table(name, *map(sa.column, (*key, "cause")))
        for row in db.execute(sa.select(table)).mappings().all():
            match = _ATTENDEE_CAUSE.search(row["cause"])
            if match is None:
                continue
            of_same = [table.c[part] == row[part] for part in key if part != "text"]
            joined = {"cause": row["cause"].replace(match[1], "(…)")}
            into = sa.update(table).where(*of_same, table.c.cause == joined["cause"])
            texts = {"text": table.c.text + f"\n{row['text']}"} if "text" in row else joined
            if db.execute(into.values(**texts)).rowcount:
                db.execute(sa.delete(table).where(*of_same, table.c.cause == row["cause"]))
            else:
                db.execute(sa.update(table).where(*of_same, table.c.cause == row["cause"]).values(**joined))


# -- 3 -> 4 --------------------------------------------------------------------------------------------


def _to_4(db: sa.Connection) -> None:
    for statements in schema_4.SUBJECTS:
        _execute(db, *statements)


# -- 4 -> 5 --------------------------------------------------------------------------------------------


def _to_5(db: sa.Connection) -> None:
    for statements in schema_5.SUBJECTS:
        _execute(db, *statements)


# -- 5 -> 6 --------------------------------------------------------------------------------------------


def _to_6(db: sa.Connection) -> None:
    for statements in schema_6.SUBJECTS:
        _execute(db, *statements)
    _number_changes(db)


def _number_changes(db: sa.Connection) -> None:
    if db.dialect.name == "sqlite":
        _execute(db, *schema_6.NUMBER_CHANGES)


_STEPS: dict[int, Callable[[sa.Connection], None]] = {1: _to_2, 2: _to_3, 3: _to_4, 4: _to_5, 5: _to_6}
