"""The guild in a random sale: what people and staff do in it, its bad weather, and what alarms ask of a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.discord.guild import PERMISSIONS, GuildSwitches
from pycontw_assets.sandbox.discord.judge import codes_in
from pycontw_assets.sandbox.oracle import normalise
from pycontw_assets.sandbox.world import World

DEEDS = (
    *("accept",) * 5,
    *("accept as somebody else",) * 2,
    "leave",
    "delete by hand",
    "give role by hand",
    "take role by hand",
    "invite by hand",
)
PLACES = ("", "/guilds/.*/invites", "/channels/", "/members", "/roles/", "/invites/")  # of calls that faults strike
NUISANCES = ("full guild", "unlisted members", "missing right", "global limit")
_ROLE_BY_FAMILY = {
    "individual": keys.DISCORD_ROLE_ID,
    "reserved": keys.DISCORD_ROLE_ID,
    "corporate": keys.DISCORD_OTHER_ROLE_ID,
}
_T = TypeVar("_T")


def write_roles(file: Path) -> Path:
    file.write_text("".join(f'- {{family: {name}, role: "{role}"}}\n' for name, role in _ROLE_BY_FAMILY.items()))
    return file


class Guild:
    """The people of the guild. ``tally`` counts what happened."""

    def __init__(self, world: World, tally: Counter[str]) -> None:
        self._world = world
        self._tally = tally
        self._owed: list[tuple[str, str]] = []  # user and role
        self._users: dict[str, str] = {}  # normalised address -> the user with whom its owner comes

    # -- what people and staff do -----------------------------------------------------------------

    def happens(self, what: str, pick: int) -> None:
        """Do what a deed says, where there is somebody to do it."""
        deeds: dict[str, Callable[[int], bool]] = {
            "accept": lambda pick: self._accept(pick, is_owner=True),
            "accept as somebody else": lambda pick: self._accept(pick, is_owner=False),
            "leave": self._leave,
            "delete by hand": self._delete_by_hand,
            "give role by hand": self._give_role,
            "take role by hand": self._take_role,
            "invite by hand": self._invite_by_hand,
        }
        if deeds[what](pick):
            self._tally[f"guild: {what}"] += 1

    def _accept(self, pick: int, *, is_owner: bool) -> bool:
        """Use an invite out of a mail: as its reader, or as a friend, who may be in the guild already."""
        guild = self._world.discord
        mailed = [(code, normalise(mail.address)) for mail in self._world.outbox for code in codes_in(mail)]
        unused = [(code, address) for code, address in mailed if code in guild.invites]
        if not unused:
            return False
        code, address = _pick(unused, pick)
        if not is_owner:
            others = [user for owner, user in self._users.items() if owner != address]
            user = _pick([*others, guild.new_user()], pick)
        else:
            user = self._users.setdefault(address, guild.new_user())
        return guild.accept(code, user) is not None

    def _leave(self, pick: int) -> bool:
        if members := sorted(self._world.discord.members):
            self._world.discord.leave(_pick(members, pick))
        return bool(members)

    def _delete_by_hand(self, pick: int) -> bool:
        """Delete an invite of the bot. Staff do not ask whose it is, and it may not even be mailed."""
        of_bot = [i.code for i in self._world.discord.invites.values() if i.made_by == keys.DISCORD_BOT_ID]
        if of_bot:
            self._world.discord.delete_by_hand(_pick(of_bot, pick))
        return bool(of_bot)

    def _give_role(self, pick: int) -> bool:
        members = sorted(self._world.discord.members)
        user = _pick(members, pick) if members and pick % 2 else self._world.discord.new_user()
        self._world.discord.give_role(user, _pick(sorted(self._world.discord.roles), pick // 2))
        return True

    def _take_role(self, pick: int) -> bool:
        members = self._world.discord.members
        if bearers := [(user, role) for user in sorted(members) for role in sorted(members[user].roles)]:
            self._world.discord.take_role(*_pick(bearers, pick))
        return bool(bearers)

    def _invite_by_hand(self, _pick: int) -> bool:
        self._world.discord.invite_by_hand()
        return True

    # -- weather ----------------------------------------------------------------------------------

    def goes_wrong(self, what: str, pick: int) -> None:
        """Switch one of ``NUISANCES`` on."""
        switches = self._world.discord.switches
        if what == "full guild":
            switches.most_invites = len(self._world.discord.invites) + pick % 2
        elif what == "unlisted members":
            switches.lists_members = False
        elif what == "missing right":
            switches.permissions.discard(_pick(sorted(PERMISSIONS), pick))
        else:
            switches.global_limit_hits = 1 + pick

    def is_well_again(self) -> None:
        self._world.discord.switches = GuildSwitches(window=self._world.discord.switches.window)

    # -- what nobody can know ---------------------------------------------------------------------

    def second_uses(self) -> set[str]:
        """Return the holders whose invite was used by somebody who used another one as well: it showed nothing new."""
        owners, users = self._owners(), Counter[str](use.user_id for use in self._world.discord.uses)
        return {owners[use.code] for use in self._world.discord.uses if users[use.user_id] > 1 and use.code in owners}

    def _owners(self) -> dict[str, str]:
        """Return code -> normalised address of the holder who was mailed it."""
        return {code: normalise(mail.address) for mail in self._world.outbox for code in codes_in(mail)}

    # -- what an alarm asks for -------------------------------------------------------------------

    def remove_roles_by_hand(self, holders: Collection[str]) -> None:
        """Compare the members of the roles with the holders, as the alarm asks, and take what nobody may keep.

        Where nobody has to go and the alarm stays, somebody loses each role until the next look: docs/discord.md.
        """
        guild = self._world.discord
        owners = self._owners()
        entitled = {(use.user_id, role) for use in guild.uses for role in use.roles if owners.get(use.code) in holders}
        bearers = [(user, role) for user, member in guild.members.items() for role in member.roles]
        leaving = [bearer for bearer in bearers if bearer not in entitled | guild.by_hand]
        self._owed = [] if leaving else [(user, role) for role, user in {r: u for u, r in bearers}.items()]
        for user, role in [*leaving, *self._owed]:
            guild.take_role(user, role)
            self._tally["guild: roles left to people"] += 1

    def give_roles_back(self) -> None:
        for user, role in self._owed:
            self._world.discord.give_role(user, role)
        self._owed = []


def _pick(options: Sequence[_T], number: int) -> _T:
    return options[number % len(options)]
