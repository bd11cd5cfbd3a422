"""Whether the bot may do what the step needs. Reads only; Discord says which roles and rights there are.

Facts: https://docs.discord.com/developers/topics/permissions. A bot gives and takes only roles below its own highest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from pycontw_assets.api.client import Misconfigured
from pycontw_assets.authorize.discord.discord_client import DiscordClient, Role

_ADMINISTRATOR = 1 << 3
_RIGHTS = {
    "Create Invite (CREATE_INSTANT_INVITE)": 1 << 0,
    "Manage Server (MANAGE_GUILD)": 1 << 5,
    "Manage Roles (MANAGE_ROLES)": 1 << 28,
}


def guild_problems(client: DiscordClient, role_ids: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong, each with its fix. ``role_ids``: the roles that tickets give."""
    roles = client.roles()
    own = {role_id: roles[role_id] for role_id in (*client.bot_roles(), client.guild_id) if role_id in roles}
    yield from rights_problems(own, roles, role_ids)
    if not client.channel_is_in_guild():
        yield "the channel belongs to another guild", "correct DISCORD_CHANNEL_ID or DISCORD_GUILD_ID"
    try:
        next(iter(client.members()), None)
    except Misconfigured as error:
        if error.status is None:
            raise
        yield (
            "the bot may not list the members, so nobody who used an invite is known",
            "switch the Server Members Intent on in Discord's developer portal",
        )


def rights_problems(
    own: Mapping[str, Role], roles: Mapping[str, Role], role_ids: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yield the rights that the bot's own roles lack, and the roles that it cannot give. Pure.

    A channel may take rights away again; that shows at the first invite.
    """
    rights = 0
    for role in own.values():
        rights |= role.permissions
    for name, bit in _RIGHTS.items():
        if not rights & (bit | _ADMINISTRATOR):
            yield f"the bot lacks the permission {name}", "give it to the bot's role in the settings of the guild"
    highest = max((role.position for role in own.values()), default=0)
    for role_id in sorted(role_ids):
        given = roles.get(role_id)
        if given is None:
            yield f"DISCORD_ROLES names the role {role_id}, which the guild has not", "correct the id in the file"
        elif given.is_managed or given.position >= highest:
            yield (
                f"the bot cannot give the role {role_id}, which is not below its own",
                "move the bot's role above it in the settings of the guild",
            )
