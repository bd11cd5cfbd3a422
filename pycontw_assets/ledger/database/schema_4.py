"""The step from schema 3 to 4: one tuple of statements per subject.

``{time}`` and ``{serial}`` are what the database at hand calls these types.
"""

from __future__ import annotations

_SLOWED_RATES = (
    """CREATE TABLE slowed_rates (
        name VARCHAR NOT NULL, per_second {time} NOT NULL, slowed_at {time} NOT NULL, reason VARCHAR NOT NULL,
        PRIMARY KEY (name))""",
)

_REPEATS = (
    """CREATE TABLE repeats (
        repeat_id VARCHAR NOT NULL, partition_key VARCHAR NOT NULL, edition VARCHAR NOT NULL,
        address_key VARCHAR(64) NOT NULL, way VARCHAR NOT NULL, asked_at {time} NOT NULL, handed_over_at {time},
        PRIMARY KEY (repeat_id))""",
    "CREATE INDEX repeats_by_person ON repeats (address_key)",
)
_ERASED_PROFILES = ("ALTER TABLE erasures ADD COLUMN profiles VARCHAR",)
_EXPIRED_EVENTS = ("ALTER TABLE events ADD COLUMN expired_since {time}",)

# The way of a batch, and of each invitation by event how far it came.
_INVITATIONS_BY_EVENT = (
    "ALTER TABLE batches ADD COLUMN way VARCHAR NOT NULL DEFAULT 'campaign'",
    "ALTER TABLE invitations ADD COLUMN event_id VARCHAR",
    "ALTER TABLE invitations ADD COLUMN handed_at {time}",
    "ALTER TABLE invitations ADD COLUMN seen_at {time}",
    "CREATE UNIQUE INDEX one_event_id ON invitations (event_id)",
)

# What the mail service said of a member when it was last asked, so that the batch need not ask again at once.
_ANSWERS_ABOUT_MEMBERS = (
    "ALTER TABLE members ADD COLUMN answered_at {time}",
    "ALTER TABLE members ADD COLUMN reason VARCHAR",
    "ALTER TABLE members ADD COLUMN batch_key VARCHAR",
)

SUBJECTS: tuple[tuple[str, ...], ...] = (
    _SLOWED_RATES,
    _REPEATS,
    _ERASED_PROFILES,
    _EXPIRED_EVENTS,
    _INVITATIONS_BY_EVENT,
    _ANSWERS_ABOUT_MEMBERS,
)
