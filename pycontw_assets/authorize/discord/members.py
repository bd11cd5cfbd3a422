"""List the members of the guild as digests, and by role."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from pycontw_assets.api.client import Misconfigured
from pycontw_assets.authorize.discord.discord_client import Member


class MemberList(Protocol):
    def members(self) -> Iterable[Member]: ...


def list_members(client: MemberList, digest: Callable[[str], str]) -> dict[str, Member] | None:
    """Return the members by digest of their ids; ``None``: the bot lacks the intent to list them.

    Raise ``Misconfigured`` where Discord was not asked.
    """
    try:
        return {digest(member.user_id): member for member in client.members()}
    except Misconfigured as error:
        if error.status is None:
            raise
        return None


def members_by_role(members: Mapping[str, Member], roles: Collection[str]) -> dict[str, set[str]]:
    """Return role -> digests of the members who have it, for each of ``roles``."""
    return {role: {digest for digest, member in members.items() if role in member.role_ids} for role in roles}
