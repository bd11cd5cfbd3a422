"""The step from schema 5 to 6: one tuple of statements per subject.

``{time}`` and ``{serial}`` are what the database at hand calls these types.
"""

from __future__ import annotations

# Letters to everybody: one campaign each, and how far it came. No text of a letter, and nobody's address.
_LETTERS = (
    """CREATE TABLE letters (
        edition VARCHAR NOT NULL, letter_key VARCHAR NOT NULL, families VARCHAR NOT NULL, state VARCHAR NOT NULL,
        campaign_name VARCHAR NOT NULL, created_at {time} NOT NULL, send_at {time}, campaign_intended_at {time},
        campaign_id VARCHAR, message_id VARCHAR, template_id VARCHAR, send_intended_at {time}, accepted_at {time},
        ended_at {time}, remote_status VARCHAR, people INTEGER, PRIMARY KEY (edition, letter_key))""",
)

SUBJECTS: tuple[tuple[str, ...], ...] = (_LETTERS,)
