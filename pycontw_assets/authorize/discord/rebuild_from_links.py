"""Decide whose the invites of a guild are, when the ledger was lost or is an older one. Pure.

The mail service still knows the link that each holder was sent. An invite that a link names and that the guild lists is
that holder's. One that the guild does not list any more was used or deleted, and nobody knows by whom: its holder gets
no second one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from pycontw_assets.authorize.discord.discord_client import CODE, INVITE_PAGE
from pycontw_assets.ledger.database.tables import InviteTrace
from pycontw_assets.ledger.discord.invites import UNKNOWN_ROLE, Bearer, Invite

_LINK = re.compile(re.escape(INVITE_PAGE) + f"({CODE})")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLinks:
    """The links that one address was sent, and its tickets.

    ``links``: those that the mail service knows, as they are there. ``role_id``: of the tickets; ``None``: no rule fits
    them, or there are none.
    """

    partition_key: str
    links: tuple[str, ...] = field(default=(), repr=False)
    role_id: str | None = None
    has_ticket: bool = True


@dataclass(slots=True)
class RebuiltInvites:
    """The rows to write: invites, and members who may have used those that are gone.

    ``doubted``: member and role of invites of which the ledger knew who had used them. It does not any more.
    """

    invites: list[Invite] = field(default_factory=list)
    bearers: list[Bearer] = field(default_factory=list)
    doubted: set[tuple[str, str]] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Guild:
    """The guild as it is, and the links to it. ``live``: digest of an unused invite of this bot -> its role."""

    live: Mapping[str, str]
    digest: Callable[[str], str]
    channel_link: str

    def linked_codes(self, links: KnownLinks | None) -> list[str]:
        """Return the digests of the codes in somebody's links."""
        matches = [_LINK.fullmatch(link) for link in (links.links if links else ())]
        return [self.digest(match[1]) for match in matches if match]

    def was_sent_link(self, links: KnownLinks | None) -> bool:
        """Whether somebody was sent an invite, or the link for those who used theirs."""
        return bool(self.linked_codes(links)) or (links is not None and self.channel_link in links.links)


def rebuild_invites(
    edition: str,
    known_links: Mapping[str, KnownLinks],
    *,
    recorded: Mapping[str, Invite],
    live: Mapping[str, str],
    digest: Callable[[str], str],
    channel_link: str,
    now: datetime,
) -> RebuiltInvites:
    """Return the invites that differ from what the ledger knows.

    ``known_links`` and ``recorded``, the ledger's invites, are by address key.

    Nobody who has a ticket gets a second invite because of it. Two people who were sent the same link are not possible,
    unless somebody wrote into the mail service: then the first one has it.
    """
    guild = _Guild(live=live, digest=digest, channel_link=channel_link)
    rebuilt, taken = RebuiltInvites(), set[str]()
    for key in sorted({*known_links, *recorded}):
        links, invite = known_links.get(key), recorded.get(key)
        unused, base = _unused_code(guild, links, invite, taken), invite or _blank(edition, key, links, now)
        if unused is not None:
            taken.add(unused)
            if base.code_digest != unused:
                rebuilt.invites.append(_open(base, unused, live[unused]))
        elif _is_gone(guild, links, invite):
            rebuilt.invites.append(_gone(base, now))
            if base.member_digest is not None:
                rebuilt.doubted.add((base.member_digest, base.role_id))
    return rebuilt


def _unused_code(guild: _Guild, links: KnownLinks | None, invite: Invite | None, taken: Collection[str]) -> str | None:
    """Return the unused invite of somebody: the one that they were sent, or else the one that the ledger knows."""
    candidates = [*guild.linked_codes(links), *([invite.code_digest] if invite and invite.code_digest else [])]
    return next((digest for digest in candidates if digest in guild.live and digest not in taken), None)


def _is_gone(guild: _Guild, links: KnownLinks | None, invite: Invite | None) -> bool:
    """Whether somebody had an invite that is gone, and the ledger does not say what became of it."""
    if invite is None:
        return links is not None and links.has_ticket and guild.was_sent_link(links)
    codes = guild.linked_codes(links)
    if invite.state in ("intended", "creating"):
        return guild.was_sent_link(links)
    if invite.state == "used":
        return bool(codes) and invite.code_digest not in codes
    return True


def _blank(edition: str, key: str, links: KnownLinks | None, now: datetime) -> Invite:
    partition_key, role_id = (links.partition_key, links.role_id) if links else (edition, None)
    return Invite(edition, key, 1, partition_key, role_id or UNKNOWN_ROLE, "intended", now)


def _open(base: Invite, code_digest: str, role_id: str) -> Invite:
    return replace(
        base, state="open", code_digest=code_digest, role_id=role_id, gone_at=None, trace=None, member_digest=None
    )


def _gone(base: Invite, now: datetime) -> Invite:
    """Return an invite that somebody used, or not. Without its role, only a person can say what became of it."""
    trace: InviteTrace = "unseen" if base.role_id == UNKNOWN_ROLE else "unclear"
    return replace(base, state="used", trace=trace, gone_at=now, member_digest=None)


def with_bearers(
    rebuilt: RebuiltInvites, recorded: Collection[Bearer], present: Mapping[str, Collection[str]] | None
) -> RebuiltInvites:
    """Add the members who may have used the gone invites: all who have their role and whom the ledger does not know.

    ``present``: role -> digests of its members; ``None``: they could not be listed. A role that a person gave by hand
    looks the same.
    """
    if present is None:
        invites = [replace(i, trace="unseen") if i.trace == "unclear" else i for i in rebuilt.invites]
        return replace(rebuilt, invites=invites)
    seen = {(bearer.member_digest, bearer.role_id) for bearer in recorded} - rebuilt.doubted
    roles = {invite.role_id for invite in rebuilt.invites if invite.trace == "unclear"}
    bearers = [
        Bearer(member, role, "unclear")
        for role in sorted(roles)
        for member in sorted(present.get(role, ()))
        if (member, role) not in seen
    ]
    return replace(rebuilt, bearers=bearers)
