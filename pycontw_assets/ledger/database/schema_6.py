"""The step from schema 5 to 6: one tuple of statements per subject.

``{time}`` and ``{serial}`` are what the database at hand calls these types.
"""

from __future__ import annotations

SUBJECTS: tuple[tuple[str, ...], ...] = ()
