"""Talk to Discord as a bot: list, make and delete invites of one guild, list its members, take a role away.

Decisions about people do not belong here. A code opens the guild for whoever has it, so no error text holds one. Facts
are from https://docs.discord.com/developers, pages ``reference`` (token, user agent), ``resources/channel`` (create an
invite; ``role_ids`` since 2026-01-13), ``resources/invite``, ``resources/guild``, ``topics/rate-limits``,
``topics/permissions`` and ``topics/opcodes-and-status-codes``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from pycontw_assets.api.client import ApiClient, Malformed, Misconfigured, NotFound, Refused, Reply

MOST_INVITES = 1000  # of a guild, whoever made them
RATE_LIMITS = {"bot": [(40, 1)]}  # below the 50 a second of all bots; the limits of single routes come as headers
_USER_AGENT = "DiscordBot (https://github.com/pycontw, 1)"  # the form that Discord asks for
_TOO_MANY_INVITES = "30016"
_PAGE = 1000  # members
_SNOWFLAKE = re.compile(r"[0-9]{1,20}")
CODE = "[A-Za-z0-9-]{2,64}"  # of an invite
INVITE_PAGE = "https://discord.gg/"
_CHANNEL_PAGE = "https://discord.com/channels"


class GuildFull(Exception):
    """The guild has as many invites as Discord allows."""


@dataclass(frozen=True, slots=True)
class LiveInvite:
    """An invite that can still be used. ``made_by`` is the id of the bot or person who made it."""

    code: str = field(repr=False)
    made_by: str | None
    channel_id: str | None
    role_ids: tuple[str, ...]
    uses: int
    max_uses: int
    created_at: datetime

    def is_unused_of(self, bot_id: str, channel_id: str) -> bool:
        """Whether this is an invite as ``create_invite`` makes it, and nobody used it."""
        counts = (self.uses, self.max_uses, len(self.role_ids))
        return (self.made_by, self.channel_id) == (bot_id, channel_id) and counts == (0, 1, 1)


@dataclass(frozen=True, slots=True)
class Member:
    user_id: str = field(repr=False)
    role_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Role:
    role_id: str
    position: int
    permissions: int
    is_managed: bool


class DiscordClient:
    """``base_url`` is what comes before ``/users/@me``; ``options`` are those of ``ApiClient``."""

    def __init__(self, base_url: str, token: str, guild_id: str, channel_id: str, **options: Any) -> None:
        self.guild_id = guild_id
        self.channel_id = channel_id
        headers = {"Authorization": f"Bot {token}", "User-Agent": _USER_AGENT}
        self.api = ApiClient("Discord", base_url, headers=headers, heeds_headers=True, **options)
        self._bot_id: str | None = None

    def __repr__(self) -> str:
        return f"DiscordClient({self.api!r})"

    def bot_id(self) -> str:
        """Return the id of the bot that the token belongs to, asked for once."""
        if self._bot_id is None:
            me = self._get("read bot", "/users/@me")
            self._bot_id = _snowflake(me.get("id") if isinstance(me, dict) else None, "read bot")
        return self._bot_id

    def invites(self) -> list[LiveInvite]:
        """Return every invite of the guild. ``Misconfigured``: without ``MANAGE_GUILD`` nobody sees who used one."""
        rows = self._get("list invites", f"/guilds/{self.guild_id}/invites")
        if not isinstance(rows, list):
            raise Malformed("Discord", "list invites", "the answer is no list of invites")
        return [_live_invite(row) for row in rows]

    def create_invite(self, role_id: str) -> str:
        """Make an invite for one use that does not expire, and return its code.

        It is never repeated. Raise ``GuildFull`` at the guild's limit (error 30016).
        """
        body = {"max_age": 0, "max_uses": 1, "unique": True, "role_ids": [role_id]}
        path, operation = f"/channels/{self.channel_id}/invites", "create invite"
        try:
            made = self._request("POST", operation, path, body=body, repeatable=False).data
        except NotFound as error:
            codes = ", ".join(error.codes)
            reason = f"answered 404 ({codes}): a role of DISCORD_ROLES or DISCORD_CHANNEL_ID is not in the guild"
            raise Misconfigured("Discord", operation, reason, status=error.status) from None
        except Refused as error:
            if _TOO_MANY_INVITES in error.codes:
                raise GuildFull from None
            raise
        code = made.get("code") if isinstance(made, dict) else None
        if not isinstance(code, str) or not re.fullmatch(CODE, code):
            raise Malformed("Discord", operation, "the answer names no invite")
        return code

    def delete_invite(self, code: str) -> None:
        """Delete an invite. ``NotFound``: it was used, or deleted before."""
        self._request("DELETE", "delete invite", f"/invites/{code}", repeatable=True, expect_json=False)

    def members(self) -> Iterator[Member]:
        """Yield every member. Raise ``Misconfigured`` where the bot lacks the intent ``GUILD_MEMBERS``."""
        after = "0"
        while True:
            path = f"/guilds/{self.guild_id}/members"
            rows = self._get("list members", path, query=f"limit={_PAGE}&after={after}")
            if not isinstance(rows, list):
                raise Malformed("Discord", "list members", "the answer is no list of members")
            page = [_member(row) for row in rows]
            yield from page
            if len(page) < _PAGE:
                return
            latest = max((member.user_id for member in page), key=int)
            if int(latest) <= int(after):
                raise Malformed("Discord", "list members", "a page repeats the one before it")
            after = latest

    def remove_role(self, user_id: str, role_id: str) -> None:
        """Take a role from a member. ``NotFound``: there is no such member (any more)."""
        path = f"/guilds/{self.guild_id}/members/{user_id}/roles/{role_id}"
        self._request("DELETE", "remove role", path, repeatable=True, expect_json=False)

    def roles(self) -> dict[str, Role]:
        """Return the roles of the guild by id."""
        rows = self._get("list roles", f"/guilds/{self.guild_id}/roles")
        if not isinstance(rows, list):
            raise Malformed("Discord", "list roles", "the answer is no list of roles")
        roles = [_role(row) for row in rows]
        return {role.role_id: role for role in roles}

    def bot_roles(self) -> frozenset[str]:
        """Return the ids of the bot's own roles in the guild."""
        return _member(self._get("read bot as member", f"/guilds/{self.guild_id}/members/{self.bot_id()}")).role_ids

    def channel_is_in_guild(self) -> bool:
        """Whether the channel of the invites belongs to the guild, and the bot sees it."""
        channel = self._get("read channel", f"/channels/{self.channel_id}")
        return isinstance(channel, dict) and channel.get("guild_id") == self.guild_id

    def link(self, code: str) -> str:
        return INVITE_PAGE + code

    @property
    def channel_link(self) -> str:
        """The link to the channel for those who are in the guild already."""
        return f"{_CHANNEL_PAGE}/{self.guild_id}/{self.channel_id}"

    def _get(self, operation: str, path: str, query: str = "") -> Any:
        try:
            return self._request("GET", operation, path, query=query, repeatable=True).data
        except NotFound as error:
            reason = f"answered {error.status}: DISCORD_GUILD_ID, DISCORD_CHANNEL_ID or DISCORD_API_URL is wrong"
            raise Misconfigured("Discord", operation, reason, status=error.status) from None

    def _request(self, method: str, operation: str, path: str, **details: Any) -> Reply:
        return self.api.request(method, operation, path, group="bot", **details)


