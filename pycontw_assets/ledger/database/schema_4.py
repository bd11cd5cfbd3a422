"""The step from schema 3 to 4: one tuple of statements per subject.

``{time}`` and ``{serial}`` are what the database at hand calls these types.
"""

from __future__ import annotations

_REPEATS = (
    """CREATE TABLE repeats (
        repeat_id VARCHAR NOT NULL, partition_key VARCHAR NOT NULL, edition VARCHAR NOT NULL,
        address_key VARCHAR(64) NOT NULL, way VARCHAR NOT NULL, asked_at {time} NOT NULL, handed_over_at {time},
        PRIMARY KEY (repeat_id))""",
    "CREATE INDEX repeats_by_person ON repeats (address_key)",
)
_ERASED_PROFILES = ("ALTER TABLE erasures ADD COLUMN profiles VARCHAR",)
_EXPIRED_EVENTS = ("ALTER TABLE events ADD COLUMN expired_since {time}",)
_SLOWED_RATES = (
    """CREATE TABLE slowed_rates (
        name VARCHAR NOT NULL, per_second {time} NOT NULL, slowed_at {time} NOT NULL, reason VARCHAR NOT NULL,
        PRIMARY KEY (name))""",
)

SUBJECTS: tuple[tuple[str, ...], ...] = (_SLOWED_RATES, _REPEATS, _ERASED_PROFILES, _EXPIRED_EVENTS)
