"""The step from schema 4 to 5: one tuple of statements per subject.

``{time}`` and ``{serial}`` are what the database at hand calls these types.
"""

from __future__ import annotations

# Since when an edition has holders whom nobody could invite, because all mail was switched off.
_UNMAILED_EDITIONS = ("ALTER TABLE editions ADD COLUMN unmailed_since {time}",)

SUBJECTS: tuple[tuple[str, ...], ...] = (_UNMAILED_EDITIONS,)