def _live_invite(row: Any) -> LiveInvite:
    """Read an invite with its metadata. Unknown members are ignored; a missing count is no zero."""
    row = row if isinstance(row, dict) else {}
    code, uses, most, created = (row.get(name) for name in ("code", "uses", "max_uses", "created_at"))
    if type(uses) is not int or type(most) is not int:
        reason = "shows no number of uses: the bot lacks the permission Manage Server (MANAGE_GUILD)"
        raise Misconfigured("Discord", "list invites", reason)
    if not isinstance(code, str) or not re.fullmatch(CODE, code):
        raise Malformed("Discord", "list invites", "an invite has no code")
    roles = row.get("roles")
    return LiveInvite(
        code=code,
        made_by=_id_of(row.get("inviter")),
        channel_id=_id_of(row.get("channel")),
        role_ids=tuple(role for item in (roles if isinstance(roles, list) else []) if (role := _id_of(item))),
        uses=uses,
        max_uses=most,
        created_at=_moment(created),
    )


def _member(row: Any) -> Member:
    row = row if isinstance(row, dict) else {}
    roles, user_id = row.get("roles"), _id_of(row.get("user"))
    if user_id is None or not isinstance(roles, list):
        raise Malformed("Discord", "list members", "a member has no id or no list of roles")
    return Member(user_id, frozenset(str(role) for role in roles))


def _role(row: Any) -> Role:
    row = row if isinstance(row, dict) else {}
    role_id, position, permissions = _id_of(row), row.get("position"), str(row.get("permissions"))
    if role_id is None or type(position) is not int or not re.fullmatch(r"[0-9]{1,40}", permissions):
        raise Malformed("Discord", "list roles", "a role lacks its id, position or permissions")
    return Role(role_id, position, int(permissions), row.get("managed") is True)


def _id_of(value: Any) -> str | None:
    number = value.get("id") if isinstance(value, dict) else None
    return number if isinstance(number, str) and _SNOWFLAKE.fullmatch(number) else None


def _snowflake(value: Any, operation: str) -> str:
    if not isinstance(value, str) or not _SNOWFLAKE.fullmatch(value):
        raise Malformed("Discord", operation, "the answer has no id")
    return value


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        raise Malformed("Discord", "list invites", "an invite has no time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
