"""The step from schema 5 to 6: one tuple of statements per subject.

``{time}`` and ``{serial}`` are what the database at hand calls these types.
"""

from __future__ import annotations

# The space in which somebody was let in. Until now there was one at a time.
_SPACES = (
    "ALTER TABLE grants ADD COLUMN space_digest VARCHAR(64)",
    "UPDATE grants SET space_digest = (SELECT space_digest FROM guest_list_state WHERE id = 1)",
)

SUBJECTS: tuple[tuple[str, ...], ...] = (_SPACES,)
