"""Bring the invites of a guild in line with the holders: one for each holder, none and no role for anybody else.

Making an invite cannot be repeated safely, so the intent is recorded before the call and the digest of the code after
it. After a lost reply the unknown invite is deleted, and a new one is made: nobody was given its code.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from pycontw_assets.api.client import NotFound
from pycontw_assets.api.log import log_step
from pycontw_assets.authorize.discord.decision import (
    OwnInvite,
    gone_invites,
    has_left,
    is_listing_needed,
    lost_replies,
    read_look,
    with_known_role,
)
from pycontw_assets.authorize.discord.discord_client import MOST_INVITES, GuildFull, LiveInvite, Member
from pycontw_assets.authorize.discord.members import list_members, members_by_role
from pycontw_assets.ledger.database.tables import GrantState
from pycontw_assets.ledger.discord.invites import (
    UNKNOWN_ROLE,
    Bearer,
    Invite,
    enter_guild,
    forget_bearer,
    guild_state,
    has_stale_event,
    intend_invites,
    invites_without_ticket,
    is_unclear,
    known_bearers,
    listed_roles,
    open_invites,
    record_full,
    record_look,
    set_invite,
)
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import EventPartition

LOOK_EVERY = timedelta(minutes=30)
_MARGIN = 20  # invites that are left for the people of the guild
_FULL_FOR = timedelta(minutes=10)


class Discord(Protocol):
    """The part of Discord that this stage uses."""

    @property
    def guild_id(self) -> str: ...

    @property
    def channel_id(self) -> str: ...

    def bot_id(self) -> str: ...

    def invites(self) -> list[LiveInvite]: ...

    def create_invite(self, role_id: str) -> str: ...

    def delete_invite(self, code: str) -> None: ...

    def members(self) -> Iterable[Member]: ...

    def remove_role(self, user_id: str, role_id: str) -> None: ...


@dataclass(slots=True)
class InviteOutcome:
    """Counts of one step. ``problems`` need a person.

    ``waiting``: holders for whom the guild has no room yet. ``unknown``: people without a ticket who used their
    invites, and nobody knows which members they are.
    """

    made: int = 0
    deleted: int = 0
    roles_removed: int = 0
    ended: int = 0
    waiting: int = 0
    unknown: int = 0
    problems: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)


@dataclass(slots=True)
class InviteStep:
    """The invites of one event's holders. One writer at a time (``exclusive``): the guild is one for all events."""

    client: Discord
    ledger: Ledger
    pseudonymizer: Pseudonymizer
    exclusive: Callable[[], AbstractContextManager[None]]
    awaited: Collection[GrantState] = ()  # guests in these states leave the guest list before their invites end
    role_ids: Collection[str] = ()  # all that tickets may give
    outcome: InviteOutcome = field(default_factory=InviteOutcome)
    _members: dict[str, Member] | None = field(default=None, repr=False)
    _cannot_list: bool = False

    def run(self, partition: EventPartition, roles: Mapping[str, str], *, only_add: bool = False) -> InviteOutcome:
        """Make missing invites, end those without a ticket. ``roles``: address key -> role of the event's holders.

        Without anything to do, Discord is not called. ``only_add``: nobody leaves because of orders read in part.
        """
        edition = partition.edition
        known = open_invites(self.ledger, edition)
        missing = {key: role for key, role in roles.items() if key not in known}
        intend_invites(self.ledger, edition, partition.key, missing)
        if not self._has_work(partition, roles, known, only_add=only_add):
            return self.outcome
        with self.exclusive():
            self._sync(partition, roles, only_add=only_add)
        log_step(
            "invites_in_line",
            step="authorize",
            partition=partition.key,
            granted=self.outcome.made,
            revoked=self.outcome.ended,
            waiting=self.outcome.waiting,
            problems=len(self.outcome.problems),
        )
        return self.outcome

    def _has_work(
        self, partition: EventPartition, roles: Mapping[str, str], known: Mapping[str, Invite], *, only_add: bool
    ) -> bool:
        if any(key not in known or known[key].state in ("intended", "creating") for key in roles):
            return True
        if only_add:
            return False
        looked_at, now = guild_state(self.ledger).looked_at, self.ledger.clock()
        is_look_due = looked_at is None or not now - LOOK_EVERY < looked_at <= now
        leaving = self._leaving(partition.edition).values()
        if any(is_look_due or not is_unclear(invite) for invite in leaving):
            return True
        to_see = [i for i in known.values() if i.state == "open" or i.role_id == UNKNOWN_ROLE]
        return is_look_due and any(invite.partition_key == partition.key for invite in to_see)

    def _sync(self, partition: EventPartition, roles: Mapping[str, str], *, only_add: bool) -> None:
        edition = partition.edition
        self._members, self._cannot_list = None, False
        enter_guild(self.ledger, self._digest("guild", self.client.guild_id))
        listed = self.client.invites()
        live = {self._digest("invite", invite.code): invite for invite in listed}
        self._look(edition, live, roles, only_add=only_add)
        room = MOST_INVITES - _MARGIN - len(listed)
        room += self._delete_lost(edition, live)
        if not only_add:
            room += self._end(edition, live)
        self._make(partition, roles, room)

    # -- looking ----------------------------------------------------------------------------------

    def _look(self, edition: str, live: Mapping[str, LiveInvite], roles: Mapping[str, str], *, only_add: bool) -> None:
        """Find out who came. The members of a role are listed before its first invite is made."""
        invites, before = open_invites(self.ledger, edition).values(), known_bearers(self.ledger)
        gone = gone_invites(invites, live.keys())
        wanted = self._roles_to_list([*invites, *before], roles.values())
        is_first = guild_state(self.ledger).looked_at is None
        unlisted = wanted if is_first else wanted - listed_roles(self.ledger)
        if not is_listing_needed(invites, gone, bool(unlisted)):
            record_look(self.ledger, used={}, members={}, ended=(), bearers=None)
            return
        look = read_look(
            invites,
            gone,
            before=before,
            present=self._bearers(wanted),
            now=self.ledger.clock(),
            unlisted=unlisted,
            in_guild=self._members or (),
            leaving=None if only_add or has_stale_event(self.ledger, edition) else self._leaving(edition).values(),
            role_found=with_known_role(invites, roles),
        )
        self.outcome.ended += len(look.ended)
        record_look(
            self.ledger,
            used=look.used,
            members=look.members,
            ended=look.ended,
            bearers=look.bearers,
            listed=wanted,
        )

    def _roles_to_list(self, known: Iterable[Invite | Bearer], due_roles: Iterable[str]) -> set[str]:
        """Return the roles whose members are compared. An invite without a known role may have given any of them."""
        roles = {row.role_id for row in known} | set(due_roles)
        if UNKNOWN_ROLE in roles:
            roles |= set(self.role_ids)
        return roles - {UNKNOWN_ROLE}

    def _bearers(self, roles: Collection[str]) -> dict[str, set[str]] | None:
        """Return role -> digests of its members; ``None`` where the bot may not list them."""
        members = self._listed_members()
        if members is None:
            return None
        return members_by_role(members, roles)

    def _listed_members(self) -> dict[str, Member] | None:
        """Return the members by digest, listed once a step; ``None``: the bot lacks the intent to list them."""
        if self._members is None and not self._cannot_list:
            self._members = list_members(self.client, lambda user_id: self._digest("member", user_id))
            self._cannot_list = self._members is None
            if self._cannot_list:
                self.outcome.hints.append(
                    "Discord does not list the members of the guild to the bot, so nobody who used an invite is known; "
                    "switch the Server Members Intent on in the bot's settings in Discord's developer portal"
                )
        return self._members

    # -- lost replies -----------------------------------------------------------------------------

    def _delete_lost(self, edition: str, live: Mapping[str, LiveInvite]) -> int:
        """Delete the invites that a crash or a lost reply left behind, and return how many."""
        invites = open_invites(self.ledger, edition)
        known = {invite.code_digest for invite in invites.values()}
        tried = [invite for invite in invites.values() if invite.state == "creating"]
        strangers = {digest: invite for digest, invite in live.items() if digest not in known}
        if not strangers:
            return 0
        bot = self.client.bot_id()
        made_by_us = [
            OwnInvite(invite.code, invite.role_ids[0], invite.created_at)
            for invite in strangers.values()
            if invite.is_unused_of(bot, self.client.channel_id)
        ]
        lost, others = lost_replies(made_by_us, tried)
        for invite in lost:
            self._delete(invite.code)
        if others:
            self.outcome.hints.append(
                f"{others} unused invites in Discord were made by this bot, and the ledger does not know whose they "
                "are; they stay. If the ledger was restored from a backup, their holders have them by mail. Otherwise "
                "delete them in Discord"
            )
        return len(lost)

    # -- leaving ----------------------------------------------------------------------------------

    def _end(self, edition: str, live: Mapping[str, LiveInvite]) -> int:
        """End the invites without a ticket, and return how many of them were deleted in Discord."""
        leaving = self._leaving(edition)
        deleted = 0
        for invite in leaving.values():
            if invite.state in ("intended", "creating"):  # what a try left behind is deleted before this
                self._ended(invite)
            elif unused := live.get(invite.code_digest or ""):
                deleted += self._delete_unused(invite, unused.code)
        used = [invite for invite in leaving.values() if invite.state == "used"]
        others = [i for key, i in open_invites(self.ledger, edition).items() if key not in leaving]
        unknown = sum(not self._remove_role(invite, others) for invite in used)
        self.outcome.unknown = unknown
        if unknown:
            self.outcome.problems.append(
                f"{unknown} people without a ticket used their Discord invites, and Discord does not say who they are. "
                "Compare the members of the role with the holders, and remove the role by hand. Where they have left "
                "already, take it from as many other members, and give it back after half an hour: this alarm counts "
                "who lost the role"
            )
        return deleted

    def _delete_unused(self, invite: Invite, code: str) -> int:
        set_invite(self.ledger, invite, "deleting")
        if not self._delete(code):
            return 0  # gone meanwhile: the next look finds out how
        self.outcome.deleted += 1
        self._ended(invite)
        return 1

    def _delete(self, code: str) -> bool:
        try:
            self.client.delete_invite(code)
        except NotFound:
            return False
        return True

    def _remove_role(self, invite: Invite, others: Collection[Invite]) -> bool:
        """Remove the role of a used invite without a ticket. ``False``: it may be kept by somebody unknown."""
        if invite.trace != "member" or invite.member_digest is None:
            if not has_left(invite, known_bearers(self.ledger), self.ledger.clock()):
                return invite.trace == "nobody" and invite.role_id != UNKNOWN_ROLE  # a role that shows late is awaited
            self._ended(invite)
            return True
        members = self._listed_members()
        if members is None:
            return False
        member = members.get(invite.member_digest)
        has_another = any((i.member_digest, i.role_id) == (invite.member_digest, invite.role_id) for i in others)
        if member is not None and not has_another:
            try:
                self.client.remove_role(member.user_id, invite.role_id)
                self.outcome.roles_removed += 1
            except NotFound:
                pass  # the member left
            forget_bearer(self.ledger, invite.member_digest, invite.role_id)
        self._ended(invite)
        return True

    def _ended(self, invite: Invite) -> None:
        set_invite(self.ledger, invite, "ended")
        self.outcome.ended += 1

    def _leaving(self, edition: str) -> dict[str, Invite]:
        return invites_without_ticket(self.ledger, edition, awaited=self.awaited)

    # -- joining ----------------------------------------------------------------------------------

    def _make(self, partition: EventPartition, roles: Mapping[str, str], room: int) -> None:
        """Make the missing invites, as many as the guild has room for, in the order of ``roles``. The others wait."""
        invites = open_invites(self.ledger, partition.edition)
        due = [invites[key] for key in roles if key in invites and invites[key].state in ("intended", "creating")]
        leaving = self._leaving(partition.edition)
        due = [invite for invite in due if invite.address_key not in leaving]
        left = len(due)
        try:
            for invite in due[: max(0, room)]:
                self._create(invite, roles[invite.address_key])
                left -= 1
        except GuildFull:
            pass
        self.outcome.waiting = left
        record_full(self.ledger, self.ledger.clock() + _FULL_FOR if left else None)
        if left:
            self.outcome.hints.append(
                f"{left} holders wait for their Discord invite, and for their mail: a guild holds {MOST_INVITES} "
                "unused invites. They get theirs as others are used; delete invites in Discord that nobody needs"
            )

    def _create(self, invite: Invite, role_id: str) -> None:
        set_invite(self.ledger, invite, "creating", role_id=role_id)
        code = self.client.create_invite(role_id)
        set_invite(self.ledger, invite, "open", code_digest=self._digest("invite", code))
        self.outcome.made += 1

    def _digest(self, kind: str, value: str) -> str:
        return invite_digest(self.pseudonymizer, kind, value)


def invite_digest(pseudonymizer: Pseudonymizer, kind: str, value: str) -> str:
    """Return what the ledger keeps of a code or an id of Discord's."""
    return pseudonymizer.digest(f"discord {kind} {value}")


def links_of_holders(
    client: Discord, links: Links, ledger: Ledger, pseudonymizer: Pseudonymizer, *, edition: str, keys: Collection[str]
) -> dict[str, str]:
    """Return the link for each of these holders: the invite, or the channel where it was used already.

    The ledger knows digests only, so the guild's invites are listed for it. Holders without an invite are left out.
    """
    invites = {key: invite for key, invite in open_invites(ledger, edition).items() if key in keys}
    if not invites:
        return {}
    codes = {invite_digest(pseudonymizer, "invite", live.code): live.code for live in client.invites()}
    return {
        key: links.link(codes[invite.code_digest]) if invite.code_digest in codes else links.channel_link
        for key, invite in invites.items()
        if invite.state in ("open", "used")
    }


class Links(Protocol):
    """How links to the guild are spelled."""

    @property
    def channel_link(self) -> str: ...

    def link(self, code: str) -> str: ...
