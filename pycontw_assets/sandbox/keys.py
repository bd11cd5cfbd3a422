"""The invented credentials and ids that the simulated services accept. None of them opens anything real."""

from __future__ import annotations

KKTIX_TOKEN = "sandbox-kktix-token"  # noqa: S105
GATHER_KEY = "sandbox-gather-key"
GATHER_SPACE_ID = "SandboxSpace0001\\Py Venue"
KLAVIYO_KEY = "sandbox-klaviyo-key"
KLAVIYO_REVISION = "2026-07-15"
DISCORD_TOKEN = "sandbox-discord-token"  # noqa: S105
DISCORD_GUILD_ID = "803100000000000001"
DISCORD_CHANNEL_ID = "803100000000000002"
DISCORD_BOT_ID = "803100000000000003"
DISCORD_ROLE_ID = "803100000000000010"
DISCORD_OTHER_ROLE_ID = "803100000000000011"
