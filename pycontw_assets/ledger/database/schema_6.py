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

# Letters to everybody: one campaign each, and how far it came. No text of a letter, and nobody's address.
_LETTERS = (
    """CREATE TABLE letters (
        edition VARCHAR NOT NULL, letter_key VARCHAR NOT NULL, families VARCHAR NOT NULL, state VARCHAR NOT NULL,
        campaign_name VARCHAR NOT NULL, created_at {time} NOT NULL, send_at {time}, campaign_intended_at {time},
        campaign_id VARCHAR, message_id VARCHAR, template_id VARCHAR, send_intended_at {time}, accepted_at {time},
        ended_at {time}, remote_status VARCHAR, people INTEGER, PRIMARY KEY (edition, letter_key))""",
)

# The space in which somebody was let in. Until now there was one at a time.
_SPACES = (
    "ALTER TABLE grants ADD COLUMN space_digest VARCHAR(64)",
    "UPDATE grants SET space_digest = (SELECT space_digest FROM guest_list_state WHERE id = 1)",
)

# Counts over very many rows, and the number of changes at which each was right.
_KEPT_COUNTS = (
    "CREATE TABLE counted_changes (id INTEGER NOT NULL, number BIGINT NOT NULL, PRIMARY KEY (id))",
    """CREATE TABLE kept_counts (
        question VARCHAR NOT NULL, changes BIGINT NOT NULL, answer VARCHAR NOT NULL, PRIMARY KEY (question))""",
)

SUBJECTS: tuple[tuple[str, ...], ...] = (_LETTERS, _SPACES, _DISCORD_INVITES, _KEPT_COUNTS)

# The tables that a tick counts in. A step that makes one of them again has to make its triggers again.
COUNTED_TABLES = (
    "batches",
    "discord_invites",
    "discord_state",
    "entitlements",
    "grants",
    "invitations",
    "members",
    "stale_events",
    "unconfirmed_members",
)
_COUNT = "UPDATE counted_changes SET number = number + 1"
# For a file of SQLite only, with the step and with a new ledger.
NUMBER_CHANGES = (
    "INSERT INTO counted_changes (id, number) VALUES (1, 0)",
    *(
        f"CREATE TRIGGER {deed}_{table} AFTER {deed} ON {table} BEGIN {_COUNT}; END"
        for table in COUNTED_TABLES
        for deed in ("insert", "update", "delete")
    ),
)
