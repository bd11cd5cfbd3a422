"""The step from schema 5 to 6: one tuple of statements per subject.

``{time}`` and ``{serial}`` are what the database at hand calls these types.
"""

from __future__ import annotations

# Invites to a Discord guild, the members with its roles, and the guild.
_DISCORD_INVITES = (
    """CREATE TABLE discord_invites (
        edition VARCHAR NOT NULL, address_key VARCHAR(64) NOT NULL, period INTEGER NOT NULL,
        partition_key VARCHAR NOT NULL, role_id VARCHAR NOT NULL, state VARCHAR NOT NULL, intended_at {time} NOT NULL,
        code_digest VARCHAR(64), tried_at {time}, gone_at {time}, trace VARCHAR, member_digest VARCHAR(64),
        ended_at {time}, PRIMARY KEY (edition, address_key, period))""",
    "CREATE UNIQUE INDEX one_open_invite ON discord_invites (edition, address_key) WHERE state <> 'ended'",
    """CREATE TABLE discord_bearers (
        member_digest VARCHAR(64) NOT NULL, role_id VARCHAR NOT NULL, origin VARCHAR NOT NULL,
        PRIMARY KEY (member_digest, role_id))""",
    """CREATE TABLE discord_state (
        id INTEGER NOT NULL, is_on BOOLEAN DEFAULT FALSE NOT NULL, guild_digest VARCHAR(64), looked_at {time},
        full_until {time}, PRIMARY KEY (id))""",
)

SUBJECTS: tuple[tuple[str, ...], ...] = (_DISCORD_INVITES,)
