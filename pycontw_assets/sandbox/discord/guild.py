"""The guild: invites, members and roles, what people do in it, and the endpoints that a bot uses.

Facts: https://docs.discord.com/developers, pages ``resources/channel``, ``resources/invite``, ``resources/guild``,
``topics/rate-limits``, ``topics/opcodes-and-status-codes``. An invite disappears at its last use. Whoever accepts one
gets its roles, also as a member of the guild. Nothing that the API shows says which invite a member used.
"""

from __future__ import annotations

import json
import string
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.context import SimulationContext, locked
from pycontw_assets.sandbox.wire import Call, Reply, Router, json_reply, text_reply

PERMISSIONS = {"CREATE_INSTANT_INVITE": 1 << 0, "MANAGE_GUILD": 1 << 5, "MANAGE_ROLES": 1 << 28}
_PERSON_ID = "803100000000000099"  # somebody of the staff
_CODE_LENGTH = 10
_LONGEST_AGE = 604_800
_MOST_USES = 100
_LARGEST_PAGE = 1000


@dataclass(kw_only=True)
class GuildInvite:
    code: str = field(repr=False)
    made_by: str
    roles: tuple[str, ...]
    max_uses: int
    max_age: int
    created_at: datetime
    uses: int = 0


@dataclass(kw_only=True)
class GuildMember:
    user_id: str
    roles: set[str] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True)
class InviteUse:
    """Somebody accepted an invite."""

    at: datetime
    code: str = field(repr=False)
    user_id: str
    roles: tuple[str, ...]


@dataclass
class GuildSwitches:
    """The bot's rights, and the limits of the service."""

    permissions: set[str] = field(default_factory=lambda: set(PERMISSIONS))
    lists_members: bool = True  # the intent GUILD_MEMBERS
    highest_role: int = 50  # the position of the bot's own role
    most_invites: int = 1000
    window: tuple[int, float] | None = None  # calls of one route in so many seconds; None: no limit
    global_limit_hits: int = 0  # so many calls get a global 429 first


