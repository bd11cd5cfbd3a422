"""The step from schema 4 to 5: one tuple of statements per subject.

``{time}`` and ``{serial}`` are what the database at hand calls these types.
"""

from __future__ import annotations

# How many attendees a poll that serves buyers in waves has still to read.
_WAVES = (
    """CREATE TABLE waves (
        partition_key VARCHAR NOT NULL, unread INTEGER NOT NULL, served_at {time} NOT NULL,
        PRIMARY KEY (partition_key))""",
)

# Since when an edition has holders whom nobody could invite, because all mail was switched off.
_UNMAILED_EDITIONS = ("ALTER TABLE editions ADD COLUMN unmailed_since {time}",)

SUBJECTS: tuple[tuple[str, ...], ...] = (_UNMAILED_EDITIONS, _WAVES)
