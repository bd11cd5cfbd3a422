"""The step from schema 4 to 5: one tuple of statements per subject.

``{time}`` and ``{serial}`` are what the database at hand calls these types.
"""

from __future__ import annotations

# What KKTIX's webhook said: hints that nobody looked into yet, events to look at, what the names of events are, and
# which kinds of deliveries came when.
_HINTS = (
    """CREATE TABLE hints (
        subject VARCHAR(64) NOT NULL, name_digest VARCHAR(64) NOT NULL, since {time} NOT NULL,
        PRIMARY KEY (subject))""",
    """CREATE TABLE hinted_events (
        partition_key VARCHAR NOT NULL, since {time} NOT NULL, looks INTEGER NOT NULL, next_look_at {time} NOT NULL,
        content_digest VARCHAR, PRIMARY KEY (partition_key))""",
    "CREATE TABLE event_slugs (slug_digest VARCHAR(64) NOT NULL, event_id BIGINT NOT NULL, PRIMARY KEY (slug_digest))",
    """CREATE TABLE hook_deliveries (
        kind VARCHAR NOT NULL, first_at {time} NOT NULL, last_at {time} NOT NULL, times INTEGER NOT NULL,
        PRIMARY KEY (kind))""",
)

# What the mail service counts per campaign, and per edition when it was asked and what the funnel last showed.
_CAMPAIGN_FIGURES = (
    """CREATE TABLE campaign_figures (
        campaign_id VARCHAR NOT NULL, recipients INTEGER NOT NULL, delivered INTEGER NOT NULL, opened INTEGER NOT NULL,
        clicked INTEGER NOT NULL, bounced INTEGER NOT NULL, unsubscribed INTEGER NOT NULL,
        read_at {time} NOT NULL, changed_at {time} NOT NULL, PRIMARY KEY (campaign_id))""",
    """CREATE TABLE funnels (
        edition VARCHAR NOT NULL, report_asked_at {time}, shown_digest VARCHAR(64), shown_asked_at {time},
        PRIMARY KEY (edition))""",
)

# How many attendees a poll that serves buyers in waves has still to read.
_WAVES = (
    """CREATE TABLE waves (
        partition_key VARCHAR NOT NULL, unread INTEGER NOT NULL, served_at {time} NOT NULL,
        PRIMARY KEY (partition_key))""",
)

# Since when an edition has holders whom nobody could invite, because all mail was switched off.
_UNMAILED_EDITIONS = ("ALTER TABLE editions ADD COLUMN unmailed_since {time}",)

SUBJECTS: tuple[tuple[str, ...], ...] = (_HINTS, _UNMAILED_EDITIONS, _CAMPAIGN_FIGURES, _WAVES)