class Guild:
    """State and API of one simulated guild, and the bot that works in it."""

    def __init__(self, context: SimulationContext) -> None:
        self.context = context
        self.reset()

    def reset(self) -> None:
        self.switches = GuildSwitches()
        self.roles: dict[str, int] = {keys.DISCORD_ROLE_ID: 5, keys.DISCORD_OTHER_ROLE_ID: 6}  # id -> position
        self.invites: dict[str, GuildInvite] = {}
        self.members: dict[str, GuildMember] = {}
        self.uses: list[InviteUse] = []
        self.made: dict[str, GuildInvite] = {}  # every invite that there ever was
        self.by_hand: set[tuple[str, str]] = set()  # (user, role) that a person gave
        self.taken_by_hand: set[tuple[str, str]] = set()
        self.deleted_by_hand: set[str] = set()  # codes
        self.uses_before_leaving: dict[str, int] = {}  # user -> how many of ``uses`` there were when they left
        self._calls: dict[str, deque[datetime]] = defaultdict(deque)
        self._numbers = 0

    # -- what people do -------------------------------------------------------------------------------

    @locked
    def new_user(self) -> str:
        """Return the id of a Discord user who is in no guild yet."""
        self._numbers += 1
        return str(803_200_000_000_000_000 + self._numbers)

    @locked
    def accept(self, code: str, user_id: str | None = None) -> str | None:
        """Use an invite, and return the user; ``None``: there is no such invite any more."""
        invite = self.invites.get(code)
        if invite is None:
            return None
        user_id = user_id or self.new_user()
        member = self.members.setdefault(user_id, GuildMember(user_id=user_id))
        member.roles |= set(invite.roles)
        invite.uses += 1
        if invite.max_uses and invite.uses >= invite.max_uses:
            del self.invites[code]
        self.uses.append(InviteUse(at=self.context.now(), code=code, user_id=user_id, roles=invite.roles))
        return user_id

    @locked
    def leave(self, user_id: str) -> None:
        """Leave the guild, and lose every role."""
        self.members.pop(user_id, None)
        self.by_hand = {(user, role) for user, role in self.by_hand if user != user_id}
        self.uses_before_leaving[user_id] = len(self.uses)

    @locked
    def give_role(self, user_id: str, role_id: str = keys.DISCORD_ROLE_ID) -> None:
        """Give a member a role by hand."""
        self.members.setdefault(user_id, GuildMember(user_id=user_id)).roles.add(role_id)
        self.by_hand.add((user_id, role_id))
        self.taken_by_hand.discard((user_id, role_id))

    @locked
    def take_role(self, user_id: str, role_id: str = keys.DISCORD_ROLE_ID) -> None:
        """Take a role from a member by hand."""
        if user_id in self.members:
            self.members[user_id].roles.discard(role_id)
        self.by_hand.discard((user_id, role_id))
        self.taken_by_hand.add((user_id, role_id))

    @locked
    def invite_by_hand(self) -> str:
        """Make an invite as one of the staff."""
        return self._new_invite(_PERSON_ID, (), max_uses=0, max_age=0).code

    @locked
    def delete_by_hand(self, code: str) -> None:
        """Delete an invite as one of the staff."""
        if self.invites.pop(code, None) is not None:
            self.deleted_by_hand.add(code)

    def _new_invite(self, made_by: str, roles: tuple[str, ...], *, max_uses: int, max_age: int) -> GuildInvite:
        letters = string.ascii_letters + string.digits
        code = "".join(self.context.random.choice(letters) for _ in range(_CODE_LENGTH))
        now = self.context.now()
        invite = GuildInvite(
            code=code, made_by=made_by, roles=roles, max_uses=max_uses, max_age=max_age, created_at=now
        )
        self.invites[code] = self.made[code] = invite
        return invite

    # -- the API --------------------------------------------------------------------------------------

    def answer(self, call: Call) -> Reply:
        route = _ROUTES.find(call)
        if isinstance(route, int):
            return _error(route, 0, f"{route}: {HTTPStatus(route).phrase}")
        template, handler, arguments = route
        if not call.headers.get("user-agent", "").startswith("DiscordBot ("):
            return text_reply("<!doctype html><html><body>error code: 1010</body></html>", 403, "text/html")
        if call.headers.get("authorization") != f"Bot {keys.DISCORD_TOKEN}":
            return _error(401, 0, "401: Unauthorized")
        headers, refusal = self._limit(f"{call.method} {template}")
        if refusal is None:
            self._expire()
            reply: Reply = getattr(self, handler)(call, *arguments)
        else:
            reply = refusal
        reply.headers |= headers
        return reply

    def _limit(self, route: str) -> tuple[dict[str, str], Reply | None]:
        """Count a call, and return the headers about the limit, and the 429 where it is exceeded."""
        if self.switches.global_limit_hits:
            self.switches.global_limit_hits -= 1
            headers = {"retry-after": "1", "x-ratelimit-global": "true", "x-ratelimit-scope": "global"}
            return headers, _limited(0.6, is_global=True)
        if self.switches.window is None:
            return {}, None
        most, seconds = self.switches.window
        now, taken = self.context.now(), self._calls[route]
        while taken and taken[0] <= now - timedelta(seconds=seconds):
            taken.popleft()
        is_over = len(taken) >= most
        if not is_over:
            taken.append(now)
        rest = (taken[0] + timedelta(seconds=seconds) - now).total_seconds()
        headers = {
            "x-ratelimit-limit": str(most),
            "x-ratelimit-remaining": str(most - len(taken)),
            "x-ratelimit-reset": f"{now.timestamp() + rest:.3f}",
            "x-ratelimit-reset-after": f"{rest:.3f}",
            "x-ratelimit-bucket": f"{abs(hash(route)) % 16**8:08x}",
        }
        if not is_over:
            return headers, None
        return {**headers, "retry-after": str(int(rest) + 1), "x-ratelimit-scope": "user"}, _limited(rest)

    def _expire(self) -> None:
        now = self.context.now()
        for code, invite in list(self.invites.items()):
            if invite.max_age and now >= invite.created_at + timedelta(seconds=invite.max_age):
                del self.invites[code]

    def _may(self, permission: str) -> Reply | None:
        if permission in self.switches.permissions:
            return None
        return _error(403, 50013, "You lack permissions to perform that action")

    def _me(self, call: Call) -> Reply:
        return json_reply({"id": keys.DISCORD_BOT_ID, "username": "pycontw-bot", "bot": True})

    def _read_channel(self, call: Call, channel_id: str) -> Reply:
        if channel_id != keys.DISCORD_CHANNEL_ID:
            return _error(404, 10003, "Unknown Channel")
        return json_reply({"id": channel_id, "guild_id": keys.DISCORD_GUILD_ID, "type": 0, "name": "welcome"})

    def _list_invites(self, call: Call, guild_id: str) -> Reply:
        if refusal := _unknown_guild(guild_id) or self._may("MANAGE_GUILD"):
            return refusal
        return json_reply([_shown(invite) for invite in self.invites.values()])

    def _create_invite(self, call: Call, channel_id: str) -> Reply:
        if channel_id != keys.DISCORD_CHANNEL_ID:
            return _error(404, 10003, "Unknown Channel")
        if refusal := self._may("CREATE_INSTANT_INVITE"):
            return refusal
        wanted = _json_object(call)
        if wanted is None:
            return _error(400, 50109, "The request body contains invalid JSON.")
        age, uses, roles = wanted.get("max_age", 86_400), wanted.get("max_uses", 0), wanted.get("role_ids", [])
        if not (_is_within(age, _LONGEST_AGE) and _is_within(uses, _MOST_USES) and isinstance(roles, list)):
            return _error(400, 50035, "Invalid Form Body")
        if roles and (refusal := self._may("MANAGE_ROLES") or self._refuse_roles(roles)):
            return refusal
        if len(self.invites) >= self.switches.most_invites:
            return _error(400, 30016, "Maximum number of invites reached (1000)")
        similar = next((i for i in self.invites.values() if (i.max_uses, list(i.roles)) == (uses, roles)), None)
        if similar is not None and not wanted.get("unique", False):
            return json_reply(_shown(similar))
        return json_reply(_shown(self._new_invite(keys.DISCORD_BOT_ID, tuple(roles), max_uses=uses, max_age=age)))

    def _refuse_roles(self, roles: list[Any]) -> Reply | None:
        if any(role not in self.roles for role in roles):
            return _error(404, 10011, "Unknown Role")
        if any(self.roles[role] >= self.switches.highest_role for role in roles):
            return _error(403, 50013, "You lack permissions to perform that action")
        return None

    def _delete_invite(self, call: Call, code: str) -> Reply:
        if refusal := self._may("MANAGE_GUILD"):
            return refusal
        invite = self.invites.pop(code, None)
        return _error(404, 10006, "Unknown Invite") if invite is None else json_reply(_shown(invite))

    def _list_members(self, call: Call, guild_id: str) -> Reply:
        if refusal := _unknown_guild(guild_id):
            return refusal
        if not self.switches.lists_members:
            return _error(403, 50001, "Missing Access")
        query = parse_qs(call.query)
        most, after = int(query.get("limit", ["1"])[0]), int(query.get("after", ["0"])[0])
        if not 1 <= most <= _LARGEST_PAGE:
            return _error(400, 50035, "Invalid Form Body")
        members = sorted((m for m in self.members.values() if int(m.user_id) > after), key=lambda m: int(m.user_id))
        return json_reply([_shown_member(m.user_id, m.roles) for m in members[:most]])

    def _read_member(self, call: Call, guild_id: str, user_id: str) -> Reply:
        if refusal := _unknown_guild(guild_id):
            return refusal
        if user_id == keys.DISCORD_BOT_ID:
            return json_reply(_shown_member(user_id, {_BOT_ROLE}))
        member = self.members.get(user_id)
        return (
            _error(404, 10007, "Unknown Member") if member is None else json_reply(_shown_member(user_id, member.roles))
        )

    def _remove_role(self, call: Call, guild_id: str, user_id: str, role_id: str) -> Reply:
        if refusal := _unknown_guild(guild_id) or self._may("MANAGE_ROLES") or self._refuse_roles([role_id]):
            return refusal
        if user_id not in self.members:
            return _error(404, 10007, "Unknown Member")
        self.members[user_id].roles.discard(role_id)
        return Reply(204)

    def _list_roles(self, call: Call, guild_id: str) -> Reply:
        if refusal := _unknown_guild(guild_id):
            return refusal
        rights = sum(PERMISSIONS[name] for name in self.switches.permissions)
        positions = {keys.DISCORD_GUILD_ID: 0, **self.roles, _BOT_ROLE: self.switches.highest_role}
        return json_reply(
            [
                {
                    "id": role, "name": "a role", "position": position,
                    "permissions": str(rights if role == _BOT_ROLE else 0), "managed": role == _BOT_ROLE,
                }
                for role, position in positions.items()
            ]
        )  # fmt: skip


