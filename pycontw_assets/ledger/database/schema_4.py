"""The step from schema 3 to 4: one tuple of statements per subject.

``{time}`` and ``{serial}`` are what the database at hand calls these types.
"""

from __future__ import annotations

# The way of a batch, and of each invitation by event how far it came.
_INVITATIONS_BY_EVENT = (
    "ALTER TABLE batches ADD COLUMN way VARCHAR NOT NULL DEFAULT 'campaign'",
    "ALTER TABLE invitations ADD COLUMN event_id VARCHAR",
    "ALTER TABLE invitations ADD COLUMN handed_at {time}",
    "ALTER TABLE invitations ADD COLUMN seen_at {time}",
    "CREATE UNIQUE INDEX one_event_id ON invitations (event_id)",
)

SUBJECTS: tuple[tuple[str, ...], ...] = (_INVITATIONS_BY_EVENT,)
