"""The step from schema 3 to 4: one tuple of statements per subject.

``{time}`` and ``{serial}`` are what the database at hand calls these types.
"""

from __future__ import annotations

_SLOWED_RATES = (
    """CREATE TABLE slowed_rates (
        name VARCHAR NOT NULL, per_second {time} NOT NULL, slowed_at {time} NOT NULL, reason VARCHAR NOT NULL,
        PRIMARY KEY (name))""",
)

SUBJECTS: tuple[tuple[str, ...], ...] = (_SLOWED_RATES,)