_BOT_ROLE = "803100000000000020"
_ROUTES = Router(
    {
        ("GET", "/users/@me"): "_me",
        ("GET", "/channels/{channel}"): "_read_channel",
        ("POST", "/channels/{channel}/invites"): "_create_invite",
        ("DELETE", "/invites/{code}"): "_delete_invite",
        ("GET", "/guilds/{guild}/invites"): "_list_invites",
        ("GET", "/guilds/{guild}/roles"): "_list_roles",
        ("GET", "/guilds/{guild}/members"): "_list_members",
        ("GET", "/guilds/{guild}/members/{user}"): "_read_member",
        ("DELETE", "/guilds/{guild}/members/{user}/roles/{role}"): "_remove_role",
    }
)


def _error(status: int, code: int, message: str) -> Reply:
    return json_reply({"message": message, "code": code}, status)


def _limited(seconds: float, *, is_global: bool = False) -> Reply:
    body = {"message": "You are being rate limited.", "retry_after": round(seconds, 3), "global": is_global}
    return json_reply(body, 429)


def _unknown_guild(guild_id: str) -> Reply | None:
    return None if guild_id == keys.DISCORD_GUILD_ID else _error(404, 10004, "Unknown Guild")


def _shown(invite: GuildInvite) -> Mapping[str, Any]:
    return {
        "type": 0,
        "code": invite.code,
        "guild": {"id": keys.DISCORD_GUILD_ID, "name": "a guild"},
        "channel": {"id": keys.DISCORD_CHANNEL_ID, "name": "welcome", "type": 0},
        "inviter": {"id": invite.made_by, "username": "somebody"},
        "expires_at": None,
        "roles": [{"id": role, "name": "a role"} for role in invite.roles],
        "uses": invite.uses,
        "max_uses": invite.max_uses,
        "max_age": invite.max_age,
        "temporary": False,
        "created_at": invite.created_at.isoformat(),
    }


def _shown_member(user_id: str, roles: set[str]) -> Mapping[str, Any]:
    return {
        "user": {"id": user_id, "username": "somebody"},
        "roles": sorted(roles),
        "joined_at": "2031-01-01T00:00:00Z",
    }


def _json_object(call: Call) -> dict[str, Any] | None:
    try:
        body = json.loads(call.body)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _is_within(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most
