"""A guild for dry runs: its invites and members as they are now; what is made or taken away stays here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from pycontw_assets.api.client import NotFound
from pycontw_assets.authorize.discord.discord_client import MOST_INVITES, GuildFull, LiveInvite, Member
from pycontw_assets.authorize.discord.invite_step import Discord
from pycontw_assets.ledger.ledger import Clock


class DryRunGuild:
    """Discord is asked for invites and members when the step asks first, and for nothing else."""

    def __init__(self, guild: Discord, clock: Clock) -> None:
        self._guild = guild
        self._clock = clock
        self._invites: dict[str, LiveInvite] | None = None
        self._members: dict[str, Member] | None = None
        self._made = 0

    @property
    def guild_id(self) -> str:
        return self._guild.guild_id

    @property
    def channel_id(self) -> str:
        return self._guild.channel_id

    def bot_id(self) -> str:
        return self._guild.bot_id()

    def invites(self) -> list[LiveInvite]:
        return list(self._current().values())

    def create_invite(self, role_id: str) -> str:
        """Raise ``GuildFull`` where Discord would."""
        current = self._current()
        if len(current) >= MOST_INVITES:
            raise GuildFull
        self._made += 1
        invite = _planned(self._made, role_id, channel_id=self.channel_id, at=self._clock())
        current[invite.code] = invite
        return invite.code

    def delete_invite(self, code: str) -> None:
        if self._current().pop(code, None) is None:
            raise NotFound("Discord", "delete invite", "there is no such invite")

    def members(self) -> Iterator[Member]:
        if self._members is None:
            self._members = {member.user_id: member for member in self._guild.members()}
        yield from list(self._members.values())

    def remove_role(self, user_id: str, role_id: str) -> None:
        members = self._members or {}
        if user_id not in members:
            raise NotFound("Discord", "remove role", "there is no such member")
        members[user_id] = replace(members[user_id], role_ids=members[user_id].role_ids - {role_id})

    def _current(self) -> dict[str, LiveInvite]:
        if self._invites is None:
            self._invites = {invite.code: invite for invite in self._guild.invites()}
        return self._invites


def _planned(number: int, role_id: str, *, channel_id: str, at: datetime) -> LiveInvite:
    return LiveInvite(
        code=f"planned-{number}",
        made_by=None,
        channel_id=channel_id,
        role_ids=(role_id,),
        uses=0,
        max_uses=1,
        created_at=at,
    )
